// RUN: moe-opt %s --moe-insert-count-reads --verify-diagnostics

shard.grid @ranks(shape = 4)
func.func @counts_from_nowhere(%recv: memref<4x2xi32>) {
  // expected-error @+1 {{uses counts that no op before it writes}}
  %n = coll.rows %recv bound(affine_map<()[s0] -> (s0)>) on @ranks : memref<4x2xi32>
  return
}
