// RUN: moe-opt %s --lower-device-kernels=format=llvm | FileCheck %s --check-prefix=ORDER
// RUN: moe-opt %s --lower-device-kernels=format=ptx | FileCheck %s --check-prefix=PTX
// RUN: rm -rf %t && mkdir -p %t/fails/bin %t/silent/bin %t/asks/bin
// RUN: printf '#!/bin/sh\necho cannot do it >&2\nexit 3\n' > %t/fails/bin/ptxas
// RUN: printf '#!/bin/sh\nexit 0\n' > %t/silent/bin/ptxas
// RUN: printf '#!/bin/sh\necho tunables: $GLIBC_TUNABLES\nexit 1\n' > %t/asks/bin/ptxas
// RUN: chmod +x %t/fails/bin/ptxas %t/silent/bin/ptxas %t/asks/bin/ptxas
// RUN: not env PATH=%t/fails/bin:%moe_bin:/usr/bin:/bin moe-opt %s --lower-device-kernels=format=cubin 2>&1 | FileCheck %s --check-prefix=FAILS
// RUN: not env PATH=%t/silent/bin:%moe_bin:/usr/bin:/bin moe-opt %s --lower-device-kernels=format=cubin 2>&1 | FileCheck %s --check-prefix=SILENT
// RUN: not env -u GLIBC_TUNABLES PATH=%t/asks/bin:%moe_bin:/usr/bin:/bin moe-opt %s --lower-device-kernels=format=cubin 2>&1 | FileCheck %s --check-prefix=LARGE
// RUN: not env GLIBC_TUNABLES=glibc.malloc.check=0 PATH=%t/asks/bin:%moe_bin:/usr/bin:/bin moe-opt %s --lower-device-kernels=format=cubin 2>&1 | FileCheck %s --check-prefix=KEPT

// Kernels that take long begin first; equal ones stay in their order.
// ORDER: gpu.module @long
// ORDER: gpu.module @short
// ORDER: gpu.module @equal

// PTX: gpu.binary @long [#gpu.object<#nvvm.target<{{.*}}>, assembly = "{{.*}}.entry long
// PTX: gpu.binary @short

// What ptxas says is told.
// FAILS: error: 'gpu.module' op cannot be assembled by {{.*}}fails/bin/ptxas: cannot do it
// SILENT: error: 'gpu.module' op cannot be assembled: {{.*}}silent/bin/ptxas wrote nothing

// It runs with large pages, unless the user has other wishes.
// LARGE: tunables: glibc.malloc.hugetlb=1
// KEPT: tunables: glibc.malloc.check=0{{$}}

gpu.module @short [#nvvm.target<chip = "sm_90a", features = "+ptx86">] {
  llvm.func @short(%p: !llvm.ptr) attributes {nvvm.kernel} {
    llvm.return
  }
}
gpu.module @equal [#nvvm.target<chip = "sm_90a", features = "+ptx86">] {
  llvm.func @equal(%p: !llvm.ptr) attributes {nvvm.kernel} {
    llvm.return
  }
}
gpu.module @long [#nvvm.target<chip = "sm_90a", features = "+ptx86">] {
  llvm.func @long(%p: !llvm.ptr) attributes {nvvm.kernel} {
    %value = llvm.mlir.constant(1 : i32) : i32
    llvm.store %value, %p : i32, !llvm.ptr
    llvm.return
  }
}
