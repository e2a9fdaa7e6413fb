// RUN: moe-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// #moe.router
//===----------------------------------------------------------------------===//

// (C1)
// expected-error @below {{router selects 0 experts per token, but at least 1 is expected}}
#r = #moe.router<top_k = 0>

// -----

// (C2)
// expected-error @below {{router keeps 3 of 2 groups, but 0 < topk_group <= n_group is expected}}
#r = #moe.router<top_k = 1, n_group = 2, topk_group = 3, group_score = max>

// -----

// expected-error @below {{router keeps 1 of 0 groups, but 0 < topk_group <= n_group is expected}}
#r = #moe.router<top_k = 1, n_group = 0>

// -----

// (C3)
// expected-error @below {{router scores groups by `none` with n_group = 4, but `none` is expected exactly when there is one group}}
#r = #moe.router<top_k = 1, n_group = 4>

// -----

// expected-error @below {{router scores groups by `max` with n_group = 1, but `none` is expected exactly when there is one group}}
#r = #moe.router<top_k = 1, group_score = max>

// -----

// (C4)
// expected-error @below {{sparsemixer selects 1 experts per token, but is defined for 2}}
#r = #moe.router<top_k = 1, score = sparsemixer>

// -----

// (C5)
// expected-error @below {{router has capacity rule `none` with factor 1.500000e+00, but a positive factor is expected with a rule and none without}}
#r = #moe.router<top_k = 1, capacity_factor = 1.5>

// -----

// expected-error @below {{router has capacity rule `per_batch` with factor 0.000000e+00, but a positive factor is expected with a rule and none without}}
#r = #moe.router<top_k = 1, capacity = per_batch>

// -----

// expected-error @below {{router has capacity rule `two_choice` with factor -1.000000e+00, but a positive factor is expected with a rule and none without}}
#r = #moe.router<top_k = 1, capacity = two_choice, capacity_factor = -1.0>

// -----

// expected-error @below {{router has a parameter that is not finite}}
#r = #moe.router<top_k = 1, scale = 0x7FF0000000000000>

// -----

//===----------------------------------------------------------------------===//
// #moe.activation
//===----------------------------------------------------------------------===//

// (C1)
// expected-error @below {{activation has limit -1.000000e+00, but a finite number that is not negative is expected}}
#a = #moe.activation<kind = silu, limit = -1.0>

// -----

// (C2)
// expected-error @below {{activation is not gated, but alpha, limit or up_offset differ from their defaults}}
#a = #moe.activation<kind = relu, gated = false, alpha = 2.0>

// -----

// expected-error @below {{activation is not gated, but alpha, limit or up_offset differ from their defaults}}
#a = #moe.activation<kind = gelu, gated = false, up_offset = 1.0>

// -----

//===----------------------------------------------------------------------===//
// #moe.checkpoint
//===----------------------------------------------------------------------===//

// (C1)
// expected-error @below {{checkpoint maps to 1 indices, but the file's tensor has 2 dimensions}}
#c = #moe.checkpoint<names = ["w"], file_shape = [4, 8], map = affine_map<(i, j) -> (i)>>

// -----

// expected-error @below {{checkpoint maps to 1 indices, but the file's tensor has 1 dimensions}}
#c = #moe.checkpoint<names = ["w"], file_shape = [4], map = affine_map<(i)[s] -> (i + s)>>

// -----

// expected-error @below {{checkpoint has a dimension of size -4, but a size that is not negative is expected}}
#c = #moe.checkpoint<names = ["w"], file_shape = [-4], map = affine_map<(i) -> (i)>>

// -----

// expected-error @below {{checkpoint maps indices by affine_map<(d0) -> (d0 mod 4)>, but linear expressions are expected}}
#c = #moe.checkpoint<names = ["w"], file_shape = [4], map = affine_map<(i) -> (i mod 4)>>

// -----

// expected-error @below {{checkpoint has expert_dim 2 and part_dim -1, but -1 to 1 are expected}}
#c = #moe.checkpoint<names = ["w.{e}"], file_shape = [4], map = affine_map<(e, i) -> (i)>, expert_dim = 2>

// -----

// expected-error @below {{checkpoint has expert_dim -1 and part_dim -2, but -1 to 0 are expected}}
#c = #moe.checkpoint<names = ["w"], file_shape = [4], map = affine_map<(i) -> (i)>, part_dim = -2>

// -----

// (C2)
// expected-error @below {{checkpoint has 2 names, but one is expected without part_dim}}
#c = #moe.checkpoint<names = ["a", "b"], file_shape = [4], map = affine_map<(i) -> (i)>>

// -----

// expected-error @below {{checkpoint has 0 names, but one is expected without part_dim}}
#c = #moe.checkpoint<names = [], file_shape = [4], map = affine_map<(i) -> (i)>, part_dim = 0>

// -----

// expected-error @below {{checkpoint has the name 7 : i64, but a string is expected}}
#c = #moe.checkpoint<names = [7], file_shape = [4], map = affine_map<(i) -> (i)>>

// -----

// (C3)
// expected-error @below {{checkpoint has the name "w.{e}" and expert_dim -1, but {e} is expected exactly when expert_dim is set}}
#c = #moe.checkpoint<names = ["w.{e}"], file_shape = [4], map = affine_map<(i) -> (i)>>

// -----

// expected-error @below {{checkpoint has the name "w" and expert_dim 0, but {e} is expected exactly when expert_dim is set}}
#c = #moe.checkpoint<names = ["w"], file_shape = [4], map = affine_map<(e, i) -> (i)>, expert_dim = 0>

// -----

//===----------------------------------------------------------------------===//
// #moe.split, #moe.slice, #moe.placement
//===----------------------------------------------------------------------===//

// expected-error @below {{split cuts dimension -1, but one that is not negative is expected}}
#s = #moe.split<dim = -1, axes = [0]>

// -----

// expected-error @below {{axes are [1, 1], but distinct axes of a grid are expected}}
#s = #moe.split<dim = 0, axes = [1, 1]>

// -----

// expected-error @below {{slice has the split 3 : i64, but #moe.split of one of its 2 dimensions is expected}}
#s = #moe.slice<grid = @ranks, shape = [4, 8], splits = [3]>

// -----

// expected-error @below {{slice has the split #moe.split<dim = 2, axes = [0]>, but #moe.split of one of its 2 dimensions is expected}}
#s = #moe.slice<grid = @ranks, shape = [4, 8], splits = [#moe.split<dim = 2, axes = [0]>]>

// -----

// expected-error @below {{slice is split by slots, but has no `slots`}}
#s = #moe.slice<grid = @ranks, shape = [4, 8], splits = [#moe.split<dim = 0, axes = [0], by = slots>]>

// -----

// expected-error @below {{axes are [0, 0], but distinct axes of a grid are expected}}
#s = #moe.slice<grid = @ranks, shape = [4, 8], splits = [], first_only = [0, 0]>

// -----

// (C2)
// expected-error @below {{axes are [0, 1, 1], but distinct axes of a grid are expected}}
#p = #moe.placement<grid = @ranks, ep = [0], etp = [1], edp = [1], slots = [0, 1]>

// -----

// (C1)
// expected-error @below {{placement has expert 1 twice or below -1 in its slots}}
#p = #moe.placement<grid = @ranks, ep = [0], etp = [], edp = [], slots = [0, 1, 1]>

// -----

// expected-error @below {{placement has expert -2 twice or below -1 in its slots}}
#p = #moe.placement<grid = @ranks, ep = [0], etp = [], edp = [], slots = [0, -2]>

// -----

//===----------------------------------------------------------------------===//
// Discardable attributes
//===----------------------------------------------------------------------===//

// expected-error @below {{`moe.phase` is a string on a module, but found 3 : i64 on 'builtin.module'}}
module attributes {moe.phase = 3} {}

// -----

// expected-error @below {{`moe.options` is a dictionary on a module, but found "fast" on 'builtin.module'}}
module attributes {moe.options = "fast"} {}

// -----

// expected-error @below {{`moe.layer` is a layer's index on a function, but found -1 : i64 on 'func.func'}}
func.func @negative_layer() attributes {moe.layer = -1 : i64} { return }

// -----

// expected-error @below {{`moe.colour` is not an attribute of operations that the moe dialect knows}}
func.func @unknown_on_an_operation() attributes {moe.colour = "red"} { return }

// -----

// expected-error @below {{`moe.colour` is not an attribute of arguments that the moe dialect knows}}
func.func @unknown_on_an_argument(%x: tensor<4xf32> {moe.colour = "red"}) { return }

// -----

// expected-error @below {{`moe.weight` is not an attribute of results that the moe dialect knows}}
func.func private @weight_on_a_result() -> (tensor<4xf32> {moe.weight = "w"})

// -----

// expected-error @below {{`moe.name` is a name, but found ""}}
func.func @empty_name(%x: tensor<4xf32> {moe.name = ""}) { return }

// -----

// expected-error @below {{`moe.split` is array<i64> of grid axes on a value with rows, but found array<i64: 0> on 'index'}}
func.func @split_of_a_scalar(%x: index {moe.split = array<i64: 0>}) { return }

// -----

// expected-error @below {{`moe.split` is array<i64> of grid axes on a value with rows, but found [0] on 'tensor<4xf32>'}}
func.func private @split_as_a_list() -> (tensor<4xf32> {moe.split = [0]})

// -----

// expected-error @below {{`moe.weight` is #moe.checkpoint or a non-empty array of them, but found []}}
func.func @no_alternatives(%x: tensor<4xf32> {moe.weight = []}) { return }

// -----

// expected-error @below {{`moe.weight` is #moe.checkpoint or a non-empty array of them, but found [1]}}
func.func @alternative_of_another_kind(%x: tensor<4xf32> {moe.weight = [1]}) { return }

// -----

// expected-error @below {{`moe.weight` maps 2 dimensions, but the argument is 'tensor<4xf32>'}}
func.func @weight_of_another_rank(%x: tensor<4xf32> {moe.weight = #moe.checkpoint<names = ["w"], file_shape = [4], map = affine_map<(i, j) -> (i)>>}) { return }

// -----

// expected-error @below {{`moe.slice` is #moe.slice with a shape of the argument's rank, but found #moe.slice<grid = @ranks, shape = [4, 8], splits = []> on 'tensor<4xf32>'}}
func.func @slice_of_another_rank(%x: tensor<4xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [4, 8], splits = []>}) { return }

// -----

shard.grid @ranks(shape = 4294967296x4294967296)
// expected-error @below {{'func.func' op names the grid `ranks` of 4294967296x4294967296 ranks, expected 1 to 2147483647; nearest legal choice: 2147483647x1}}
func.func @slice_over_more_ranks_than_are_numbered(%x: tensor<4x8xf32> {moe.slice = #moe.slice<grid = @ranks, shape = [4, 8],
    splits = [#moe.split<dim = 0, axes = [0, 1]>]>}) { return }

// -----

func.func @part_of_more_than_all(%x: tensor<?x64xf32>, %w: tensor<2x64x64xf32>, %o: tensor<3xi32>, %n: index) -> tensor<?x64xf32> {
  // expected-error @below {{`moe.part` is [slots here, slots of all] on moe.grouped_matmul, but found array<i64: 4, 2>}}
  %y = moe.grouped_matmul %x, %w rows(%n) offsets(%o) {moe.part = array<i64: 4, 2>} : (tensor<?x64xf32>, tensor<2x64x64xf32>, index, tensor<3xi32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// expected-error @below {{panels have depth 6 for 2 streams of 2 values a step, but a multiple of 4 is expected}}
"builtin.module"() {a = #moe.panels<groups = 1, parts = 1, columns = 16, depth = 6, width = 16, interleave = 2, streams = 2>} : () -> ()
