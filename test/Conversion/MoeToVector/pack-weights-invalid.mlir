// RUN: moe-opt %s --split-input-file --verify-diagnostics --moe-pack-weights=cpu=x86-64-v3

func.func @two_layouts(%x: memref<?x8xf32>, %w: memref<4x8xf32>, %h: memref<?x8xf32>, %y: memref<?x4xf32>, %n: index) {
  moe.router_logits %x, %w outs(%y) : (memref<?x8xf32>, memref<4x8xf32>, memref<?x4xf32>) -> ()
  // expected-error @below {{uses argument 1 as it is, but another op uses it packed as #moe.panels<groups = 1, parts = 1, columns = 4, depth = 8, width = 16, streams = 2>}}
  memref.copy %w, %w : memref<4x8xf32> to memref<4x8xf32>
  return
}

// -----

// expected-error @below {{argument 1 is a weight of type 'memref<4x8xf32, strided<[16, 1]>>', but a memref of static shape and identity layout is expected}}
func.func @strided(%x: memref<?x8xf32>, %w: memref<4x8xf32, strided<[16, 1]>>, %y: memref<?x4xf32>) {
  moe.router_logits %x, %w outs(%y) : (memref<?x8xf32>, memref<4x8xf32, strided<[16, 1]>>, memref<?x4xf32>) -> ()
  return
}

// -----

func.func @hidden(%x: memref<?x8xf32>, %y: memref<?x4xf32>) {
  %w = memref.alloc() : memref<4x8xf32>
  // expected-error @below {{has a weight of type 'memref<4x8xf32>' that is no argument of the function, but one that is expected}}
  moe.router_logits %x, %w outs(%y) : (memref<?x8xf32>, memref<4x8xf32>, memref<?x4xf32>) -> ()
  return
}

// -----

func.func @computed_scales(%x: memref<?x256xf32>, %w: memref<1x128x256xf8E4M3FN>, %n: index, %y: memref<?x128xf32>) {
  %s = memref.alloc() : memref<1x1x2xf32>
  // expected-error @+1 {{'moe.grouped_matmul' op uses the quantised argument 1 with scales that are no argument of the function, but one argument is expected}}
  moe.grouped_matmul %x, %w rows(%n) scales(%s) outs(%y) : (memref<?x256xf32>, memref<1x128x256xf8E4M3FN>, index, memref<1x1x2xf32>, memref<?x128xf32>) -> ()
  return
}
