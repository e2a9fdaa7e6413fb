"""The C ABI of compiled functions: arrays of pointers, the arena, a prepare function, and every collective with its arguments."""

import ctypes
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "MoeToVector", "Inputs"))
from team import FAILED, Team, compile_program  # noqa: E402

MODULE = """
#w = #moe.checkpoint<names = ["w"], file_shape = [2, 4], map = affine_map<(a, b) -> (a, b)>>
shard.grid @ranks(shape = 2x3x2) {coll.axes = ["edp", "ep", "etp"]}

moert.interface @layer on @ranks layer 0 experts 1 top_k 1 slots [0]
  inputs [#moert.value<name = "x", type = tensor<?x4xf32>, split = [0, 1, 2]>, #moert.value<name = "c", type = tensor<3x2xi32>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x4xf32>, split = [0, 1, 2]>, #moert.value<name = "z", type = tensor<?xi32>, split = [0, 1, 2]>]
  weights [#moert.weight<name = "w", type = tensor<2x4xf32>, sources = [#w]>]
  packed [] arena <constant = 64, per_token = 8, per_share = 32, shares = 12>

func.func @layer(%x: memref<?x4xf32>, %c: memref<3x2xi32>, %w: memref<8xf32>, %y: memref<?x4xf32>, %z: memref<?xi32>,
                 %arena: memref<?xi8> {moert.arena}, %tokens: index {moert.tokens}, %max: index {moert.max_tokens}) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // The group's members, the rows that counts announce, bytes of the arena and the weight's first element, into z.
  %me = coll.index on @ranks axes [1, 2] : index
  %n = coll.rows %c bound(affine_map<()[s0] -> (s0 ceildiv 2)>) on @ranks : memref<3x2xi32>
  %bytes = memref.dim %arena, %c0 : memref<?xi8>
  %first = memref.load %w[%c0] : memref<8xf32>
  %whole = arith.fptosi %first : f32 to i32
  %thread = moert.thread : index
  %alone = arith.cmpi eq, %thread, %c0 : index
  scf.if %alone {
    %i0 = arith.index_cast %me : index to i32
    memref.store %i0, %z[%c0] : memref<?xi32>
    %i1 = arith.index_cast %n : index to i32
    memref.store %i1, %z[%c1] : memref<?xi32>
    %c2 = arith.constant 2 : index
    %i2 = arith.index_cast %bytes : index to i32
    memref.store %i2, %z[%c2] : memref<?xi32>
    %c3 = arith.constant 3 : index
    memref.store %whole, %z[%c3] : memref<?xi32>
    %c4 = arith.constant 4 : index
    %i4 = arith.index_cast %tokens : index to i32
    memref.store %i4, %z[%c4] : memref<?xi32>
  }
  moert.team_barrier
  memref.copy %x, %y : memref<?x4xf32> to memref<?x4xf32>
  return
}
func.func @layer_prepare(%w: memref<2x4xf32>, %packed: memref<8xf32>) {
  %flat = memref.collapse_shape %w [[0, 1]] : memref<2x4xf32> into memref<8xf32>
  memref.copy %flat, %packed : memref<8xf32> to memref<8xf32>
  return
}

moert.interface @talk on @ranks layer 0 experts 1 top_k 1 slots [0]
  inputs [#moert.value<name = "x", type = tensor<?x4xf32>, split = [0]>, #moert.value<name = "c", type = tensor<3x2xi32>, split = []>]
  outputs [#moert.value<name = "y", type = tensor<?x4xf32>, split = [0]>, #moert.value<name = "b", type = tensor<3x2xi32>, split = []>,
           #moert.value<name = "s", type = tensor<2xi32>, split = []>, #moert.value<name = "p", type = tensor<1x4xf32>, split = []>]
  weights [] packed [] arena <>
func.func @talk(%x: memref<?x4xf32>, %c: memref<3x2xi32>, %y: memref<?x4xf32>, %b: memref<3x2xi32>, %s: memref<2xi32>, %p: memref<1x4xf32>) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x4xf32>
  %two = arith.constant 2 : index
  coll.all_to_all %c on @ranks axes [1] outs(%b) : (memref<3x2xi32>, memref<3x2xi32>) -> ()
  coll.all_reduce %x on @ranks axes [0, 1, 2] outs(%y) : (memref<?x4xf32>, memref<?x4xf32>) -> ()
  coll.all_gather %s on @ranks axes [1] outs(%b) : (memref<2xi32>, memref<3x2xi32>) -> ()
  coll.reduce_scatter %b on @ranks axes [1] outs(%s) : (memref<3x2xi32>, memref<2xi32>) -> ()
  coll.all_gather_v %x counts(%c) rows(%n) on @ranks axes [1] outs(%y) : (memref<?x4xf32>, memref<3x2xi32>, index, memref<?x4xf32>) -> ()
  coll.reduce_scatter_v %x counts(%c) rows(%n) on @ranks axes [1] outs(%y) : (memref<?x4xf32>, memref<3x2xi32>, index, memref<?x4xf32>) -> ()
  coll.all_to_all_v %x counts(%c, %b) rows(%n) on @ranks axes [1] outs(%y) : (memref<?x4xf32>, memref<3x2xi32>, memref<3x2xi32>, index, memref<?x4xf32>) -> ()
  coll.send %x to %two on @ranks axes [1] : memref<?x4xf32>
  coll.recv from %two rows(%n) on @ranks axes [2] outs(%y) : (index, index, memref<?x4xf32>) -> ()
  coll.share %x on @ranks axes [1, 2] outs(%p) : (memref<?x4xf32>, memref<1x4xf32>) -> ()
  return
}
"""


def pointers(*arrays):
    return (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))


def run(team, function, tokens, maximum, inputs, outputs, packed=(), arena=None):
    arena = np.zeros(1, np.uint8) if arena is None else arena
    return team.run(function, ctypes.c_int64(tokens), ctypes.c_int64(maximum), pointers(*inputs), pointers(*outputs), pointers(*packed),
                    ctypes.c_void_p(arena.ctypes.data))


def check_layer(library):
    packed, weight = np.zeros(8, np.float32), np.arange(5, 13, dtype=np.float32).reshape(2, 4)
    team = Team(3)
    assert team.run(library.layer_prepare, pointers(weight), pointers(packed)) == [0, 0, 0]
    assert np.array_equal(packed, weight.reshape(-1))
    for threads, tokens in [(1, 5), (3, 5), (4, 37)]:
        x, counts = np.random.default_rng(1).random((tokens, 4), np.float32), np.array([[1, 0], [2, 3], [0, 4]], np.int32)
        y, z = np.zeros_like(x), np.zeros(tokens, np.int32)
        team = Team(threads, coordinates=(1, 2, 1))
        assert run(team, library.layer, tokens, 100, [x, counts], [y, z], [packed]) == [0] * threads
        assert np.array_equal(x, y) and team.barriers == 2 and not team.failures
        assert list(z[:5]) == [2 * 2 + 1, 10, 64 + 8 * 100 + 32 * 9, 5, tokens], z
        # More rows than ceil(M / 2): no thread goes on.
        y[:] = 0
        team = Team(threads)
        assert run(team, library.layer, tokens, 19, [x, counts + 1], [y, z], [packed]) == [FAILED] * threads
        assert set(team.failures) == {(3, 16, 10)} and not y.any(), team.failures


def check_talk(library):
    tokens, threads = 7, 3
    x, y = (np.random.default_rng(seed).random((tokens, 4), np.float32) for seed in (1, 2))
    c, b, s = np.ones((3, 2), np.int32), np.zeros((3, 2), np.int32), np.zeros(2, np.int32)
    # Axes (ep, etp): member 1 * 2 + 1 = 3 of 6 has one of 7 rows, the fifth.
    team = Team(threads, coordinates=(0, 1, 1))
    p = np.zeros((1, 4), np.float32)
    assert run(team, library.talk, tokens, 100, [x, c], [y, b, s, p]) == [0] * threads
    at = {array.ctypes.data: name for array, name in [(x, "x"), (y, "y"), (c, "c"), (b, "b"), (s, "s")]}
    f32, i32, ep, all_axes, etp = 0, 2, 0, 1, 2
    seen = [(call[0], *(at.get(argument, argument) for argument in call[1:])) for call in team.calls]
    assert seen == [
        ("all_to_all", ep, i32, "c", "b", 2), ("all_reduce", all_axes, f32, "x", "y", 28), ("all_gather", ep, i32, "s", "b", 2),
        ("reduce_scatter", ep, i32, "b", "s", 2), ("all_gather_v", ep, f32, 4, "x", "y", "c", 2), ("reduce_scatter_v", ep, f32, 4, "x", "y", "c", 2),
        ("all_to_all_v", ep, f32, 4, "x", "c", "y", "b", 2), ("send", ep, 2, f32, "x", 28), ("recv", etp, 2, f32, "y", 28)], seen
    assert team.barriers == len(seen) + 1
    assert np.array_equal(p, x[4:5])
    # A collective that fails ends all threads.
    team = Team(threads, collective=lambda *_: team.barrier.abort() or FAILED)
    assert run(team, library.talk, tokens, 100, [x, c], [y, b, s, p]) == [FAILED] * threads and len(team.calls) == 1


def main(folder):
    library = compile_program(MODULE, folder)
    check_layer(library)
    check_talk(library)
    print("the interface holds")


main(*sys.argv[1:])
