// RUN: moe-opt %s --moe-shard-layer | FileCheck %s

// Scales are cut as the weights that they scale: experts by slots, the width by blocks.
shard.grid @ranks(shape = 1x2x2) {coll.axes = ["edp", "ep", "etp"]}
#up = #moe.checkpoint<names = ["{e}.g", "{e}.u"], file_shape = [256, 256], map = affine_map<(e, p, i, h) -> (i, h)>, expert_dim = 0, part_dim = 1>
#up_scales = #moe.checkpoint<names = ["{e}.g_scale", "{e}.u_scale"], file_shape = [2, 2], map = affine_map<(e, p, i, h) -> (i, h)>, expert_dim = 0, part_dim = 1>
#down = #moe.checkpoint<names = ["{e}.d"], file_shape = [256, 256], map = affine_map<(e, h, i) -> (h, i)>, expert_dim = 0>
#down_scales = #moe.checkpoint<names = ["{e}.d_scale"], file_shape = [2, 2], map = affine_map<(e, h, i) -> (h, i)>, expert_dim = 0>
// CHECK-LABEL: func @fp8
// CHECK-SAME: %[[UP:[a-z0-9]+]]: tensor<1x2x128x256xf8E4M3FN> {{.*}}, %[[DOWN:[a-z0-9]+]]: tensor<1x256x128xf8E4M3FN> {{.*}}, %[[US:[a-z0-9]+]]: tensor<1x2x1x2xf32> {{.*}}splits = [#moe.split<dim = 0, axes = [1], by = slots>, #moe.split<dim = 2, axes = [2]>]{{.*}}, %[[DS:[a-z0-9]+]]: tensor<1x2x1xf32>
func.func @fp8(%x: tensor<?x256xbf16> {moe.name = "x"}, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>,
    %up: tensor<2x2x256x256xf8E4M3FN> {moe.weight = #up}, %down: tensor<2x256x256xf8E4M3FN> {moe.weight = #down},
    %up_scales: tensor<2x2x2x2xf32> {moe.weight = #up_scales}, %down_scales: tensor<2x2x2xf32> {moe.weight = #down_scales})
    -> tensor<?x256xbf16> attributes {moe.layer = 0 : i64} {
  // CHECK: moe.grouped_matmul %{{.*}}, %[[UP]] {{.*}} scales(%[[US]]) activation
  // CHECK: moe.grouped_matmul %{{.*}}, %[[DOWN]] {{.*}} scales(%[[DS]])
  %y = moe.experts %x, %ids, %w, %up, %down scales(%up_scales, %down_scales) activation(<kind = silu>)
      placement(<grid = @ranks, ep = [1], etp = [2], edp = [0], slots = [0, 1]>) {weight_format = #moe<weight_format fp8_block>}
      : (tensor<?x256xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<2x2x256x256xf8E4M3FN>, tensor<2x256x256xf8E4M3FN>,
         tensor<2x2x2x2xf32>, tensor<2x2x2xf32>) -> tensor<?x256xbf16>
  return %y : tensor<?x256xbf16>
}
