"""What each generated kernel computes, in NumPy on host memory, by the kernel's name: the name says all that a kernel is made from."""

import ctypes
import re
import struct

import numpy as np

from quantizers import E4M3


def to_bf16(values):
    """Rounds to bf16 (nearest, ties to even), as uint16."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.where(np.isnan(values), 0x7FC0, (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def memory(address, count, dtype):
    """`count` elements at an address."""
    size = max(int(count), 1) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype)[:int(count)]


def matrix(address, rows, columns):
    return memory(address, rows * columns, np.uint16).reshape(rows, columns)


def from_blocks(flat, rows, columns):
    """A matrix that is stored in blocks of 8 x 64."""
    return flat.reshape(rows // 8, columns // 64, 8, 64).transpose(0, 2, 1, 3).reshape(rows, columns)


def weight_matrix(blocked, address, rows, columns):
    flat = memory(address, rows * columns, np.uint16)
    return from_bf16(from_blocks(flat, rows, columns) if blocked else flat.reshape(rows, columns))


def sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def decode_double(hexadecimal):
    return struct.unpack(">d", struct.pack(">Q", int(hexadecimal, 16)))[0]


def sort(match, a):
    slots, top_k, group, stage = int(match["slots"]), int(match["k"]), int(match["group"] or 1), match["stage"]
    if stage == "_count":
        return
    place = [int(p) for p in match["at"].split("_")[1:]] if match["at"] else list(range(int(match["experts"])))
    pairs = a["pairs"]
    ids = memory(a["ids"], pairs, np.int32)
    found = np.array([place[e] for e in ids], np.int32) - (a["first"] if match["window"] else 0)
    kept = (found >= 0) & (found < slots)
    found = np.where(kept, found // group, -1)
    if group > 1 or top_k > slots:  # a token stands once in a bin
        for p in range(pairs):
            kept[p] &= found[p] not in found[p - p % top_k:p]
    order = memory(a["order"], pairs, np.int32)
    positions = memory(a["positions"], pairs, np.int32)
    offsets = memory(a["offsets"], slots // group + 1, np.int32)
    sorted_pairs = np.array(sorted(np.flatnonzero(kept), key=lambda p: (found[p], p)), np.int32)
    order[:len(sorted_pairs)] = sorted_pairs
    positions[:] = -1
    positions[sorted_pairs] = np.arange(len(sorted_pairs))
    offsets[:] = np.concatenate([[0], np.cumsum([(found[kept] == s).sum() for s in range(slots // group)])])


def activate(match, v):
    """Rows of gate and up in alternating blocks of eight."""
    blocks = v.reshape(len(v), v.shape[1] // 16, 2, 8)
    gate, up = (blocks[:, :, part].reshape(len(v), v.shape[1] // 2) for part in (0, 1))
    alpha = 1.0
    if match["alpha"]:
        alpha, limit = decode_double(match["alpha"]), decode_double(match["limit"])
        gate, up = np.minimum(gate, limit), np.clip(up, -limit, limit) + 1
    return gate * sigmoid(alpha * gate) * up


def matmul(match, a, maps):
    experts, n, k = int(match["experts"]), int(match["n"]), int(match["k"])
    offsets = memory(a["offsets"], experts + 1, np.int32)
    rows = int(offsets[-1])
    if match["gather"]:
        index = memory(a["index"], rows, np.int32) // int(match["divisor"] or 1) if match["gather"] == "_gather" else np.arange(rows)
        x = matrix(a["x"], int(index.max(initial=-1)) + 1, k)[index]
    else:
        x = maps[a["x"]]
        box = x.box[1]
        assert x.dims[0] == k and x.rank == 2 and x.dims[1] >= rows
        assert int(match["tokens"]) % box == 0 and (match["tails"] or int(match["tokens"]) == box)
        x = matrix(x.base, rows, k)
    w = maps[a["w"]]
    tile = int(match["weights"])
    if match["tails"]:
        tile = w.box[3] * 8 if match["blocked"] else w.box[1]
        assert int(match["weights"]) % tile == 0
    if match["blocked"]:
        assert w.rank == 4 and w.dims[:4] == [64, 8, k // 64, experts * n // 8] and w.strides[:3] == [128, 1024, 16 * k], match.string
        assert w.box[:4] == [64, 8, 1, tile // 8] and w.swizzle == 128
    else:
        assert w.dims[:2] == [k, experts * n] and w.box[1] == tile, (w.dims[:2], w.box[:2], match.string)
    w = weight_matrix(match["blocked"], w.base, experts * n, k).reshape(experts, n, k)
    y = output(match, a, maps, rows, n)
    for e in range(experts):
        span = slice(offsets[e], offsets[e + 1])
        v = from_bf16(x[span]) @ w[e].T
        if match["bias"]:
            v = v + memory(a["bias"], experts * n, np.float32).reshape(experts, n)[e]
        if match["epilogue"]:
            v = activate(match, v)
        y[span] = to_bf16(v)
    scatter(match, a, y)


def output(match, a, maps, rows, columns):
    """The rows of a product, in order: where its map says, or a matrix to be scattered."""
    if match["scatter"]:
        return np.zeros((rows, columns), np.uint16)
    y = maps[a["y"]]
    height = y.box[1]
    assert y.rank == 3 and y.dims[1] == height and y.dims[2] >= rows + height + 1 and y.strides[0] == y.strides[1] == 2 * y.dims[0]
    return matrix(y.base + height * y.strides[0], rows, y.dims[0])


def scatter(match, a, y):
    """Stores rows where they belong, where a product does that."""
    if not match["scatter"]:
        return
    places = memory(a["places"], len(y), np.int32)
    assert len(set(places)) == len(places)
    most = int(places.max(initial=-1)) + 1
    if match["scatter"] == "_scatter_scaled":
        y = to_bf16(from_bf16(y) * memory(a["factors"], most, np.float32)[places, None])
    matrix(a["y"], most, y.shape[1])[places] = y


def to_e4m3(values):
    """Codes of the nearest numbers, at most 448."""
    magnitudes = E4M3[:127]
    found = np.searchsorted((magnitudes[1:] + magnitudes[:-1]) / 2, np.abs(values))
    return np.where(np.isnan(values), 0x7F, found | np.where(np.signbit(values), 0x80, 0)).astype(np.uint8)


def quantize(values, codes, scales):
    """Writes rows as e4m3 and the scales of their blocks of 128 columns, [blocks][rows]."""
    for block in range(len(scales)):
        part = slice(128 * block, 128 * block + 128)
        scales[block, :len(values)] = np.maximum(np.abs(values[:, part]).max(1, initial=0), 1e-30) / 448
        codes[:, part] = to_e4m3(values[:, part] / scales[block, :len(values), None])


def block_scales(address, columns, rows):
    return memory(address, -(-columns // 128) * rows, np.float32).reshape(-(-columns // 128), rows)


def quantize_rows(match, a, grid):
    columns, divisor = int(match["columns"]), int(match["divisor"] or 1)
    rows = a["rows"]
    assert grid == -(-rows * 16 * -(-columns // 128) // 1024)
    index = memory(a["index"], rows, np.int32) // divisor if match["kind"] == "gathered" else np.arange(rows)
    assert a["scale_rows"] >= rows
    if match["groups"]:
        rows = memory(a["offsets"], int(match["groups"]) + 1, np.int32)[-1]
        index = index[:rows]
    values = from_bf16(matrix(a["x"], int(index.max(initial=-1)) + 1, columns)[index])
    quantize(values, memory(a["y"], rows * columns, np.uint8).reshape(rows, columns), block_scales(a["y_scale"], columns, a["scale_rows"]))


def fp8_rows(address, scale_address, rows, columns, pitch):
    """What rows of e4m3 stand for."""
    scales = block_scales(scale_address, columns, pitch)[:, :rows]
    return E4M3[memory(address, rows * columns, np.uint8).reshape(rows, columns)] * np.repeat(scales.T, 128, 1)[:, :columns]


def fp8_weights(experts, blocked, address, scale_address, n, k, parts):
    """What weights of e4m3 stand for: [experts, parts, n / parts, k]."""
    codes = memory(address, experts * n * k, np.uint8)
    if blocked:
        codes = codes.reshape(experts * n // 8, k // 128, 8, 128).transpose(0, 2, 1, 3)
    codes = codes.reshape(experts, n // (8 * parts), parts, 8, k).transpose(0, 2, 1, 3, 4).reshape(experts, parts, n // parts, k)
    blocks = [-(-(n // parts) // 128), -(-k // 128)]
    scales = memory(scale_address, experts * parts * blocks[0] * blocks[1], np.float32).reshape(experts, parts, *blocks)
    return E4M3[codes] * np.repeat(np.repeat(scales, 128, 2), 128, 3)[:, :, :n // parts, :k]


def matmul_fp8(match, a, maps):
    experts, n, k = int(match["experts"]), int(match["n"]), int(match["k"])
    parts, pitch = 2 if match["epilogue"] else 1, a["scale_rows"]
    offsets = memory(a["offsets"], experts + 1, np.int32)
    rows = int(offsets[-1])
    w = maps[a["w"]]
    if match["gather"]:
        index = memory(a["index"], rows, np.int32) // int(match["divisor"] or 1)
        assert pitch > index.max(initial=-1)
        x = fp8_rows(a["x"], a["x_scale"], pitch, k, pitch)[index]
    else:
        x = maps[a["x"]]
        assert x.rank == 2 and x.dims[0] == k // 2 and x.dims[1] >= rows and pitch >= rows
        assert int(match["tokens"]) % x.box[1] == 0 and (match["tails"] or int(match["tokens"]) == x.box[1])
        x = fp8_rows(x.base, a["x_scale"], rows, k, pitch)
    if match["blocked"]:
        assert w.rank == 4 and w.dims[:4] == [64, 8, k // 128, experts * n // 8] and w.box[3] * 8 == int(match["weights"])
    else:
        assert w.dims[:2] == [k // 2, experts * n] and w.box[1] == int(match["weights"])
    weights = fp8_weights(experts, match["blocked"], w.base, a["w_scale"], n, k, parts)
    result = np.zeros((rows, n // parts), np.float32)
    for e in range(experts):
        span = slice(offsets[e], offsets[e + 1])
        both = [x[span] @ weights[e, p].T for p in range(parts)]
        if match["bias"]:
            bias = memory(a["bias"], experts * n, np.float32).reshape(experts, n // (8 * parts), parts, 8)[e]
            both = [v + bias[:, p].reshape(-1) for p, v in enumerate(both)]
        result[span] = activate(match, interleaved(both)) if match["epilogue"] else both[0]
    y = output(match, a, maps, rows, n // parts)
    if match["quantized"]:
        codes = memory(y.ctypes.data, result.size, np.uint8).reshape(result.shape)
        return quantize(result, codes, block_scales(a["y_scale"], n // parts, pitch))
    assert y.shape == result.shape
    y[:] = to_bf16(result)
    scatter(match, a, y)


def interleaved(parts):
    """Columns of gate and up in alternating blocks of eight."""
    rows, columns = parts[0].shape
    return np.stack([part.reshape(rows, columns // 8, 8) for part in parts], 2).reshape(rows, 2 * columns)


def combine(match, a, rows):
    columns, top_k = int(match["columns"]), int(match["k"])
    tokens = rows // -(-columns // 1024)
    positions = np.arange(tokens)[:, None] if match["order"] else memory(a["positions"], tokens * top_k, np.int32).reshape(tokens, top_k)
    x = from_bf16(matrix(a["rows"], int(positions.max(initial=-1)) + 1, columns))
    weights = memory(a["weights"], tokens * top_k, np.float32).reshape(tokens, top_k) if match["weights"] else np.ones((tokens, top_k))
    total = np.zeros((tokens, columns), np.float32)
    for j in range(top_k):
        kept = positions[:, j] >= 0
        total[kept] += weights[kept, j, None] * x[positions[kept, j]]
    if match["addend"]:
        addend = from_bf16(matrix(a["addend"], tokens, columns))
        total = total + addend * (memory(a["gate"], tokens, np.float32)[:, None] if match["gate"] else 1)
    matrix(a["y"], tokens, columns)[:] = to_bf16(total)


def move(match, a, grid):
    columns, divisor = int(match["columns"]), int(match["divisor"] or 1)
    words = match["unit"] == "words"
    rows = grid // -(-columns // (32 if words else 1024))
    matrix = lambda address, rows, columns: memory(address, rows * columns, np.uint32 if words else np.uint16).reshape(rows, columns)
    index = memory(a["index"], rows, np.int32)
    if match["kind"] == "scatter":
        matrix(a["y"], rows, columns)[index] = matrix(a["x"], rows, columns)
        return
    values = matrix(a["x"], int(index.max(initial=-1)) // divisor + 1, columns)[index // divisor]
    if match["weights"]:
        weights = memory(a["weights"], int(index.max(initial=-1)) + 1, np.float32)[index]
        values = to_bf16(from_bf16(values) * weights[:, None])
    matrix(a["y"], rows, columns)[:] = values


def row_dots(match, a, tokens):
    rows, columns = int(match["rows"]), int(match["columns"])
    y = from_bf16(matrix(a["x"], tokens, columns)) @ from_bf16(matrix(a["w"], rows, columns)).T
    if match["bias"]:
        y = y + memory(a["bias"], rows, np.float32)
    if match["rounded"]:
        y = from_bf16(to_bf16(y))
    if match["sigmoid"]:
        y = sigmoid(y)
    memory(a["y"], tokens * rows, np.float32)[:] = y.reshape(-1)


def select(match, a, router_of):
    tokens, experts = a["tokens"], int(match["experts"])
    logits = memory(a["logits"], tokens * experts, np.float32).reshape(tokens, experts)
    bias = memory(a["bias"], experts, np.float32) if match["bias"] else None
    for t in range(tokens):
        ids, weights = router_of(match, logits[t].astype(np.float64), bias)
        top_k = len(ids)
        memory(a["ids"], tokens * top_k, np.int32).reshape(tokens, top_k)[t] = ids
        memory(a["weights"], tokens * top_k, np.float32).reshape(tokens, top_k)[t] = weights


def router(match, a, router_of):
    tokens, experts, hidden = a["tokens"], int(match["experts"]), int(match["hidden"])
    assert not memory(a["state"], max(-(-tokens // int(match["by"])), 1), np.int32).any(), "the router's state is not zero"
    read = lambda address, rows, kind: (from_bf16(matrix(address, rows, hidden)) if kind == "bf16" else
                                        memory(address, rows * hidden, np.float32).reshape(rows, hidden))
    logits = read(a["x"], tokens, match["x"]) @ read(a["w"], experts, match["w"]).T
    if match["biased"]:
        logits = logits + memory(a["logit_bias"], experts, np.float32)
    if match["rounded"]:
        logits = from_bf16(to_bf16(logits))
    memory(a["logits"], tokens * experts, np.float32)[:] = logits.reshape(-1)
    select(match, a, router_of)


def few_rows(match, a):
    tokens = a["tokens"]
    assert 1 <= tokens <= int(match["tokens"]) and not memory(a["state"], 4, np.int32).any()
    experts, hidden, inner, top_k = (int(match[key]) for key in ("experts", "hidden", "inner", "k"))
    memory(a["hidden_rows"], int(match["tokens"]) * top_k * inner, np.uint16)[:] = 0
    blocked_up, blocked_down = (match["blocked"] and match["part"] in (None, part) for part in ("_up", "_down"))
    if match["fp8"]:
        gate_up = fp8_weights(experts, blocked_up, a["gate_up"], a["gate_up_scale"], 2 * inner, hidden, 2)
        gate_up = gate_up.reshape(experts, 2, inner // 8, 8, hidden).transpose(0, 2, 1, 3, 4).reshape(-1, hidden)
        down = fp8_weights(experts, blocked_down, a["down"], a["down_scale"], hidden, inner, 1).reshape(-1, inner)
    else:
        gate_up = weight_matrix(blocked_up, a["gate_up"], experts * 2 * inner, hidden)
        down = weight_matrix(blocked_down, a["down"], experts * hidden, inner)
    for t in range(tokens):
        few_row(match, a, t, gate_up, down)


def seen(match, row):
    """What products read of a row."""
    if not match["fp8"]:
        return row
    codes, scales = np.zeros((1, len(row)), np.uint8), np.zeros((-(-len(row) // 128), 1), np.float32)
    quantize(row[None], codes, scales)
    return E4M3[codes[0]] * np.repeat(scales[:, 0], 128)[:len(row)]


def few_row(match, a, t, gate_up, down):
    experts, hidden, inner, top_k = (int(match[key]) for key in ("experts", "hidden", "inner", "k"))
    x = seen(match, from_bf16(matrix(a["x"], t + 1, hidden))[t])
    total = np.zeros(hidden, np.float32)
    for e, weight in zip(memory(a["ids"], (t + 1) * top_k, np.int32)[t * top_k:], memory(a["weights"], (t + 1) * top_k, np.float32)[t * top_k:]):
        h = gate_up[e * 2 * inner:][:2 * inner] @ x
        if match["bias"]:
            h = h + memory(a["up_bias"], experts * 2 * inner, np.float32)[e * 2 * inner:][:2 * inner]
        h = seen(match, from_bf16(to_bf16(activate(match, h[None])[0])))
        y = down[e * hidden:][:hidden] @ h
        if match["bias"]:
            y = y + memory(a["down_bias"], experts * hidden, np.float32)[e * hidden:][:hidden]
        total += weight * y
    if match["addend"]:
        total = total + from_bf16(matrix(a["addend"], t + 1, hidden))[t]
    matrix(a["y"], t + 1, hidden)[t] = to_bf16(total)


def pack(match, a):
    groups, parts, rows, columns = (int(match[key]) for key in ("groups", "parts", "rows", "columns"))
    padded_rows, padded_columns = int(match["padded_rows"]), int(match["padded_columns"])
    kinds = {"f32": np.float32, "bf16": np.uint16}
    source = memory(a["source"], groups * parts * rows * columns, kinds[match["source"]]).reshape(groups, parts, rows, columns)
    target = memory(a["target"], groups * parts * padded_rows * padded_columns, kinds[match["target"]])
    if match["source"] != match["target"]:
        source = from_bf16(source)
    padded = np.zeros((groups, parts, padded_rows, padded_columns), target.dtype)
    padded[:, :, :rows, :columns] = source
    if parts == 2:
        padded = padded.reshape(groups, 2, padded_rows // 8, 8, padded_columns).transpose(0, 2, 1, 3, 4)
    if match["blocked"]:
        padded = padded.reshape(-1, 8, padded_columns // 64, 64).transpose(0, 2, 1, 3)
    target[:] = padded.reshape(-1)


def regroup(match, a):
    sources, slots = int(match["sources"]), int(match["slots"])
    counts = memory(a["counts"], sources * slots, np.int32).reshape(sources, slots)
    rows = np.split(np.arange(counts.sum()), np.cumsum(counts.reshape(-1))[:-1])
    memory(a["order"], counts.sum(), np.int32)[:] = np.concatenate([rows[p * slots + s] for s in range(slots) for p in range(sources)])
    memory(a["offsets"], slots + 1, np.int32)[:] = np.concatenate([[0], np.cumsum(counts.sum(0))])


EPILOGUE = r"(?P<epilogue>_swiglu|_clamped_(?P<alpha>[0-9A-F]+)_(?P<limit>[0-9A-F]+))?"
SELECT = (r"select_(?P<k>\d+)of(?P<experts>\d+)_(?P<score>softmax|sigmoid)(?P<after>_after)?(?P<bias>_bias)?(?P<normalized>_normalized)?"
          r"_g(?P<kept>\d+)of(?P<groups>\d+)_(?P<group_score>\d)(_zero|_inf)_(?P<epsilon>[0-9A-F]+)_(?P<scale>[0-9A-F]+)")
KERNELS = {
    r"sort_e(?P<experts>\d+)_s(?P<slots>\d+)_k(?P<k>\d+)(_by(?P<group>\d+))?(?P<window>_window)?(?P<stage>_count|_place)?(?P<at>_at[_\d-]+)?": sort,
    r"matmul_e(?P<experts>\d+)_n(?P<n>\d+)_k(?P<k>\d+)_(?P<tokens>\d+)x(?P<weights>\d+)(_swap)?(_skip)?(_tails(?P<tails>\d+))?(_cluster\d+)?(_split(?P<split>\d+))?(_first)?(?P<scatter>_scatter(_scaled)?)?(?P<blocked>_blocked)?(?P<gather>_gather|_plain)?"
    r"(_div(?P<divisor>\d+))?(?P<bias>_bias)?" + EPILOGUE: matmul,
    r"matmul_e(?P<experts>\d+)_n(?P<n>\d+)_k(?P<k>\d+)_(?P<tokens>\d+)x(?P<weights>\d+)(_swap)?(_skip)?(_tails(?P<tails>\d+))?(?P<scatter>_scatter(_scaled)?)?(?P<blocked>_blocked)?"
    r"(?P<gather>_gather)?(_div(?P<divisor>\d+))?_fp8(_rescaled)?(_turns)?"
    r"(?P<quantized>_quantized)?(?P<bias>_bias)?" + EPILOGUE: matmul_fp8,
    r"quantize_(?P<kind>gathered|rows)_(?P<columns>\d+)(_div(?P<divisor>\d+))?(_of(?P<groups>\d+))?": quantize_rows,
    r"few_rows_e(?P<experts>\d+)_h(?P<hidden>\d+)_i(?P<inner>\d+)_k(?P<k>\d+)_t(?P<tokens>\d+)((?P<blocked>_blocked)(?P<part>_up|_down)?)?(?P<fp8>_fp8)?(?P<bias>_bias)?(?P<addend>_addend)?" + EPILOGUE: few_rows,
    r"router_(?P<hidden>\d+)_(?P<x>\w+?)_(?P<w>bf16|f32)(?P<biased>_biased)?(?P<rounded>_rounded)?_by(?P<by>\d+)_" + SELECT: router,
    r"combine_(?P<columns>\d+)_k(?P<k>\d+)(?P<order>_in_order)?(?P<weights>_weighted)?(?P<addend>_addend)?(?P<gate>_gated)?(_first)?": combine,
    r"(?P<kind>gather|scatter)_(?P<unit>rows|words)_(?P<columns>\d+)(_div(?P<divisor>\d+))?(?P<weights>_weighted)?": move,
    r"row_dots_(?P<rows>\d+)x(?P<columns>\d+)(?P<bias>_bias)?(?P<rounded>_rounded)?(?P<sigmoid>_sigmoid)?": row_dots,
    SELECT: select,
    r"pack_(?P<groups>\d+)x(?P<parts>\d+)x(?P<rows>\d+)x(?P<columns>\d+)_(?P<source>\w+)_to_(?P<padded_rows>\d+)x(?P<padded_columns>\d+)_(?P<target>f32|bf16)(?P<blocked>_blocked)?": pack,
    r"regroup_(?P<sources>\d+)x(?P<slots>\d+)": regroup,
    r"counts_(?P<count>\d+)": lambda match, a: memory(a["counts"], int(match["count"]), np.int32).__setitem__(
        slice(None), np.diff(memory(a["offsets"], int(match["count"]) + 1, np.int32))),
    r"zero_words": lambda match, a: memory(a["target"], a["count"], np.int32).fill(0),
    r"set_words_(?P<count>\d+)": lambda match, a: memory(a["target"], int(match["count"]), np.int32).__setitem__(
        slice(None), [a[f"word{i}"] for i in range(int(match["count"]))]),
}


def parameter_names(name, match):
    """The names of a kernel's parameters, as its builder orders them."""
    optional = lambda key, *names: list(names) if match.groupdict().get(key) else []
    places = {None: [], "_scatter": ["places"], "_scatter_scaled": ["places", "factors"]}[match.groupdict().get("scatter")]
    if name.startswith("sort"):
        outputs = [] if match["stage"] == "_count" else ["order", "positions", "offsets"]
        return ["ids"] + optional("stage", "counts") + outputs + ["status"] + optional("window", "first") + ["pairs"]
    if name.startswith("quantize"):
        return ["x"] + (["index"] if match["kind"] == "gathered" else []) + optional("groups", "offsets") + ["y", "y_scale", "scale_rows", "rows"]
    if name.startswith("matmul") and "_fp8" in name:
        return ["x"] + optional("gather", "index") + ["w", "y", "offsets"] + places + optional("bias", "bias") + ["x_scale", "w_scale"] + optional("quantized", "y_scale") + ["scale_rows"]
    if name.startswith("matmul"):
        return ["x"] + (["index"] if match["gather"] == "_gather" else []) + ["w", "y", "offsets"] + optional("split", "state") + (
            ["parts"] if match["split"] and int(match["split"]) > 1 else []) + places + optional("bias", "bias")
    if name.startswith("combine"):
        return ["rows"] + ([] if match["order"] else ["positions"]) + optional("weights", "weights") + optional("addend", "addend") + optional(
            "gate", "gate") + ["y"]
    if name.startswith(("gather", "scatter")):
        return ["x", "index"] + optional("weights", "weights") + ["y"]
    if name.startswith("row_dots"):
        return ["x", "w"] + optional("bias", "bias") + ["y"]
    if name.startswith("select"):
        return ["logits"] + optional("bias", "bias") + ["ids", "weights", "tokens"]
    if name.startswith("router"):
        return ["x", "w"] + optional("biased", "logit_bias") + optional("bias", "bias") + ["logits", "state", "ids", "weights", "tokens"]
    if name.startswith("few_rows"):
        return ["x", "ids", "weights", "gate_up", "down"] + optional("fp8", "gate_up_scale", "down_scale") + optional("bias", "up_bias", "down_bias") + optional("addend", "addend") + [
            "hidden_rows", "state", "y", "tokens"]
    if name.startswith("zero"):
        return ["target", "count"]
    if name.startswith("pack"):
        return ["source", "target"]
    if name.startswith("regroup"):
        return ["counts", "order", "offsets"]
    if name.startswith("counts"):
        return ["offsets", "counts"]
    return ["target"] + [f"word{i}" for i in range(int(match["count"]))]


def launch(name, grid, values, maps, router_of):
    """Runs one kernel; `values` are its arguments in order."""
    for pattern, body in KERNELS.items():
        match = re.fullmatch(pattern, name)
        if not match:
            continue
        names = parameter_names(name, match)
        assert len(names) == len(values), f"{name} gets {len(values)} arguments for {names}"
        arguments = dict(zip(names, values))
        extra = {matmul: (maps,), matmul_fp8: (maps,), quantize_rows: (grid,), combine: (grid,), move: (grid,), row_dots: (grid,), select: (router_of,), router: (router_of,)}.get(body, ())
        return body(match, arguments, *extra)
    raise KeyError(f"no model of the kernel {name}")
