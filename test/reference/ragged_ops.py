"""What the pieces of an expanded layer mean, in NumPy and double precision; written from the operations' documentation."""

import numpy as np

import rules
from mlir_text import fields, inside, ints


def router_of(text):
    a = fields(inside(text))
    return rules.Router(top_k=int(a["top_k"]), score=a.get("score", "softmax"), after_top_k=a.get("score_after_top_k") == "true",
                        groups=int(a.get("n_group", 1)), kept_groups=int(a.get("topk_group", 1)), group_score=a.get("group_score", "none"),
                        normalize=a.get("normalize") == "sum", epsilon=float(a.get("normalize_epsilon", 0)), scale=float(a.get("scale", 1)),
                        jitter=float(a.get("jitter", 0)))


def activation_of(text):
    a = fields(inside(text))
    return rules.Activation(a["kind"], *(float(a.get(name, default)) for name, default in (("alpha", 1), ("limit", 0), ("up_offset", 0))))


def route(op, x, weight, bias=None, selection_bias=None):
    ids, weights = rules.route(rules.Layer(router_of(op.attributes["router"]), weight, None, gate_bias=bias, selection_bias=selection_bias), x)
    return weights, ids


def sort(op, ids, first=None):
    slot_of = {expert: slot for slot, expert in enumerate(ints(op.attributes["slots"])) if expert >= 0}
    window, tokens, k = int(op.attributes["window"].split()[0]), *ids.shape
    group = int(op.attributes.get("group", "1").split()[0])
    first = first or 0
    order = np.full(tokens * min(k, window // group), -1)
    positions, offsets, row = np.full(tokens * k, -1), [0], 0
    slots = np.array([slot_of[int(e)] for e in ids.flat], dtype=int)
    for slot in range(first, first + window, group):
        pairs = np.flatnonzero((slots >= slot) & (slots < slot + group))
        pairs = pairs[np.unique(pairs // k, return_index=True)[1]]  # the first of each token
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


def grouped_matmul(op, lhs, rhs, rows, offsets=None, gather=None, scatter=None, row_weights=None, bias=None, scales=None):
    assert scales is None, "quantised weights are compared in test/EndToEnd/quantized.py"
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
        out[i if scatter is None else scatter[i]] = rules.activate(activation_of(activation), np.moveaxis(v, 1, 0)) if activation else v
    return out


def token_gate(op, x, weight):
    return rules.sigmoid(x @ weight.T)


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
