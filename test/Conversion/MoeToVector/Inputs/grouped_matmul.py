"""moe.grouped_matmul against numpy: shapes with tails, gather, scatter, bias, weights of rows, activations; bits across threads and rows."""

import math
import sys

import numpy as np
from compiled import Module, from_bf16, to_bf16

ROWS = [0, 1, 2, 3, 5, 6, 7, 13, 26]


class Case:
    """One function; `parts` is None without an activation."""

    def __init__(self, name, K, N, groups=3, kind=None, gated=True, bias=False, gather=0, scatter=False, row_weights=False, bf16=False,
                 out_f32=False, options=""):
        self.__dict__.update(locals())
        self.parts = None if kind is None else 2 if gated else 1
        self.f = "bf16" if bf16 else "f32"

    def mlir(self):
        middle = "" if self.parts is None else f"{self.parts}x"
        w, b = f"memref<{self.groups}x{middle}{self.N}x{self.K}x{self.f}>", f"memref<{self.groups}x{middle}{self.N}x{self.f}>"
        arguments = [("x", f"memref<?x{self.K}x{self.f}>"), ("w", w), ("n", "index"), ("o", f"memref<{self.groups + 1}xi32>")]
        text = f"%x, %w rows(%n) offsets(%o)"
        for present, word, kind in [(self.gather, "gather", "memref<?xi32>"), (self.scatter, "scatter", "memref<?xi32>"),
                                    (self.row_weights, "row_weights", f"memref<?x{self.gather}xf32>"), (self.bias, "bias", b)]:
            if present:
                arguments.append((word, kind))
                text += f" {word}(%{word})"
        if self.kind:
            text += f" activation(<kind = {self.kind}{'' if self.gated else ', gated = false'}{self.options}>)"
        arguments.append(("y", f"memref<?x{self.N}x{self.f}>"))
        text += " outs(%y)"
        if self.gather > 1:
            text += f" {{gather_divisor = {self.gather} : i64}}"
        signature = ", ".join(f"%{name}: {kind}" for name, kind in arguments)
        return f"func.func @{self.name}({signature}) {{\nmoe.grouped_matmul {text} : ({', '.join(k for _, k in arguments)}) -> ()\nreturn\n}}\n"

    def inputs(self, random, counts):
        m = sum(counts)
        tokens = m if not self.gather else max(1, m // max(1, self.gather)) + 2
        shape = (self.groups, self.N, self.K) if self.parts is None else (self.groups, self.parts, self.N, self.K)
        pairs = tokens * max(1, self.gather)
        values = {
            "x": random.standard_normal((tokens, self.K)) * 2, "w": random.standard_normal(shape) / math.sqrt(self.K),
            "o": np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            "gather": random.permutation(pairs)[:m].astype(np.int32), "scatter": random.permutation(m).astype(np.int32),
            "row_weights": random.random((tokens, max(1, self.gather))), "bias": random.standard_normal(shape[:-1]), "n": m,
        }
        for key in ("x", "w", "bias"):
            values[key] = values[key].astype(np.float32)
            if self.bf16:
                values[key] = to_bf16(values[key])
        values["row_weights"] = values["row_weights"].astype(np.float32)
        return values

    def wide(self, array):
        return from_bf16(array) if self.bf16 else array

    def expected(self, v):
        x, w, bias = (self.wide(v[key]).astype(np.float64) for key in ("x", "w", "bias"))
        y = np.zeros((v["n"], self.N))
        for g in range(self.groups):
            for i in range(v["o"][g], v["o"][g + 1]):
                pair = v["gather"][i] if self.gather else i
                a = x[pair // self.gather if self.gather > 1 else pair]
                if self.row_weights:
                    a = a.astype(np.float32) * v["row_weights"].reshape(-1)[pair]
                    a = (from_bf16(to_bf16(a)) if self.bf16 else a).astype(np.float64)
                s = w[g] @ a + (bias[g] if self.bias else 0)
                y[v["scatter"][i] if self.scatter else i] = s if self.parts is None else self.activate(s)
        return y

    def activate(self, s):
        alpha, limit, offset = 1.0, math.inf, 0.0
        if "alpha" in self.options:
            alpha, limit, offset = 1.702, 7.0, 1.0
        gate = np.minimum(s[0], limit)
        erf = np.vectorize(math.erf)
        f = {
            "silu": lambda x: x / (1 + np.exp(-alpha * x)), "relu": lambda x: np.maximum(x, 0),
            "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
            "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        }[self.kind](gate)
        return f * (np.clip(s[1], -limit, limit) + offset) if self.gated else f

    def run(self, module, v, packed, m, rows=None, threads=1):
        guard = 64
        dtype = np.uint16 if self.bf16 else np.float32
        space = np.full(m * self.N + guard, 77, dtype)
        y = space[:m * self.N].reshape(m, self.N)
        bias = packed[1].reshape(-1) if self.bias else None
        order = [v["x"], packed[0], v["n"] if rows is None else rows, v["o"]]
        order += [v[key] for key, on in [("gather", self.gather), ("scatter", self.scatter), ("row_weights", self.row_weights)] if on]
        order += [bias] if self.bias else []
        module.call(self.name, *order, y, threads=threads)
        assert (space[m * self.N:] == 77).all(), f"{self.name}: wrote beyond the result"
        return y

    def check(self, module, random):
        for repeat in range(3):
            counts = [int(random.choice(ROWS)) for _ in range(self.groups)]
            v = self.inputs(random, counts)
            raw = [v["w"]] + ([v["bias"]] if self.bias else [])
            packed = module.pack(self.name, *raw, threads=1)
            for threads in (2, 3):
                for one, other in zip(packed, module.pack(self.name, *raw, threads=threads)):
                    assert one.tobytes() == other.tobytes(), f"{self.name}: packing depends on the number of threads"
            y = self.run(module, v, packed, v["n"])
            for threads in (2, 3, 7):
                again = self.run(module, v, packed, v["n"], threads=threads)
                assert again.tobytes() == y.tobytes(), f"{self.name}: {threads} threads give other bits than 1"
            self.compare(y, self.expected(v), counts)
            self.check_rows_alone(module, v, packed, y)

    def compare(self, y, expected, counts):
        got = self.wide(y).astype(np.float64)
        if not got.size:
            return
        error = np.abs(got - expected).max() / max(1.0, np.abs(expected).max())
        limit = 5e-3 if self.bf16 else 4e-6
        assert error <= limit, f"{self.name}, rows {counts}: relative error {error} is above {limit}"

    def check_rows_alone(self, module, v, packed, y):
        """A group's last row alone has the bits that it has among others."""
        for g in range(self.groups):
            first, end = v["o"][g], v["o"][g + 1]
            if end - first < 2:
                continue
            alone = dict(v)
            alone["o"] = np.array([end - 1] * (g + 1) + [end] * (self.groups - g), np.int32)
            z = self.run(module, alone, packed, v["n"])
            i = v["scatter"][end - 1] if self.scatter else end - 1
            assert z[i].tobytes() == y[i].tobytes(), f"{self.name}: a row's bits depend on the other rows"


def cases(bf16):
    depths, widths = [1, 7, 64, 96], [1, 12, 16, 17, 48, 96]
    for K in depths:
        for N in widths:
            yield Case(f"plain_{K}_{N}", K, N, bf16=bf16)
            yield Case(f"swiglu_{K}_{N}", K, N, kind="silu", bf16=bf16)
    yield Case("blocks_640_17", 640, 17, bf16=bf16)  # blocks of bf16 rows that are widened, the last one cut short
    yield Case("blocks_4112_16", 4112, 16, groups=2, bf16=bf16)
    for N in (768, 1536):  # enough panels for runs of two and four
        yield Case(f"runs_640_{N}", 640, N, groups=2, bf16=bf16)
        yield Case(f"swiglu_runs_16_{N}", 16, N // 2, groups=2, kind="silu", gather=2, bias=True, bf16=bf16)
    # Depths of which a thread keeps 15 widened rows, and 5.
    yield Case("kept_4112_768", 4112, 768, groups=2, gather=1, bf16=bf16)
    yield Case("kept_11264_768", 11264, 768, groups=1, bf16=bf16)
    for N in (12, 48):
        yield Case(f"one_group_{N}", 64, N, groups=1, bf16=bf16)
        yield Case(f"everything_{N}", 65, N, kind="silu", bias=True, gather=2, scatter=True, row_weights=True, bf16=bf16)
        yield Case(f"down_{N}", 48, N, bias=True, scatter=True, bf16=bf16)
        yield Case(f"gathered_{N}", 33, N, gather=1, bf16=bf16)
        yield Case(f"gpt_oss_{N}", 64, N, kind="silu", bias=True, gather=4, options=", alpha = 1.702, limit = 7.0, up_offset = 1.0", bf16=bf16)
        for kind in ("silu", "relu", "gelu", "gelu_tanh"):
            yield Case(f"{kind}_ungated_{N}", 32, N, kind=kind, gated=False, bf16=bf16)
            yield Case(f"{kind}_gated_{N}", 32, N, kind=kind, bf16=bf16)


def main():
    folder, element = sys.argv[1], sys.argv[2]
    all_cases = list(cases(element == "bf16"))
    module = Module("".join(case.mlir() for case in all_cases), folder, *sys.argv[3:])
    random = np.random.default_rng(7)
    for case in all_cases:
        case.check(module, random)
    print(f"{len(all_cases)} products hold")


main()
