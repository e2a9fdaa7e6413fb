"""What an MoE layer computes, written from the families' descriptions in NumPy and in double precision. Independent of the compiler: the
oracle where transformers has none (no tokens, ties, NaN)."""
import math
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Router:
    top_k: int
    score: str = "softmax"  # softmax, sigmoid, sparsemixer
    after_top_k: bool = False  # scores of the chosen logits only
    groups: int = 1
    kept_groups: int = 1
    group_score: str = "none"  # none, max, top2_sum
    normalize: bool = False
    epsilon: float = 0.0
    scale: float = 1.0
    weight_on_input: bool = False
    jitter: float = 0.0  # threshold of the sparse mixer


@dataclass
class Activation:
    kind: str = "silu"  # silu, relu, gelu, gelu_tanh
    alpha: float = 1.0
    limit: float = 0.0
    up_offset: float = 0.0


@dataclass
class Experts:
    up: np.ndarray  # [E, P, I, H], gate before up
    down: np.ndarray  # [E, H, I]
    up_bias: np.ndarray = None  # [E, P, I]
    down_bias: np.ndarray = None  # [E, H]


@dataclass
class Layer:
    router: Router
    gate: np.ndarray  # [E, H]
    experts: Experts
    activation: Activation = field(default_factory=Activation)
    gate_bias: np.ndarray = None
    selection_bias: np.ndarray = None
    shared: Experts = None  # E = 1
    shared_gate: np.ndarray = None  # [1, H]


def sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def softmax(x):
    with np.errstate(invalid="ignore"):
        e = np.exp(x - np.max(x, axis=-1, keepdims=True))
        return e / np.sum(e, axis=-1, keepdims=True)


def best(values, k):
    """Indices of the k largest: NaN above every number, equal ones by index."""
    key = np.where(np.isnan(values), np.inf, values)
    order = sorted(range(len(values)), key=lambda i: (not np.isnan(values[i]), -key[i], i))
    return np.array(order[:k], np.int32)


def keep_groups(router, values):
    """Values outside the best groups become 0."""
    if router.group_score == "none":
        return values
    grouped = values.reshape(router.groups, -1)
    if router.group_score == "max":
        scores = np.array([row[best(row, 1)[0]] for row in grouped])
    else:
        scores = np.array([row[best(row, 2)].sum() for row in grouped])
    kept = np.zeros_like(grouped)
    for group in best(scores, router.kept_groups):
        kept[group] = grouped[group]
    return kept.reshape(-1)


def sparse_mixer(router, logits):
    """Two rounds of argmax and masked softmax (PhiMoE at inference)."""
    ids, weights, remaining = [], [], logits.copy()
    for _ in range(2):
        top = best(remaining, 1)[0]
        highest = remaining[top]
        with np.errstate(invalid="ignore", divide="ignore"):
            far = (highest - logits) / np.maximum(np.abs(logits), highest) > 2 * router.jitter
        masked = np.where(far, -np.inf, remaining)
        weights.append(softmax(masked)[top])
        ids.append(top)
        remaining[top] = -np.inf
    return np.array(ids, np.int32), np.array(weights)


def route_token(router, logits, selection_bias):
    if router.score == "sparsemixer":
        return sparse_mixer(router, logits)
    score = softmax if router.score == "softmax" else sigmoid
    scores = logits if router.after_top_k else score(logits)
    # Equal scores in f32 are ties, whatever double precision says.
    choice = scores.astype(np.float32)
    if selection_bias is not None:
        choice = choice + selection_bias.astype(np.float32)
    ids = best(keep_groups(router, choice), router.top_k)
    weights = scores[ids]
    if router.after_top_k:
        weights = score(weights)
    if router.normalize:
        with np.errstate(invalid="ignore", divide="ignore"):
            weights = weights / (weights.sum() + router.epsilon)
    return ids, weights * router.scale


def route(layer, x):
    """ids [T, k] and weights [T, k]."""
    with np.errstate(invalid="ignore", over="ignore"):
        logits = x.astype(np.float64) @ layer.gate.astype(np.float64).T
        if layer.gate_bias is not None:
            logits = logits + layer.gate_bias
        # Exact ties and overflow are those of f32.
        logits = logits.astype(np.float32).astype(np.float64)
    k = layer.router.top_k
    ids, weights = np.zeros((len(x), k), np.int32), np.zeros((len(x), k))
    for t in range(len(x)):
        ids[t], weights[t] = route_token(layer.router, logits[t], layer.selection_bias)
    return ids, weights


def activate(activation, parts):
    """[P, I] -> [I]."""
    functions = {
        "silu": lambda v: v * sigmoid(activation.alpha * v),
        "relu": lambda v: np.maximum(v, 0),
        "gelu": lambda v: 0.5 * v * (1 + np.vectorize(math.erf)(v / math.sqrt(2))),
        "gelu_tanh": lambda v: 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3))),
    }
    function = functions[activation.kind]
    if len(parts) == 1:
        return function(parts[0])
    gate, up = parts
    if activation.limit:
        gate, up = np.minimum(gate, activation.limit), np.clip(up, -activation.limit, activation.limit)
    return (up + activation.up_offset) * function(gate)


def feed_forward(activation, experts, e, x):
    """One expert on one token."""
    with np.errstate(invalid="ignore", over="ignore"):
        parts = experts.up[e].astype(np.float64) @ x
        if experts.up_bias is not None:
            parts = parts + experts.up_bias[e]
        y = experts.down[e].astype(np.float64) @ activate(activation, parts)
        return y if experts.down_bias is None else y + experts.down_bias[e]


def run(layer, x, ids=None, weights=None):
    """y [T, H], ids and weights; ids and weights may be given from outside."""
    if ids is None:
        ids, weights = route(layer, x)
    x = x.astype(np.float64)
    y = np.zeros_like(x)
    with np.errstate(invalid="ignore", over="ignore"):
        for t in range(len(x)):
            for e, w in zip(ids[t], weights[t]):
                if layer.router.weight_on_input:
                    y[t] += feed_forward(layer.activation, layer.experts, e, w * x[t])
                else:
                    y[t] += w * feed_forward(layer.activation, layer.experts, e, x[t])
            if layer.shared is not None:
                shared = feed_forward(layer.activation, layer.shared, 0, x[t])
                if layer.shared_gate is not None:
                    shared = shared * sigmoid(layer.shared_gate[0].astype(np.float64) @ x[t])
                y[t] += shared
    return y, ids, weights
