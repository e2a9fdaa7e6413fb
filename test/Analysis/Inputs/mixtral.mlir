func.func @layer0(%x: tensor<?x4096xbf16> {moe.name = "x"}, %gate: tensor<8x4096xbf16>, %up: tensor<8x2x14336x4096xbf16>, %down: tensor<8x4096x14336xbf16>)
    -> (tensor<?x4096xbf16> {moe.name = "y"}) {
  %w, %ids = moe.route %x, %gate router(<top_k = 2, normalize = sum>) : (tensor<?x4096xbf16>, tensor<8x4096xbf16>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x4096xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x14336x4096xbf16>, tensor<8x4096x14336xbf16>) -> tensor<?x4096xbf16>
  return %y : tensor<?x4096xbf16>
}
