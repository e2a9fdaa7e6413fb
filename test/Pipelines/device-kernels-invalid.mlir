// RUN: moe-opt %s --lower-device-kernels=format=ptx --split-input-file --verify-diagnostics

// expected-error@+1 {{'gpu.module' op has no target that it could be compiled for}}
gpu.module @nowhere {
}

// -----

// expected-error@+1 {{'gpu.module' op has the target #rocdl.target, but #nvvm.target is expected}}
gpu.module @elsewhere [#rocdl.target] {
}
