// RUN: moe-opt %s --split-input-file --moe-dump-collectives --verify-diagnostics
// RUN: moe-opt %s --split-input-file --moe-dump-collectives 2>&1 | grep "remark: digest" | sed 's/.*remark: //' | sort | uniq -c | FileCheck %s

// Two functions communicate alike, one in value form, one in buffer form with an
// axis of one member more in a group. The others do not.
// CHECK-DAG: {{^ *2 digest [0-9a-f]{32}$}}
// CHECK-DAG: {{^ *1 digest [0-9a-f]{32}$}}
// CHECK-DAG: {{^ *1 digest [0-9a-f]{32}$}}

shard.grid @ranks(shape = 4x1) {coll.axes = ["ep", "etp"]}
// expected-remark @below {{coll.all_to_all grid 4x1 axes 0 of i32 [4, 2] depth 0}}
// expected-remark @below {{coll.all_reduce grid 4x1 axes 0 of f32 [?, 8] depth 1}}
// expected-remark-re @below {{digest {{[0-9a-f]+$}}}}
func.func @values(%c: tensor<4x2xi32>, %x: tensor<?x8xf32>, %flag: i1) {
  %r = coll.all_to_all %c on @ranks axes [0] : (tensor<4x2xi32>) -> tensor<4x2xi32>
  scf.if %flag {
    %s = coll.all_reduce %x on @ranks axes [0] : (tensor<?x8xf32>) -> tensor<?x8xf32>
  }
  return
}

// expected-remark @below {{coll.all_to_all grid 4x1 axes 0 of i32 [4, 2] depth 0}}
// expected-remark @below {{coll.all_reduce grid 4x1 axes 0 of f32 [?, 8] depth 1}}
// expected-remark-re @below {{digest {{[0-9a-f]+$}}}}
func.func @buffers(%c: memref<4x2xi32>, %r: memref<4x2xi32>, %x: memref<?x8xf32>, %s: memref<?x8xf32>, %flag: i1) {
  coll.all_to_all %c on @ranks axes [0, 1] outs(%r) : (memref<4x2xi32>, memref<4x2xi32>) -> ()
  scf.if %flag {
    coll.all_reduce %x on @ranks axes [0] outs(%s) : (memref<?x8xf32>, memref<?x8xf32>) -> ()
  }
  return
}

// expected-remark @below {{coll.recv grid 4x1 axes 0 of f32 [8] depth 0}}
// expected-remark-re @below {{digest {{[0-9a-f]+$}}}}
func.func @received(%peer: index) {
  %x = coll.recv from %peer on @ranks axes [0] : (index) -> tensor<8xf32>
  return
}

// expected-remark-re @below {{digest {{[0-9a-f]+$}}}}
func.func @silent(%x: tensor<8xf32>) {
  return
}
