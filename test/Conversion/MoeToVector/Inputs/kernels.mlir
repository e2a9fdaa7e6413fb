// Two depths each, so that the depth stays a variable of the kernels; kernels that widen rows take those of whole vectors, those of several streams even ones.
func.func @f32(%x: memref<?x64xf32>, %w: memref<48x64xf32>, %x2: memref<?x7xf32>, %w2: memref<48x7xf32>, %x3: memref<?x48xf32>, %w3: memref<48x48xf32>,
    %x4: memref<?x9xf32>, %w4: memref<48x9xf32>, %y: memref<?x48xf32>) {
  moe.router_logits %x, %w outs(%y) : (memref<?x64xf32>, memref<48x64xf32>, memref<?x48xf32>) -> ()
  moe.router_logits %x2, %w2 outs(%y) : (memref<?x7xf32>, memref<48x7xf32>, memref<?x48xf32>) -> ()
  moe.router_logits %x3, %w3 outs(%y) : (memref<?x48xf32>, memref<48x48xf32>, memref<?x48xf32>) -> ()
  moe.router_logits %x4, %w4 outs(%y) : (memref<?x9xf32>, memref<48x9xf32>, memref<?x48xf32>) -> ()
  return
}
func.func @bf16(%x: memref<?x64xbf16>, %w: memref<48x64xbf16>, %x2: memref<?x7xbf16>, %w2: memref<48x7xbf16>, %x3: memref<?x48xbf16>, %w3: memref<48x48xbf16>,
    %x4: memref<?x9xbf16>, %w4: memref<48x9xbf16>, %y: memref<?x48xf32>) {
  moe.router_logits %x, %w outs(%y) : (memref<?x64xbf16>, memref<48x64xbf16>, memref<?x48xf32>) -> ()
  moe.router_logits %x2, %w2 outs(%y) : (memref<?x7xbf16>, memref<48x7xbf16>, memref<?x48xf32>) -> ()
  moe.router_logits %x3, %w3 outs(%y) : (memref<?x48xbf16>, memref<48x48xbf16>, memref<?x48xf32>) -> ()
  moe.router_logits %x4, %w4 outs(%y) : (memref<?x9xbf16>, memref<48x9xbf16>, memref<?x48xf32>) -> ()
  return
}
// As many columns as make runs of panels, of four and of two.
func.func @runs(%x: memref<?x64xbf16>, %w: memref<1536x64xbf16>, %x2: memref<?x48xbf16>, %w2: memref<1536x48xbf16>, %y: memref<?x1536xf32>,
    %w3: memref<768x64xbf16>, %w4: memref<768x48xbf16>, %z: memref<?x768xf32>, %x5: memref<?x64xf32>, %w5: memref<768x64xf32>, %x6: memref<?x48xf32>,
    %w6: memref<768x48xf32>) {
  moe.router_logits %x5, %w5 outs(%z) : (memref<?x64xf32>, memref<768x64xf32>, memref<?x768xf32>) -> ()
  moe.router_logits %x6, %w6 outs(%z) : (memref<?x48xf32>, memref<768x48xf32>, memref<?x768xf32>) -> ()
  moe.router_logits %x, %w outs(%y) : (memref<?x64xbf16>, memref<1536x64xbf16>, memref<?x1536xf32>) -> ()
  moe.router_logits %x2, %w2 outs(%y) : (memref<?x48xbf16>, memref<1536x48xbf16>, memref<?x1536xf32>) -> ()
  moe.router_logits %x, %w3 outs(%z) : (memref<?x64xbf16>, memref<768x64xbf16>, memref<?x768xf32>) -> ()
  moe.router_logits %x2, %w4 outs(%z) : (memref<?x48xbf16>, memref<768x48xbf16>, memref<?x768xf32>) -> ()
  return
}
func.func @mixed(%x: memref<?x64xbf16>, %w: memref<48x64xf32>, %x2: memref<?x7xbf16>, %w2: memref<48x7xf32>, %x3: memref<?x48xbf16>, %w3: memref<48x48xf32>,
    %x4: memref<?x9xbf16>, %w4: memref<48x9xf32>, %y: memref<?x48xf32>) {
  moe.router_logits %x, %w f32 outs(%y) : (memref<?x64xbf16>, memref<48x64xf32>, memref<?x48xf32>) -> ()
  moe.router_logits %x2, %w2 f32 outs(%y) : (memref<?x7xbf16>, memref<48x7xf32>, memref<?x48xf32>) -> ()
  moe.router_logits %x3, %w3 f32 outs(%y) : (memref<?x48xbf16>, memref<48x48xf32>, memref<?x48xf32>) -> ()
  moe.router_logits %x4, %w4 f32 outs(%y) : (memref<?x9xbf16>, memref<48x9xf32>, memref<?x48xf32>) -> ()
  return
}
func.func @scaled_f32(%x: memref<?x64xf32>, %w: memref<1x48x64xf32>, %x2: memref<?x7xf32>, %w2: memref<1x48x7xf32>, %x3: memref<?x48xf32>,
    %w3: memref<1x48x48xf32>, %x4: memref<?x9xf32>, %w4: memref<1x48x9xf32>, %g: memref<?xi32>, %s: memref<?x2xf32>, %n: index,
    %y: memref<?x48xf32>) {
  moe.grouped_matmul %x, %w rows(%n) gather(%g) row_weights(%s) outs(%y) {gather_divisor = 2 : i64}
      : (memref<?x64xf32>, memref<1x48x64xf32>, index, memref<?xi32>, memref<?x2xf32>, memref<?x48xf32>) -> ()
  moe.grouped_matmul %x2, %w2 rows(%n) gather(%g) row_weights(%s) outs(%y) {gather_divisor = 2 : i64}
      : (memref<?x7xf32>, memref<1x48x7xf32>, index, memref<?xi32>, memref<?x2xf32>, memref<?x48xf32>) -> ()
  moe.grouped_matmul %x3, %w3 rows(%n) gather(%g) row_weights(%s) outs(%y) {gather_divisor = 2 : i64}
      : (memref<?x48xf32>, memref<1x48x48xf32>, index, memref<?xi32>, memref<?x2xf32>, memref<?x48xf32>) -> ()
  moe.grouped_matmul %x4, %w4 rows(%n) gather(%g) row_weights(%s) outs(%y) {gather_divisor = 2 : i64}
      : (memref<?x9xf32>, memref<1x48x9xf32>, index, memref<?xi32>, memref<?x2xf32>, memref<?x48xf32>) -> ()
  return
}
func.func @scaled_bf16(%x: memref<?x64xbf16>, %w: memref<1x48x64xbf16>, %x2: memref<?x7xbf16>, %w2: memref<1x48x7xbf16>, %x3: memref<?x48xbf16>,
    %w3: memref<1x48x48xbf16>, %x4: memref<?x9xbf16>, %w4: memref<1x48x9xbf16>, %g: memref<?xi32>, %s: memref<?x2xf32>, %n: index,
    %y: memref<?x48xbf16>) {
  moe.grouped_matmul %x, %w rows(%n) gather(%g) row_weights(%s) outs(%y) {gather_divisor = 2 : i64}
      : (memref<?x64xbf16>, memref<1x48x64xbf16>, index, memref<?xi32>, memref<?x2xf32>, memref<?x48xbf16>) -> ()
  moe.grouped_matmul %x2, %w2 rows(%n) gather(%g) row_weights(%s) outs(%y) {gather_divisor = 2 : i64}
      : (memref<?x7xbf16>, memref<1x48x7xbf16>, index, memref<?xi32>, memref<?x2xf32>, memref<?x48xbf16>) -> ()
  moe.grouped_matmul %x3, %w3 rows(%n) gather(%g) row_weights(%s) outs(%y) {gather_divisor = 2 : i64}
      : (memref<?x48xbf16>, memref<1x48x48xbf16>, index, memref<?xi32>, memref<?x2xf32>, memref<?x48xbf16>) -> ()
  moe.grouped_matmul %x4, %w4 rows(%n) gather(%g) row_weights(%s) outs(%y) {gather_divisor = 2 : i64}
      : (memref<?x9xbf16>, memref<1x48x9xbf16>, index, memref<?xi32>, memref<?x2xf32>, memref<?x48xbf16>) -> ()
  return
}
