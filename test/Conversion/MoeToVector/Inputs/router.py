"""moe.router_logits and moe.token_gate against numpy, in the element types that a router meets."""

import sys

import numpy as np
from compiled import Module, from_bf16, to_bf16

TOKENS = [0, 1, 5, 6, 7, 13, 40]


def random_array(random, shape, element):
    values = random.standard_normal(shape).astype(np.float32)
    return to_bf16(values) if element == "bf16" else values


def wide(array):
    return from_bf16(array) if array.dtype == np.uint16 else array


def logits_function(name, E, H, x, w, bias, f32):
    b, kind, word = (", %b", f"memref<{E}x{w}>", "bias(%b) ") if bias else ("", "", "")
    argument = f", %b: {kind}" if bias else ""
    types = ", ".join(filter(None, [f"memref<?x{H}x{x}>", f"memref<{E}x{H}x{w}>", kind, f"memref<?x{E}xf32>"]))
    return f"""func.func @{name}(%x: memref<?x{H}x{x}>, %w: memref<{E}x{H}x{w}>{argument}, %y: memref<?x{E}xf32>) {{
  moe.router_logits %x, %w {word}{'f32 ' if f32 else ''}outs(%y) : ({types}) -> ()
  return
}}
"""


def gate_function(name, H, f):
    return f"""func.func @{name}(%x: memref<?x{H}x{f}>, %w: memref<1x{H}x{f}>, %y: memref<?x1xf32>) {{
  moe.token_gate %x, %w outs(%y) : (memref<?x{H}x{f}>, memref<1x{H}x{f}>, memref<?x1xf32>) -> ()
  return
}}
"""


def call_with_teams(module, name, arguments, result):
    """The result of one thread, which larger teams must repeat bit by bit."""
    first = None
    for threads in (1, 2, 3, 7):
        result[...] = 77
        module.call(name, *arguments, result, threads=threads)
        first = result.copy() if first is None else first
        assert first.tobytes() == result.tobytes(), f"{name}: {threads} threads give other bits than 1"
    return first


def check_logits(module, name, E, H, x, w, bias, f32, random):
    weight, b = random_array(random, (E, H), w), random_array(random, (E,), w)
    packed = module.pack(name, weight, *([b] if bias else []))
    for tokens in TOKENS:
        rows = random_array(random, (tokens, H), x)
        y = call_with_teams(module, name, [rows, *packed], np.zeros((tokens, E), np.float32))
        expected = wide(rows).astype(np.float64) @ wide(weight).astype(np.float64).T + (wide(b) if bias else 0)
        if x == "bf16" and not f32:
            assert (from_bf16(to_bf16(y)) == y).all(), f"{name}: logits are not rounded to bf16"
            limit = 2.0 ** -8
        else:
            limit = 2e-6
        error = np.abs(y - expected).max(initial=0) / max(1, np.abs(expected).max(initial=0))
        assert error <= limit, f"{name}: {tokens} tokens, relative error {error} is above {limit}"


def check_gate(module, name, H, f, random):
    weight = random_array(random, (1, H), f)
    packed = module.pack(name, weight)
    for tokens in TOKENS:
        rows = random_array(random, (tokens, H), f)
        y = call_with_teams(module, name, [rows, *packed], np.zeros((tokens, 1), np.float32))
        expected = 1 / (1 + np.exp(-(wide(rows).astype(np.float64) @ wide(weight).astype(np.float64).T)))
        error = np.abs(y - expected).max(initial=0)
        assert error <= 2e-6, f"{name}: {tokens} tokens, error {error} is above 2e-6"


def main():
    logits = []
    for E, H in [(1, 1), (8, 64), (12, 7), (17, 96), (60, 33), (300, 64)]:
        for x, w, bias, f32 in [("f32", "f32", True, False), ("bf16", "bf16", False, False), ("bf16", "bf16", True, True),
                                ("bf16", "f32", True, True), ("f32", "bf16", False, True)]:
            logits.append((f"logits_{E}_{H}_{x}_{w}_{int(bias)}{int(f32)}", E, H, x, w, bias, f32))
    gates = [(f"gate_{H}_{f}", H, f) for H in (1, 7, 8, 64, 67) for f in ("f32", "bf16")]
    text = "".join(logits_function(*case) for case in logits) + "".join(gate_function(*case) for case in gates)
    module = Module(text, *sys.argv[1:])
    random = np.random.default_rng(11)
    for case in logits:
        check_logits(module, *case, random)
    for case in gates:
        check_gate(module, *case, random)
    print(f"{len(logits) + len(gates)} functions hold")


main()
