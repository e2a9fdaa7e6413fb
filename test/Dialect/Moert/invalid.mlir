// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @element_type_unknown_to_the_runtime(%a: memref<4xf64>) {
  // expected-error @+1 {{'moert.all_reduce' op `send` is 'memref<4xf64>', but elements of f32, bf16, f16, i32 or i64 are expected}}
  moert.all_reduce %a, %a group 0 : memref<4xf64>, memref<4xf64>
  return
}

// -----

func.func @element_types_differ(%a: memref<4xf32>, %b: memref<4xi32>) {
  // expected-error @+1 {{sends 'f32' and receives 'i32', but equal element types are expected}}
  moert.all_reduce %a, %b group 0 : memref<4xf32>, memref<4xi32>
  return
}

// -----

func.func @memory_with_gaps(%a: memref<4x4xf32, strided<[8, 1]>>, %b: memref<4x4xf32>) {
  // expected-error @+1 {{`send` is 'memref<4x4xf32, strided<[8, 1]>>', but dense row-major memory is expected}}
  moert.all_reduce %a, %b group 0 : memref<4x4xf32, strided<[8, 1]>>, memref<4x4xf32>
  return
}

// -----

func.func @more_than_can_be_counted(%a: memref<2x9223372036854775807xf32, strided<[9223372036854775807, 1]>>, %b: memref<2x4xf32>) {
  // expected-error @+1 {{`send` is 'memref<2x9223372036854775807xf32, strided<[9223372036854775807, 1]>>', which has more elements than 64 bits count}}
  moert.all_reduce %a, %b group 0 : memref<2x9223372036854775807xf32, strided<[9223372036854775807, 1]>>, memref<2x4xf32>
  return
}

// -----

func.func @shapes_differ(%a: memref<4xf32>, %b: memref<5xf32>) {
  // expected-error @+1 {{sends 'memref<4xf32>' and receives 'memref<5xf32>', but equal shapes are expected}}
  moert.all_reduce %a, %b group 0 : memref<4xf32>, memref<5xf32>
  return
}

// -----

func.func @gather_without_members(%a: memref<4xf32>) {
  // expected-error @+1 {{but a dimension for the members before the shape of `send` is expected in `recv`}}
  moert.all_gather %a, %a group 0 : memref<4xf32>, memref<4xf32>
  return
}

// -----

func.func @scatter_without_members(%a: memref<4xf32>) {
  // expected-error @+1 {{but a dimension for the members before the shape of `recv` is expected in `send`}}
  moert.reduce_scatter %a, %a group 0 : memref<4xf32>, memref<4xf32>
  return
}

// -----

func.func @exchange_without_members(%a: memref<f32>) {
  // expected-error @+1 {{`send` is 'memref<f32>', but a dimension for the members is expected}}
  moert.all_to_all %a, %a group 0 : memref<f32>, memref<f32>
  return
}

// -----

func.func @dynamic_counts(%a: memref<?x8xf32>, %c: memref<?xi32>) {
  // expected-error @+1 {{has counts of type 'memref<?xi32>', but a static shape [members, ...] is expected}}
  moert.all_gather_v %a, %a counts(%c) group 0 : memref<?x8xf32>, memref<?x8xf32>, memref<?xi32>
  return
}

// -----

func.func @rows_differ(%a: memref<?x8xf32>, %b: memref<?x4xf32>, %c: memref<2xi32>) {
  // expected-error @+1 {{but rows of one static shape are expected}}
  moert.reduce_scatter_v %a, %b counts(%c) group 0 : memref<?x8xf32>, memref<?x4xf32>, memref<2xi32>
  return
}

// -----

func.func @counts_differ(%a: memref<?x8xf32>, %c: memref<2xi32>, %d: memref<2x2xi32>) {
  // expected-error @+1 {{has send counts of type 'memref<2xi32>' and receive counts of type 'memref<2x2xi32>', but equal shapes are expected}}
  moert.all_to_all_v %a, %a counts(%c, %d) group 0 : memref<?x8xf32>, memref<?x8xf32>, memref<2xi32>, memref<2x2xi32>
  return
}

// -----

func.func @negative_group(%a: memref<4xf32>, %p: index) {
  // expected-error @+1 {{attribute 'group' failed to satisfy constraint}}
  moert.send %a to %p group -1 : memref<4xf32>
  return
}

// -----

func.func @negative_axis() {
  // expected-error @+1 {{attribute 'axis' failed to satisfy constraint}}
  %c = moert.coordinate -1 : index
  return
}

// -----

// expected-error @+1 {{`moert.groups` is an array of array<i64> on a module, but found 1 : i64 on 'builtin.module'}}
module attributes {moert.groups = 1 : i64} {}

// -----

// expected-error @+1 {{`moert.arena` stands on an argument of type 'memref<?xf32>', but memref<?xi8> is expected}}
func.func @arena_of_floats(%a: memref<?xf32> {moert.arena}) { return }

// -----

// expected-error @+1 {{`moert.max_tokens` stands on arguments 0 and 1, but one is expected}}
func.func @two_maxima(%a: index {moert.max_tokens}, %b: index {moert.max_tokens}) { return }

// -----

// expected-error @+1 {{`moert.rows` is not an attribute of arguments that the moert dialect knows}}
func.func @unknown_mark(%a: index {moert.rows}) { return }

// -----

shard.grid @ranks(shape = 2)
// expected-error @+1 {{names the function `layer0`, but there is none of that name}}
moert.interface @layer0 on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>

// -----

func.func @f() { return }
// expected-error @+1 {{names the grid `ranks`, but there is no `shard.grid` of that name}}
moert.interface @f on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>

// -----

func.func @f() { return }
shard.grid @ranks(shape = 9223372036854775807x2)
// expected-error @+1 {{names the grid `ranks` of 9223372036854775807x2 ranks, expected 1 to 2147483647; nearest legal choice: 2147483647x1}}
moert.interface @f on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [] arena <>

// -----

shard.grid @ranks(shape = 2)
func.func @f() { return }
// expected-error @+1 {{splits `x` over axis 1, but the grid `ranks` has axes 0 to 0}}
moert.interface @f on @ranks layer 0 experts 1 top_k 1 slots [0]
  inputs [#moert.value<name = "x", type = tensor<?x4xf32>, split = [1]>] outputs [] weights [] packed [] arena <>

// -----

shard.grid @ranks(shape = 2)
func.func @f() { return }
// expected-error @+1 {{names `x` twice among its outputs}}
moert.interface @f on @ranks layer 0 experts 1 top_k 1 slots [0]
  inputs [#moert.value<name = "x", type = tensor<?x4xf32>, split = []>]
  outputs [#moert.value<name = "x", type = tensor<?x4xf32>, split = []>] weights [] packed [] arena <>

// -----

shard.grid @ranks(shape = 2)
func.func @f() { return }
// expected-error @+1 {{has "x" among its inputs, but #moert.value is expected}}
moert.interface @f on @ranks layer 0 experts 1 top_k 1 slots [0] inputs ["x"] outputs [] weights [] packed [] arena <>

// -----

shard.grid @ranks(shape = 2)
func.func @f() { return }
// expected-error @+1 {{places 1 of 2 experts, but all are expected in its slots}}
moert.interface @f on @ranks layer 0 experts 2 top_k 1 slots [1, -1] inputs [] outputs [] weights [] packed [] arena <>

// -----

shard.grid @ranks(shape = 2)
func.func @f() { return }
// expected-error @+1 {{has -9223372036854775808 experts, but a number that is not negative is expected}}
moert.interface @f on @ranks layer 0 experts -9223372036854775808 top_k 1 slots [1] inputs [] outputs [] weights [] packed [] arena <>

// -----

shard.grid @ranks(shape = 2)
func.func @f() { return }
// expected-error @+1 {{has expert 1 in two slots}}
moert.interface @f on @ranks layer 0 experts 2 top_k 1 slots [1, 1] inputs [] outputs [] weights [] packed [] arena <>

// -----

shard.grid @ranks(shape = 2)
func.func @f() { return }
// expected-error @+1 {{selects 3 of 2 experts, but 1 to 2 are expected}}
moert.interface @f on @ranks layer 0 experts 2 top_k 3 slots [0, 1] inputs [] outputs [] weights [] packed [] arena <>

// -----

shard.grid @ranks(shape = 2)
func.func @f() { return }
// expected-error @+1 {{has a packed buffer of 0 bytes, but a positive size is expected}}
moert.interface @f on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs [] weights [] packed [0] arena <>

// -----

shard.grid @ranks(shape = 2)
shard.grid @other(shape = 2)
func.func @f() { return }
// expected-error @+1 {{has `w` sliced over the grid @other, but @ranks is expected}}
moert.interface @f on @ranks layer 0 experts 1 top_k 1 slots [0] inputs [] outputs []
  weights [#moert.weight<name = "w", type = tensor<4xf32>, sources = [#moe.checkpoint<names = ["w"], file_shape = [8], map = affine_map<(i) -> (i)>>],
           slice = #moe.slice<grid = @other, shape = [8], splits = [#moe.split<dim = 0, axes = [0]>]>>] packed [] arena <>

// -----

// expected-error @+1 {{`w` has no source, but at least one is expected}}
func.func private @weight_from_nowhere() attributes {weight = #moert.weight<name = "w", type = tensor<4xf32>, sources = []>}

// -----

// expected-error @+1 {{`w` has type 'tensor<?xf32>', but dimension 0 is expected to be static}}
func.func private @weight_of_unknown_size() attributes {weight = #moert.weight<name = "w", type = tensor<?xf32>, sources = []>}

// -----

// expected-error @+1 {{`x` has type 'memref<4xf32>', but a ranked tensor of f32, bf16, f16, i32 or i64 is expected}}
func.func private @buffer_as_input() attributes {input = #moert.value<name = "x", type = memref<4xf32>, split = []>}

// -----

// expected-error @+1 {{`x` is split over axes [9223372036854775807, 9223372036854775807], but distinct axes of a grid are expected}}
func.func private @last_axis_twice() attributes {input = #moert.value<name = "x", type = tensor<4xf32>, split = [9223372036854775807, 9223372036854775807]>}

// -----

// expected-error @+1 {{`x` is split over axes [0, 0], but distinct axes of a grid are expected}}
func.func private @axis_twice() attributes {input = #moert.value<name = "x", type = tensor<4xf32>, split = [0, 0]>}

// -----

// expected-error @+1 {{the arena has terms 0, -1, 0 over 1 shares, but terms that are not negative and a positive number of shares are expected}}
func.func private @negative_arena() attributes {arena = #moert.arena<per_token = -1>}

// -----

func.func @negative_step() {
  // expected-error @+1 {{attribute 'step' failed to satisfy constraint}}
  moert.mark -1
  return
}

// -----

// expected-error @+1 {{`moert.steps` is an array of strings on `moert.interface`, but found ["a"] on 'builtin.module'}}
module attributes {moert.steps = ["a"]} {
}

// -----

// expected-error @+1 {{`moert.variants` is an array of dictionaries of numbers, flags and arrays on `moert.interface`, but found [{few = "a"}] on 'builtin.module'}}
module attributes {moert.variants = [{few = "a"}]} {
}

// -----

func.func @variant_of_words(%words: memref<2xi32>) {
  // expected-error @+1 {{'moert.variant' op writes 'memref<2xi32>', but memref<1xi32> is expected}}
  moert.variant 0, %words : memref<2xi32>
  return
}
