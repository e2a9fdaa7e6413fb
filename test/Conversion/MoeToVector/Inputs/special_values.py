"""Activations over the whole range of f32, infinities and NaN, and rounding to bf16, through products by the identity."""

import math
import sys

import numpy as np
from compiled import Module, from_bf16, to_bf16

N = 16


def function(name, kind, f, result=None):
    result = result or f
    activation = f" activation(<kind = {kind}, gated = false>)" if kind else ""
    middle = "1x" if kind else ""
    types = f"memref<?x1x{f}>, memref<1x{middle}{N}x1x{f}>, index, memref<?x{N}x{result}>"
    return f"""func.func @{name}(%x: memref<?x1x{f}>, %w: memref<1x{middle}{N}x1x{f}>, %n: index, %y: memref<?x{N}x{result}>) {{
  moe.grouped_matmul %x, %w rows(%n){activation} outs(%y) : ({types}) -> ()
  return
}}
"""


def run(module, name, x, kind, f, result=None):
    one = np.ones((1, 1, N, 1) if kind else (1, N, 1), np.float32)
    packed = module.pack(name, to_bf16(one) if f == "bf16" else one)
    y = np.zeros((x.shape[0], N), result or x.dtype)
    module.call(name, x, packed[0], x.shape[0], y)
    return y


def ulps(got, expected):
    """Distance in units of the last place of the f32 nearest to `expected`, subnormal ones included."""
    with np.errstate(all="ignore"):
        unit = np.maximum(np.spacing(np.abs(expected.astype(np.float32))).astype(np.float64), 2.0 ** -149)
    return np.abs(got.astype(np.float64) - expected) / unit


REFERENCE = {
    "silu": lambda x: x / (1 + math.exp(-x)) if x > -700 else 0.0,
    "gelu": lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)),
    "gelu_tanh": lambda x: x / (1 + math.exp(min(700.0, -2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))),
    "relu": lambda x: max(x, 0.0),
}
# Largest errors: near 0 and above in ulp, and absolutely in the tail, where the argument of the exponential is rounded.
LIMITS = {"silu": (4, 1e-7), "gelu": (8, 1e-7), "gelu_tanh": (8, 2e-7), "relu": (0, 0)}


def check_activation(module, kind):
    magnitudes = np.concatenate([np.logspace(-30, 2, 3000), np.linspace(0, 20, 5000)])
    x = np.concatenate([magnitudes, -magnitudes]).astype(np.float32).reshape(-1, 1)
    y = run(module, kind, x, kind, "f32")[:, 0]
    expected = np.array([REFERENCE[kind](float(v)) for v in x[:, 0]])
    units, absolute = LIMITS[kind]
    near = x[:, 0] > -1
    worst = ulps(y, expected)[near].max()
    assert worst <= units, f"{kind}: {worst} ulp at {x[near][ulps(y, expected)[near].argmax()]}, more than {units}"
    error = np.abs(y - expected)[~near].max()
    assert error <= absolute, f"{kind}: error {error} below -1, more than {absolute}"
    special = np.array([[np.nan], [np.inf], [3e38], [1e-45], [0.0]], np.float32)
    z = run(module, kind, special, kind, "f32")[:, 0]
    assert np.isnan(z[0]) and z[1] == np.inf and z[2] == np.float32(3e38) and abs(z[3]) <= 1.5e-45 and z[4] == 0, f"{kind}: {z}"


def check_rounding(module, flushes):
    """Every bf16 comes back as itself (NaN as a NaN); where the unit `flushes`, subnormal ones as 0."""
    x = np.arange(1 << 16, dtype=np.uint16).reshape(-1, 1)
    y = run(module, "plain_bf16", x, None, "bf16")[:, 0]
    nan = np.isnan(from_bf16(x[:, 0]))
    zero = (x[:, 0] & 0x7FFF) < (0x0080 if flushes else 1)  # -0 plus the accumulator's +0 is +0
    assert (y[~nan & ~zero] == x[:, 0][~nan & ~zero]).all() and (y[zero] == 0).all(), "bf16 does not come back as itself"
    assert np.isnan(from_bf16(y[nan])).all(), "a NaN in bf16 became a number"
    # f32 of all exponents, ties among them, and what rounds to infinity.
    bits = np.random.default_rng(3).integers(0, 1 << 32, 100000, dtype=np.uint32)
    bits[:30000] &= 0xFFFF8000
    x = np.concatenate([bits, [0x7F7FFFFF, 0x7F7F8000, 0xFF7FFFFF, 0x7F800000, 0x7F800001]]).astype(np.uint32).view(np.float32).reshape(-1, 1)
    y = run(module, "rounded", x, None, "f32", np.uint16)[:, 0]
    nan, zero = np.isnan(x[:, 0]), x[:, 0] == 0
    assert (y == to_bf16(x[:, 0]))[~nan & ~zero].all(), "f32 is not rounded to the nearest bf16, ties to even"
    assert np.isnan(from_bf16(y[nan])).all(), "a NaN became a number by rounding"


def main():
    """special_values.py FOLDER [CPU [MACHINE]]"""
    text = "".join(function(kind, kind, "f32") for kind in REFERENCE) + function("plain_bf16", None, "bf16")
    text += function("rounded", None, "f32", "bf16")
    module = Module(text, *sys.argv[1:])
    for kind in REFERENCE:
        check_activation(module, kind)
    check_rounding(module, flushes=sys.argv[2:] == ["x86-64-v4+avx512bf16"])
    print("special values hold")


main()
