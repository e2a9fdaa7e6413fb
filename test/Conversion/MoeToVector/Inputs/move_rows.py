"""moe.sort, counts, take, regroup and combine against numpy: bits must be equal, for any number of threads; bad ids end the program."""

import sys

import numpy as np
from compiled import from_bf16, to_bf16
from team import CONTEXT, FAILED, call, compile_program

TYPES = {"f32": np.float32, "bf16": np.uint16, "f16": np.float16}
FUNCTIONS = []


def function(name, arguments, op):
    """Text of a function of one op; `arguments` are (name, type)."""
    signature = "".join(f", %{argument}: {kind}" for argument, kind in arguments)
    FUNCTIONS.append(f"func.func @{name}({CONTEXT}{signature}) -> i32 attributes {{llvm.emit_c_interface}} {{\n  {op}\n"
                     "  %ok = arith.constant 0 : i32\n  return %ok : i32\n}\n")


def encode(values, kind):
    return to_bf16(values) if kind == "bf16" else values.astype(TYPES[kind])


def decode(values, kind):
    return from_bf16(values) if kind == "bf16" else values.astype(np.float32)


# ---- sort and counts -------------------------------------------------------------------------------------------------

SORTS = [
    ("one_rank", 8, 2, list(range(8)), None),
    ("all_slots_with_empty_ones", 5, 3, [4, -1, 0, 2, -1, 1, 3, -1], None),
    ("window_of_two", 8, 2, [3, 1, 0, 2, 7, 6, 5, 4], 2),
    ("window_wider_than_k", 20, 3, list(range(20)) + [-1] * 4, 6),
    ("every_expert", 17, 17, list(range(17)), None),
]


def declare_sorts():
    for name, experts, k, slots, window in SORTS:
        size = window or len(slots)
        kinds = [("ids", f"memref<?x{k}xi32>")] + ([("first", "index")] if window else [])
        outs = [("order", "memref<?xi32>"), ("positions", f"memref<?x{k}xi32>"), ("offsets", f"memref<{size + 1}xi32>")]
        function(name, kinds + outs, f"moe.sort %ids {'first(%first) ' if window else ''}experts {experts} slots {slots} window {size} "
                 f"outs(%order, %positions, %offsets) : ({', '.join(kind for _, kind in kinds + outs)}) -> ()")
        function(name + "_counts", [("offsets", f"memref<{size + 1}xi32>"), ("counts", f"memref<2x{size // 2}xi32>")],
                 f"moe.counts %offsets outs(%counts) : (memref<{size + 1}xi32>, memref<2x{size // 2}xi32>) -> ()") if size % 2 == 0 else None


def sorted_pairs(ids, slots, first, window):
    pairs = [(slots.index(expert) - first, pair) for pair, expert in enumerate(ids.reshape(-1))]
    kept = sorted((slot, pair) for slot, pair in pairs if 0 <= slot < window)
    positions = np.full(ids.size, -1, np.int32)
    positions[[pair for _, pair in kept]] = np.arange(len(kept))
    counts = np.bincount([slot for slot, _ in kept], minlength=window) if kept else np.zeros(window, int)
    return [pair for _, pair in kept], positions.reshape(ids.shape), np.concatenate([[0], np.cumsum(counts)])


def run_sort(library, name, ids, slots, window, first, threads=2):
    k, size = ids.shape[1], window or len(slots)
    order = np.full(len(ids) * min(k, size), -7, np.int32)
    positions, offsets = np.full(ids.shape, -7, np.int32), np.full(size + 1, -7, np.int32)
    team = call(library, name, ids, *([first] if window else []), order, positions, offsets, threads=threads)
    return team, order, positions, offsets


def check_sorts(library, random):
    for name, experts, k, slots, window in SORTS:
        size = window or len(slots)
        for tokens in (0, 1, 33):
            ids = np.array([random.permutation(experts)[:k] for _ in range(tokens)], np.int32).reshape(tokens, k)
            for first in range(0, len(slots) - size + 1, size):
                team, order, positions, offsets = run_sort(library, name, ids, slots, window, first)
                want_order, want_positions, want_offsets = sorted_pairs(ids, slots, first, size)
                assert not team.failures and team.barriers == 1, name
                assert list(order[:len(want_order)]) == want_order, name
                assert np.array_equal(positions, want_positions) and np.array_equal(offsets, want_offsets), name
            if size % 2 == 0:
                counts = np.full((2, size // 2), -7, np.int32)
                call(library, name + "_counts", offsets, counts, threads=3)
                assert np.array_equal(counts.reshape(-1), np.diff(offsets)), name


def check_bad_ids(library):
    """(reason, found, limit) as in moert_failure."""
    name, experts, k, slots, window = SORTS[2]
    good = np.array([[0, 1], [2, 3], [4, 5]], np.int32)
    for bad, failure in [((1, 1, 8), (1, 8, 8)), ((2, 0, -1), (1, -1, 8)), ((0, 1, 2**31 - 1), (1, 2**31 - 1, 8)), ((1, 1, 2), (2, 2, 1))]:
        ids = good.copy()
        ids[bad[0], bad[1]] = bad[2]
        team, *_ = run_sort(library, name, ids, slots, window, 0)
        assert team.failures == [failure], (team.failures, failure)
    # The same expert for two tokens is no duplicate.
    team, *_ = run_sort(library, name, np.array([[0, 1], [1, 0]], np.int32), slots, window, 0)
    assert not team.failures


# ---- take ------------------------------------------------------------------------------------------------------------

TAKES = [("f32", 64, False), ("bf16", 100, False), ("f16", 37, False), ("f32", 5, True), ("bf16", 72, True), ("f16", 33, True)]


def declare_takes():
    for kind, width, weighted in TAKES:
        weights = ("weights(%w) ", [("w", "memref<?x2xf32>")]) if weighted else ("", [])
        arguments = [("x", f"memref<?x{width}x{kind}>"), ("order", "memref<?xi32>"), ("n", "index"), *weights[1], ("y", f"memref<?x{width}x{kind}>")]
        function(f"take_{kind}_{width}", arguments, f"moe.take %x, %order rows(%n) top_k 2 {weights[0]}outs(%y) : "
                 f"({', '.join(kind for _, kind in arguments)}) -> ()")


def check_takes(library, random):
    for kind, width, weighted in TAKES:
        for tokens, rows in [(0, 0), (1, 2), (9, 11)]:
            x = encode(random.standard_normal((tokens, width)), kind)
            order = random.permutation(2 * tokens)[:rows].astype(np.int32)
            w = random.standard_normal((tokens, 2)).astype(np.float32)
            y = np.full((rows + 1, width), 77, TYPES[kind])
            for threads in (1, 4):
                call(library, f"take_{kind}_{width}", x, order, rows, *([w] if weighted else []), y, threads=threads)
                want = x[order // 2]
                if weighted:
                    want = encode(decode(want, kind) * w.reshape(-1)[order][:, None], kind)
                assert y[:rows].tobytes() == want.tobytes() and (y[rows] == 77).all(), (kind, width)
                y[:] = 77


# ---- regroup ---------------------------------------------------------------------------------------------------------

REGROUPS = {"flat": (4, 3), "with_partners": (2, 4, 2), "one_source": (1, 5), "slots_only": (6,)}


def declare_regroups():
    for name, shape in REGROUPS.items():
        counts = f"memref<{'x'.join(map(str, shape))}xi32>"
        arguments = [("counts", counts), ("n", "index"), ("order", "memref<?xi32>"), ("offsets", f"memref<{shape[-1] + 1}xi32>")]
        function("regroup_" + name, arguments,
                 f"moe.regroup %counts rows(%n) outs(%order, %offsets) : ({', '.join(kind for _, kind in arguments)}) -> ()")


def check_regroups(library, random):
    for name, shape in REGROUPS.items():
        for most in (0, 1, 5):
            counts = random.integers(0, most + 1, shape).astype(np.int32)
            slots = np.repeat(np.arange(counts.size) % shape[-1], counts.reshape(-1))
            order, offsets = np.full(counts.sum() + 1, -7, np.int32), np.full(shape[-1] + 1, -7, np.int32)
            call(library, "regroup_" + name, counts, int(counts.sum()), order, offsets, threads=2)
            assert np.array_equal(order[:-1], np.argsort(slots, kind="stable")) and order[-1] == -7, name
            assert np.array_equal(offsets, np.concatenate([[0], np.cumsum(np.bincount(slots, minlength=shape[-1]))])), name


# ---- combine ---------------------------------------------------------------------------------------------------------

COMBINES = [("f32", 64, 2, True, None), ("f32", 37, 3, False, None), ("bf16", 136, 2, True, "plain"), ("f32", 8, 4, True, "gated"),
            ("f16", 21, 2, True, "gated")]
# Without positions: the rows stand in token order.
PLAIN_COMBINES = [("f32", 48, True, "plain"), ("bf16", 40, False, "gated"), ("f32", 19, True, None)]


def declare_combines():
    for kind, width, k, weighted, addend in COMBINES:
        rows, arguments, text = f"memref<?x{width}x{kind}>", [], "%rows, %positions "
        arguments += [("rows", rows), ("positions", f"memref<?x{k}xi32>")]
        for present, word, type in [(weighted, "weights", f"memref<?x{k}xf32>"), (addend, "addend", rows),
                                    (addend == "gated", "addend_gate", "memref<?x1xf32>")]:
            if present:
                arguments.append((word, type))
                text += f"{word}(%{word}) "
        arguments.append(("y", rows))
        function(f"combine_{kind}_{width}", arguments, f"moe.combine {text}outs(%y) : ({', '.join(kind for _, kind in arguments)}) -> ()")


def declare_plain_combines():
    for kind, width, weighted, addend in PLAIN_COMBINES:
        rows = f"memref<?x{width}x{kind}>"
        arguments, text = [("rows", rows)], "%rows "
        for present, word, type in [(weighted, "weights", "memref<?x1xf32>"), (addend, "addend", rows),
                                    (addend == "gated", "addend_gate", "memref<?x1xf32>")]:
            if present:
                arguments.append((word, type))
                text += f"{word}(%{word}) "
        arguments.append(("y", rows))
        function(f"plain_{kind}_{width}", arguments, f"moe.combine {text}outs(%y) : ({', '.join(kind for _, kind in arguments)}) -> ()")


def combined(rows, positions, weights, addend, gate):
    total = np.zeros((len(positions), rows.shape[1]), np.float32)
    for j in range(positions.shape[1]):
        kept = positions[:, j] >= 0
        row = rows[positions[kept, j]]
        total[kept] += row if weights is None else weights[kept, j, None] * row
    if addend is not None:
        total = total + (addend if gate is None else gate * addend)
    return total


def check_combines(library, random):
    for kind, width, k, weighted, addend in COMBINES:
        for tokens in (0, 1, 13):
            rows = encode(random.standard_normal((tokens * k, width)), kind)
            positions = random.permutation(tokens * k).astype(np.int32).reshape(tokens, k)
            positions[random.random(positions.shape) < 0.2] = -1
            weights = random.standard_normal((tokens, k)).astype(np.float32) if weighted else None
            extra = encode(random.standard_normal((tokens, width)), kind) if addend else None
            gate = random.random((tokens, 1)).astype(np.float32) if addend == "gated" else None
            wide = decode(extra, kind) if addend else None
            want = encode(combined(decode(rows, kind), positions, weights, wide, gate), kind)
            arguments = [a for a in (weights, extra, gate) if a is not None]
            for threads in (1, 3, 16):
                y = np.full((tokens, width), 77, TYPES[kind])
                call(library, f"combine_{kind}_{width}", rows, positions, *arguments, y, threads=threads)
                assert y.tobytes() == want.tobytes(), (kind, width, tokens)


def check_plain_combines(library, random):
    for kind, width, weighted, addend in PLAIN_COMBINES:
        for tokens in (0, 1, 13):
            rows, extra = (encode(random.standard_normal((tokens, width)), kind) for _ in range(2))
            weights, gate = (random.standard_normal((tokens, 1)).astype(np.float32) for _ in range(2))
            arguments = [a for present, a in [(weighted, weights), (addend, extra), (addend == "gated", gate)] if present]
            own = np.arange(tokens, dtype=np.int32)[:, None]
            want = encode(combined(decode(rows, kind), own, weights if weighted else None, decode(extra, kind) if addend else None,
                                   gate if addend == "gated" else None), kind)
            for threads in (1, 3):
                y = np.full((tokens, width), 77, TYPES[kind])
                call(library, f"plain_{kind}_{width}", rows, *arguments, y, threads=threads)
                assert y.tobytes() == want.tobytes(), (kind, width, tokens)


def main(folder, cpu):
    declare_sorts()
    declare_takes()
    declare_regroups()
    declare_combines()
    declare_plain_combines()
    library = compile_program("".join(FUNCTIONS), folder, cpu)
    random = np.random.default_rng(3)
    check_sorts(library, random)
    check_bad_ids(library)
    check_takes(library, random)
    check_regroups(library, random)
    check_combines(library, random)
    check_plain_combines(library, random)
    print("rows hold")


main(*sys.argv[1:])
