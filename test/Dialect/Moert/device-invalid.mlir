// RUN: moe-opt %s --split-input-file --verify-diagnostics

module attributes {moert.kernels = [#moert.kernel<name = "up", threads = 384, params = ["ptr"]>]} {
  func.func @no_such_kernel(%n: index) {
    // expected-error @+1 {{runs kernel 1, but the module has 1}}
    moert.launch 1 grid(%n) ()
    return
  }
}

// -----

module attributes {moert.kernels = [#moert.kernel<name = "up", threads = 384, params = ["ptr"]>]} {
  func.func @too_many_arguments(%n: index, %i: i32) {
    // expected-error @+1 {{has 2 arguments, but `up` takes 1}}
    moert.launch 0 grid(%n) (%i, %i : i32, i32)
    return
  }
}

// -----

module attributes {moert.kernels = [#moert.kernel<name = "up", threads = 384, params = ["ptr"]>]} {
  func.func @argument_of_another_kind(%n: index, %i: i32) {
    // expected-error @+1 {{has 'i32' for argument 0, but `up` takes "ptr"}}
    moert.launch 0 grid(%n) (%i : i32)
    return
  }
}

// -----

// expected-error @+1 {{`up` has 2048 threads, clusters of 1, 0 bytes of shared memory and 1 CTAs per SM, but 1 to 1024, 1 to 16, no less than 0 and 1 are expected}}
module attributes {moert.kernels = [#moert.kernel<name = "up", threads = 2048, params = []>]} {}

// -----

// expected-error @+1 {{`up` has the parameter "i8", but ptr, i32, i64, f32 or map is expected}}
module attributes {moert.kernels = [#moert.kernel<name = "up", threads = 32, params = ["i8"]>]} {}

// -----

// expected-error @+1 {{`moert.kernels` is an array of #moert.kernel on a module, but found [1]}}
module attributes {moert.kernels = [1]} {}

// -----

// expected-error @+1 {{`moert.sums` is a dictionary of i32 on a module, but found {bf16 = "a"}}}
module attributes {moert.sums = {bf16 = "a"}} {}

// -----

// expected-error @+1 {{`moert.tensor_maps` is a number that is not negative on `moert.interface`, but found 3}}
module attributes {moert.tensor_maps = 3} {}

// -----

func.func @map_of_integers(%x: memref<?x64xi32>, %n: index) {
  // expected-error @+1 {{maps elements of 'i32', but bf16 or f32 is expected}}
  moert.tensor_map 0 %x rows(%n) columns 64 pitch 64 box [128, 32] : memref<?x64xi32>
  return
}

// -----

func.func @rows_off_16_bytes(%x: memref<?x12xbf16>, %n: index) {
  // expected-error @+1 {{maps rows of 12 elements, 12 apart, but a pitch of no fewer and a multiple of 16 bytes is expected}}
  moert.tensor_map 0 %x rows(%n) columns 12 pitch 12 box [128, 64] : memref<?x12xbf16>
  return
}

// -----

func.func @half_blocks(%x: memref<?x96xbf16>, %n: index) {
  // expected-error @+1 {{maps blocks of 8 x 64, but bf16 that is not ragged, whole blocks of columns and rows, and boxes of 64 columns are expected}}
  moert.tensor_map 0 %x rows(%n) columns 96 pitch 96 box [128, 64] blocked : memref<?x96xbf16>
  return
}

// -----

func.func @wide_box(%x: memref<?x128xbf16>, %n: index) {
  // expected-error @+1 {{has a box of 128 rows of 256 bytes, but 1 to 256 of 32, 64 or 128 are expected}}
  moert.tensor_map 0 %x rows(%n) columns 128 pitch 128 box [128, 128] : memref<?x128xbf16>
  return
}

// -----

func.func @shapes_differ(%x: memref<4xi32>, %y: memref<5xi32>) {
  // expected-error @+1 {{copies 'memref<4xi32>' to 'memref<5xi32>', but equal shapes are expected}}
  moert.copy %x, %y : memref<4xi32>, memref<5xi32>
  return
}

// -----

func.func @wide_status() {
  // expected-error @+1 {{is 'memref<2xi32>', but memref<1xi32> is expected}}
  %s = moert.status : memref<2xi32>
  return
}
