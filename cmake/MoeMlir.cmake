# Thin wrappers for targets that use MLIR. One precompiled header serves all of them: a pass
# file then costs about one second to compile instead of eight.

# Never export the packages' definitions to the runtime: only compiler targets use this file.
separate_arguments(MOE_LLVM_DEFINITIONS NATIVE_COMMAND "${LLVM_DEFINITIONS}")

function(moe_use_mlir target)
  target_include_directories(${target} SYSTEM PUBLIC ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
  target_include_directories(${target} PUBLIC
    ${CMAKE_SOURCE_DIR}/include ${CMAKE_BINARY_DIR}/include
    ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR}/runtime/include)
  target_compile_definitions(${target} PUBLIC ${MOE_LLVM_DEFINITIONS})
  # -fno-exceptions as in LLVM; RTTI stays on, as in the packages.
  target_compile_options(${target} PRIVATE -fno-exceptions -fpch-instantiate-templates
    -Xclang -fno-pch-timestamp)
  moe_set_warnings(${target})
endfunction()

add_library(MoePch OBJECT ${CMAKE_SOURCE_DIR}/cmake/MoePch.cpp)
moe_use_mlir(MoePch)
target_precompile_headers(MoePch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/MoePch.h)

# moe_add_library(NAME source... [DEPENDS target...] [LINK target...] [NO_PCH])
function(moe_add_library name)
  cmake_parse_arguments(ARG "NO_PCH" "" "DEPENDS;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  moe_use_mlir(${name})
  if(NOT ARG_NO_PCH)
    target_precompile_headers(${name} REUSE_FROM MoePch)
  endif()
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  target_link_libraries(${name} PUBLIC ${ARG_LINK} MLIR LLVM)
endfunction()

# moe_add_tool(NAME source... [LINK target...])
function(moe_add_tool name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  moe_use_mlir(${name})
  # The precompiled header is position-independent code, not a position-independent executable.
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${name} PRIVATE -fPIC)
  target_precompile_headers(${name} REUSE_FROM MoePch)
  target_link_libraries(${name} PRIVATE ${ARG_LINK} MLIR LLVM)
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# add_moe_dialect(Name prefix source... [LINK target...]): dialects/<Name>/<Name>.td is the umbrella;
# generated headers stand beside it in the build tree. `GENERATE` names optional generators.
function(add_moe_dialect name prefix)
  cmake_parse_arguments(ARG "ENUMS;ATTRS;TYPES;INTERFACES" "" "LINK" ${ARGN})
  set(LLVM_TARGET_DEFINITIONS ${CMAKE_CURRENT_SOURCE_DIR}/${name}.td)
  mlir_tablegen(${name}Ops.h.inc -gen-op-decls)
  mlir_tablegen(${name}Ops.cpp.inc -gen-op-defs)
  mlir_tablegen(${name}Dialect.h.inc -gen-dialect-decls -dialect=${prefix})
  mlir_tablegen(${name}Dialect.cpp.inc -gen-dialect-defs -dialect=${prefix})
  if(ARG_ENUMS)
    mlir_tablegen(${name}Enums.h.inc -gen-enum-decls)
    mlir_tablegen(${name}Enums.cpp.inc -gen-enum-defs)
  endif()
  if(ARG_ATTRS)
    mlir_tablegen(${name}Attrs.h.inc -gen-attrdef-decls -attrdefs-dialect=${prefix})
    mlir_tablegen(${name}Attrs.cpp.inc -gen-attrdef-defs -attrdefs-dialect=${prefix})
  endif()
  if(ARG_TYPES)
    mlir_tablegen(${name}Types.h.inc -gen-typedef-decls -typedefs-dialect=${prefix})
    mlir_tablegen(${name}Types.cpp.inc -gen-typedef-defs -typedefs-dialect=${prefix})
  endif()
  if(ARG_INTERFACES) # the generator writes what stands in this very file
    set(LLVM_TARGET_DEFINITIONS ${CMAKE_CURRENT_SOURCE_DIR}/${name}Interfaces.td)
    mlir_tablegen(${name}Interfaces.h.inc -gen-op-interface-decls)
    mlir_tablegen(${name}Interfaces.cpp.inc -gen-op-interface-defs)
  endif()
  add_public_tablegen_target(${name}DialectIncGen)
  moe_add_library(${name}Dialect ${ARG_UNPARSED_ARGUMENTS}
    DEPENDS ${name}DialectIncGen LINK ${ARG_LINK})
endfunction()
