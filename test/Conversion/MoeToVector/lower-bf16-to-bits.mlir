// RUN: moe-opt %s --moe-lower-bf16-to-bits --split-input-file --verify-diagnostics | FileCheck %s

// CHECK-LABEL: llvm.func @storage
llvm.func @storage(%p: !llvm.ptr, %i: i64) {
  // CHECK: %[[Q:.*]] = llvm.getelementptr %{{.*}} -> !llvm.ptr, i16
  %q = llvm.getelementptr %p[%i] : (!llvm.ptr, i64) -> !llvm.ptr, bf16
  // CHECK: %[[V:.*]] = llvm.load %[[Q]] {{.*}} -> vector<8xi16>
  %v = llvm.load %q {alignment = 2 : i64} : !llvm.ptr -> vector<8xbf16>
  // CHECK-NOT: llvm.bitcast
  %b = llvm.bitcast %v : vector<8xbf16> to vector<8xi16>
  // CHECK: %[[W:.*]] = llvm.add %[[V]], %[[V]]
  %w = llvm.add %b, %b : vector<8xi16>
  %c = llvm.bitcast %w : vector<8xi16> to vector<8xbf16>
  // CHECK: llvm.store %[[W]], %[[Q]]
  llvm.store %c, %q {alignment = 2 : i64} : vector<8xbf16>, !llvm.ptr
  // CHECK: llvm.mlir.constant(16256 : i16) : i16
  %one = llvm.mlir.constant(1.0 : bf16) : bf16
  llvm.store %one, %p : bf16, !llvm.ptr
  llvm.return
}

// CHECK-LABEL: llvm.func @masked
llvm.func @masked(%p: !llvm.ptr, %v: vector<16xbf16>, %m: vector<16xi1>) {
  // CHECK: %[[M:.*]] = llvm.bitcast %{{.*}} : vector<16xi1> to i16
  // CHECK: %[[H:.*]] = llvm.inline_asm "", "=r,0" %[[M]]
  // CHECK: %[[B:.*]] = llvm.bitcast %[[H]] : i16 to vector<16xi1>
  // CHECK: llvm.intr.masked.store %{{.*}}, %{{.*}}, %[[B]] {{.*}} : vector<16xi16>
  llvm.intr.masked.store %v, %p, %m {alignment = 2 : i32} : vector<16xbf16>, vector<16xi1> into !llvm.ptr
  llvm.return
}

// CHECK-LABEL: llvm.func @intrinsic
llvm.func @intrinsic(%s: vector<16xf32>, %a: vector<16xi32>) -> vector<16xf32> {
  // CHECK: llvm.bitcast %{{.*}} : vector<16xi32> to vector<32xbf16>
  %b = llvm.bitcast %a : vector<16xi32> to vector<32xbf16>
  %r = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%s, %b, %b) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
  llvm.return %r : vector<16xf32>
}

// -----

llvm.func @arithmetic(%x: bf16) -> bf16 {
  // expected-error @below {{computes with bf16, but bf16 that is only stored and moved is expected}}
  %y = llvm.fadd %x, %x : bf16
  llvm.return %y : bf16
}
