// RUN: moe-opt %s --convert-coll-to-moert --split-input-file --verify-diagnostics

shard.grid @ranks(shape = 2)
func.func @value_form(%a: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{'coll.all_reduce' op is in value form, but buffers are expected}}
  %s = coll.all_reduce %a on @ranks axes [0] : (tensor<4xf32>) -> tensor<4xf32>
  return %s : tensor<4xf32>
}

// -----

shard.grid @ranks(shape = 2)
func.func @unknown_maximum(%c: memref<2xi32>, %max: index) {
  // expected-error @+1 {{'coll.rows' op is bounded by the maximum of tokens, but the function has no argument marked `moert.max_tokens`}}
  %n = coll.rows %c bound(affine_map<()[s0] -> (s0 * 2)>) on @ranks : memref<2xi32>
  return
}
