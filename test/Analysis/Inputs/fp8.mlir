// Two experts in blocks of 128 x 128, each block with its scale.
func.func @fp8(%x: tensor<?x256xbf16> {moe.name = "x"}, %gate: tensor<2x256xbf16>, %up: tensor<2x2x256x256xf8E4M3FN>,
    %down: tensor<2x256x256xf8E4M3FN>, %up_scales: tensor<2x2x2x2xf32>, %down_scales: tensor<2x2x2xf32>) -> tensor<?x256xbf16> {
  %w, %ids = moe.route %x, %gate router(<top_k = 2>) : (tensor<?x256xbf16>, tensor<2x256xbf16>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %y = moe.experts %x, %ids, %w, %up, %down scales(%up_scales, %down_scales) activation(<kind = silu>) {weight_format = #moe<weight_format fp8_block>}
      : (tensor<?x256xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<2x2x256x256xf8E4M3FN>, tensor<2x256x256xf8E4M3FN>,
         tensor<2x2x2x2xf32>, tensor<2x2x2xf32>) -> tensor<?x256xbf16>
  return %y : tensor<?x256xbf16>
}
