# Warnings for our own targets; headers of other projects are SYSTEM and stay silent.
function(moe_set_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-unused-parameter
    $<$<CXX_COMPILER_ID:Clang>:-Wimplicit-fallthrough -Wcovered-switch-default>)
  if(MOE_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
