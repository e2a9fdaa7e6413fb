"""moe.select_experts against numpy: every kind of router, ties, NaN, infinities, no tokens, several threads."""

import sys

import numpy as np
from team import CONTEXT, call, compile_program

# name, experts, router, with selection bias
CASES = [
    ("mixtral", 8, "top_k = 2, normalize = sum", False),
    ("softmax_of_an_odd_number", 60, "top_k = 4", False),
    ("few_experts", 3, "top_k = 3, normalize = sum", False),
    ("qwen3", 128, "top_k = 8, normalize = sum", False),
    ("deepseek", 32, "top_k = 4, score = sigmoid, n_group = 8, topk_group = 4, group_score = top2_sum, normalize = sum, "
     "normalize_epsilon = 1.0e-20, scale = 2.5", True),
    ("deepseek_v2", 20, "top_k = 3, n_group = 5, topk_group = 2, group_score = max, scale = 16.0", False),
    ("groups_below_zero", 20, "top_k = 3, n_group = 5, topk_group = 2, group_score = max, masked_fill = neg_inf, score_after_top_k = true", True),
    ("gpt_oss", 32, "top_k = 4, score_after_top_k = true", False),
    ("llama4", 16, "top_k = 1, score = sigmoid, score_after_top_k = true", False),
    ("p_norm", 16, "top_k = 4, score = sigmoid, score_after_top_k = true, normalize = p_norm, normalize_epsilon = 1.0e-9", False),
]


def parse(router):
    defaults = {"score": "softmax", "score_after_top_k": "false", "n_group": "1", "topk_group": "1", "group_score": "none", "masked_fill": "zero",
                "normalize": "none", "normalize_epsilon": "0", "scale": "1"}
    return defaults | dict(item.split(" = ") for item in router.split(", "))


def softmax(x):
    with np.errstate(all="ignore"):
        e = np.exp(x - np.max(x))
        return e / e.sum()


def score(x, kind):
    with np.errstate(all="ignore"):
        return softmax(x) if kind == "softmax" else 1 / (1 + np.exp(-x))


def descending(values):
    """Places by value, NaN above all, ties to the lowest place."""
    keys = np.where(np.isnan(values), 1, 0), np.where(np.isnan(values), 0, values)
    return np.lexsort((np.arange(len(values)), -keys[1], -keys[0]))


def reference(logits, router, bias):
    r, k = parse(router), int(parse(router)["top_k"])
    after, groups = r["score_after_top_k"] == "true", int(r["n_group"])
    scores = logits if after else score(logits, r["score"])
    selection = (scores + (bias if bias is not None else 0)).astype(np.float32)
    if groups > 1:
        parts = selection.reshape(groups, -1)
        best = [part[descending(part)] for part in parts]
        values = np.array([b[0] if r["group_score"] == "max" else b[0] + b[1] for b in best])
        kept = descending(values)[:int(r["topk_group"])]
        masked = np.full_like(parts, 0 if r["masked_fill"] == "zero" else -np.inf)
        masked[kept] = parts[kept]
        selection = masked.reshape(-1)
    ids = descending(selection)[:k]
    weights = score(scores[ids], r["score"]) if after else scores[ids]
    with np.errstate(all="ignore"):
        if r["normalize"] != "none":
            weights = weights / (np.abs(weights).sum() + float(r["normalize_epsilon"]))
        return ids, weights * float(r["scale"]), selection


def logits_of(random, tokens, experts):
    logits = (random.standard_normal((tokens, experts)) * 3).astype(np.float32)
    if tokens >= 12:
        logits[0] = 1.5                                   # all equal
        logits[1] = random.integers(-1, 2, experts)       # many ties
        logits[2, experts // 2] = np.nan
        logits[3] = np.nan
        logits[4, 1] = np.inf
        logits[5] = -np.inf
        logits[6, :-1] = -np.inf
        logits[7, ::2] = -np.inf
        logits[8] *= 1000
        logits[9] = -200
        logits[10] = np.where(random.random(experts) < 0.5, 0.0, -0.0)
        logits[11] = 3.0e38
    return logits


def check_token(name, router, row, bias, ids, weights, experts):
    expected, wanted, selection = reference(row.astype(np.float64), router, bias)
    assert len(set(ids)) == len(ids) and min(ids) >= 0 and max(ids) < experts, (name, ids)
    # Rounding may swap scores that are nearly equal; equal logits have equal scores in both.
    close = np.array_equal(ids, expected) or np.allclose(selection[ids], selection[expected], rtol=2e-6, atol=1e-9, equal_nan=True)
    assert close, (name, ids, expected, row[ids], row[expected])
    if np.array_equal(ids, expected):
        np.testing.assert_allclose(weights, wanted, rtol=1e-6, atol=1e-30, err_msg=name)


def check(library, name, experts, router, has_bias, tokens, random):
    k = int(parse(router)["top_k"])
    logits = logits_of(random, tokens, experts)
    bias = random.standard_normal(experts).astype(np.float32) if has_bias else None
    results = []
    for threads in (1, 3):
        weights, ids = np.full((tokens, k), 9, np.float32), np.full((tokens, k), -9, np.int32)
        team = call(library, name, logits, *([bias] if has_bias else []), weights, ids, threads=threads)
        assert not team.failures and team.barriers == 1
        results.append((weights, ids))
    assert results[0][0].tobytes() == results[1][0].tobytes() and np.array_equal(results[0][1], results[1][1]), name
    for token in range(tokens):
        check_token(name, router, logits[token], bias, results[0][1][token], results[0][0][token], experts)
    if tokens >= 12:
        ties = results[0][1][0] if not has_bias else None
        assert ties is None or list(ties) == list(range(k)), (name, ties)
        finite = np.isfinite(logits).all(axis=1)
        assert np.isfinite(results[0][0][finite]).all(), name


def main(folder, cpu):
    text = ""
    for name, experts, router, has_bias in CASES:
        k = parse(router)["top_k"]
        bias = (f"%b: memref<{experts}xf32>, ", "selection_bias(%b) ", f"memref<{experts}xf32>, ") if has_bias else ("", "", "")
        text += f"""func.func @{name}({CONTEXT}, %l: memref<?x{experts}xf32>, {bias[0]}%w: memref<?x{k}xf32>, %i: memref<?x{k}xi32>) -> i32
    attributes {{llvm.emit_c_interface}} {{
  moe.select_experts %l {bias[1]}router(<{router}>) outs(%w, %i) : (memref<?x{experts}xf32>, {bias[2]}memref<?x{k}xf32>, memref<?x{k}xi32>) -> ()
  %ok = arith.constant 0 : i32
  return %ok : i32
}}
"""
    library = compile_program(text, folder, cpu)
    random = np.random.default_rng(7)
    for case in CASES:
        for tokens in (0, 1, 12, 40):
            check(library, *case, tokens, random)
    print(f"{len(CASES)} routers hold")


main(*sys.argv[1:])
