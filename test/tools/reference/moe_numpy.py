"""What the moe operations mean, in NumPy and double precision; written from the operations' documentation."""

import numpy as np
from mlir_text import fields, inside, ints


def number(attributes, name, default):
    return float(attributes.get(name, default))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def activate(attributes, parts):
    """[rows, P, N] -> [rows, N]"""
    limit = number(attributes, "limit", 0)
    first = parts[:, 0]
    if attributes.get("gated") != "false" and limit:
        first = np.minimum(first, limit)
    kind = attributes["kind"]
    if kind == "silu":
        first = first * sigmoid(number(attributes, "alpha", 1) * first)
    elif kind == "relu":
        first = np.maximum(first, 0)
    else:
        raise NotImplementedError(kind)
    if attributes.get("gated") == "false":
        return first
    second = np.clip(parts[:, 1], -limit, limit) if limit else parts[:, 1]
    return (second + number(attributes, "up_offset", 0)) * first


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=-1, keepdims=True)


def largest(values, count):
    """Indices of the largest, descending; ties go to the lowest index."""
    return np.argsort(-values, axis=-1, kind="stable")[..., :count]


def keep_groups(router, values):
    groups = int(router.get("n_group", 1))
    if groups == 1:
        return values
    by_group = values.reshape(len(values), groups, values.shape[1] // groups)
    best = -np.sort(-by_group, axis=-1)
    scores = best[..., :2].sum(-1) if router["group_score"] == "top2_sum" else best[..., 0]
    kept = np.zeros_like(scores, dtype=bool)
    np.put_along_axis(kept, largest(scores, int(router["topk_group"])), True, axis=1)
    fill = -np.inf if router.get("masked_fill") == "neg_inf" else 0.0
    return np.where(kept[..., None], by_group, fill).reshape(values.shape)


def route(op, x, weight, bias=None, selection_bias=None):
    router = fields(inside(op.attributes["router"]))
    logits = x @ weight.T + (0 if bias is None else bias)
    score = {"softmax": softmax, "sigmoid": sigmoid}[router.get("score", "softmax")]
    late = router.get("score_after_top_k") == "true"
    scores = logits if late else score(logits)
    choice = keep_groups(router, scores + (0 if selection_bias is None else selection_bias))
    ids = largest(choice, int(router["top_k"]))
    weights = np.take_along_axis(scores, ids, axis=1)
    if late:
        weights = score(weights)
    if router.get("normalize") == "sum":
        weights = weights / (weights.sum(axis=1, keepdims=True) + number(router, "normalize_epsilon", 0))
    return weights * number(router, "scale", 1), ids


def sort(op, ids, first=None):
    slot_of = {expert: slot for slot, expert in enumerate(ints(op.attributes["slots"])) if expert >= 0}
    window, tokens, k = int(op.attributes["window"].split()[0]), *ids.shape
    first = first or 0
    order = np.full(tokens * min(k, window), -1)
    positions, offsets, row = np.full(tokens * k, -1), [0], 0
    slots = np.array([slot_of[int(e)] for e in ids.flat], dtype=int)
    for slot in range(first, first + window):
        pairs = np.flatnonzero(slots == slot)
        order[row : row + len(pairs)] = pairs
        positions[pairs] = np.arange(row, row + len(pairs))
        row += len(pairs)
        offsets.append(row)
    return order, positions.reshape(tokens, k), np.array(offsets)


def counts(op, offsets):
    shape = ints(op.result_types.partition("<")[2].rpartition("x")[0])
    return np.diff(offsets).reshape(shape)


def take(op, x, order, rows, weights=None):
    pairs = order[:rows]
    assert (pairs >= 0).all(), "takes rows that the sort left undefined"
    taken = x[pairs // int(op.attributes["top_k"].split()[0])]
    return taken if weights is None else taken * weights.reshape(-1)[pairs, None]


def regroup(op, received, rows):
    by_source = received.reshape(-1, received.shape[-1])
    assert by_source.sum() == rows, "counts and rows differ"
    starts = np.concatenate([[0], np.cumsum(by_source)])[:-1].reshape(by_source.shape)
    order = [np.arange(start, start + n) for start, n in zip(starts.T.flat, by_source.T.flat)]
    offsets = np.concatenate([[0], np.cumsum(by_source.sum(axis=0))])
    return np.concatenate(order), offsets


def grouped_matmul(op, lhs, rhs, rows, offsets=None, gather=None, scatter=None, row_weights=None, bias=None):
    offsets = np.array([0, rows]) if offsets is None else offsets
    assert offsets[-1] == rows and len(offsets) == len(rhs) + 1, "offsets do not bound the rows"
    divisor = int(op.attributes.get("gather_divisor", "1").split()[0])
    activation = op.attributes.get("activation")
    out = np.full((rows, rhs.shape[-2]), np.nan)
    for group, (first, last) in enumerate(zip(offsets, offsets[1:])):
        i = np.arange(first, last)
        a = lhs[i] if gather is None else lhs[gather[i] // divisor]
        if row_weights is not None:
            a = a * row_weights.reshape(-1)[gather[i], None]
        v = np.einsum("mk,...nk->m...n", a, rhs[group]) + (0 if bias is None else bias[group])
        out[i if scatter is None else scatter[i]] = activate(fields(inside(activation)), v) if activation else v
    return out


def token_gate(op, x, weight):
    return sigmoid(x @ weight.T)


def combine(op, rows, positions=None, weights=None, addend=None, addend_gate=None):
    positions = np.arange(len(rows))[:, None] if positions is None else positions
    weights = np.ones(positions.shape) if weights is None else weights
    out = np.zeros((len(positions), rows.shape[1]))
    for j in range(positions.shape[1]):
        kept = positions[:, j] >= 0
        out[kept] += weights[kept, j, None] * rows[positions[kept, j]]
    if addend is not None:
        out = out + (1 if addend_gate is None else addend_gate) * addend
    return out
