"""Whole layers from (x, expert ids, weights) to the combined output, of generated kernels in a CUDA graph.

    python3 benchmarks/gpu/bench_layers.py DIR --json results.json

sort, matmul with gather and SwiGLU (or a permutation first), matmul, combine.  The graph holds several input sets, so
that consecutive calls route to different experts; every output is checked against float32 on 64 tokens.
"""
import argparse
import json
import os
import sys

import torch

from device import Kernel, event_times, sort_ctas
from problems import interleave

LAYERS = {"mixtral": (8, 4096, 14336, 2), "qwen3": (128, 2048, 768, 8)}
TOKENS = [1, 16, 64, 256, 4096, 16384]
INT = {"device": "cuda", "dtype": torch.int32}
BF16 = {"device": "cuda", "dtype": torch.bfloat16}


class Layer:
    def __init__(self, name, folder):
        self.experts, self.hidden, self.inner, self.k = LAYERS[name]
        torch.manual_seed(1)
        def weights(rows, columns):
            return torch.randn(self.experts, rows, columns, **BF16) * columns ** -0.5
        self.gate, self.up = weights(self.inner, self.hidden), weights(self.inner, self.hidden)
        self.down = weights(self.hidden, self.inner)
        self.packed = interleave(self.gate, self.up).view(-1, self.hidden)
        self.gate_up = torch.cat([self.gate, self.up], 1)
        self.load = lambda step: Kernel(os.path.join(folder, f"{name}-{step}"))

    def inputs(self, tokens, seed):
        torch.manual_seed(seed)
        x = torch.randn(tokens, self.hidden, **BF16)
        weights, ids = torch.softmax(torch.randn(tokens, self.experts, device="cuda"), -1).topk(self.k)
        return x, ids.to(torch.int32), weights / weights.sum(-1, keepdim=True)

    def reference(self, x, ids, weights, rows):
        out = torch.zeros(len(rows), self.hidden, device="cuda")
        for i, t in enumerate(rows.tolist()):
            for e, w in zip(ids[t].tolist(), weights[t].tolist()):
                v = x[t].float()
                h = torch.nn.functional.silu(self.gate[e].float() @ v) * (self.up[e].float() @ v)
                out[i] += w * (self.down[e].float() @ h)
        return out

    def launches(self, tag, permute, x, ids, weights):
        """Our kernels on one input set, and their output."""
        tokens = len(x)
        pairs = tokens * self.k
        new = lambda *shape, **kind: torch.zeros(*shape, device="cuda", **kind)
        order, source, positions = (new(pairs, dtype=torch.int32) for _ in range(3))
        offsets, status = new(self.experts + 1, dtype=torch.int32), new(1, dtype=torch.int32)
        h, y2 = new(pairs, self.inner, dtype=torch.bfloat16), new(pairs, self.hidden, dtype=torch.bfloat16)
        out = torch.full((tokens, self.hidden), float("nan"), **BF16)
        blocks = sort_ctas(pairs)
        counts = new(blocks, self.experts, dtype=torch.int32)
        sort = dict(ids=ids, order=order, tokens=source, positions=positions, offsets=offsets, status=status,
                    counts=counts, pairs=pairs)
        steps = ["sort"] if blocks == 1 else ["count", "place"]
        result = [self.load(step).bind(grid=blocks, **sort) for step in steps]
        if permute:
            rows = new(pairs, self.hidden, dtype=torch.bfloat16)
            result.append(self.load("permute").bind(rows=x, positions=source, y=rows))
            result.append(self.load("upc" + tag).bind(x=rows, w=self.packed, y=h, offsets=offsets))
        else:
            result.append(self.load("up" + tag).bind(x=x, index=source, w=self.packed, y=h, offsets=offsets))
        result.append(self.load("down" + tag).bind(x=h, w=self.down.view(-1, self.inner), y=y2, offsets=offsets))
        result.append(self.load("combine").bind(rows=y2, positions=positions, weights=weights, y=out))
        return result, out

    def torch_layer(self, x, ids, weights):
        flat = ids.flatten().long()
        order = torch.argsort(flat, stable=True)
        ends = torch.zeros(self.experts, **INT).scatter_add_(0, flat, torch.ones_like(flat, dtype=torch.int32))
        ends = ends.cumsum(0).to(torch.int32)
        h = torch._grouped_mm(x[order // self.k], self.gate_up.transpose(1, 2), offs=ends)
        h = torch.nn.functional.silu(h[:, :self.inner]) * h[:, self.inner:]
        y = torch._grouped_mm(h, self.down.transpose(1, 2), offs=ends)
        y = y.float() * weights.flatten()[order][:, None]
        out = torch.zeros(len(x), self.hidden, device="cuda")
        return out.index_add_(0, order // self.k, y).bfloat16()


def graph_of(runs):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for run in runs:
            run()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for run in runs:
                run()
    torch.cuda.synchronize()
    times = sorted(event_times(graph.replay, 15))
    return times[len(times) // 2] * 1e3 / len(runs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--json", required=True)
    options = parser.parse_args()
    results, bad = [], 0
    for name in LAYERS:
        layer = Layer(name, options.folder)
        for tokens in TOKENS:
            sets = [layer.inputs(tokens, seed) for seed in range(8 if tokens <= 256 else 2)]
            tags = ["few", "many"] if tokens <= 256 else ["many"]
            line = {"layer": name, "tokens": tokens}
            for tag in tags:
                for permute in (False, True):
                    bound = [layer.launches(tag, permute, *inputs) for inputs in sets]
                    def run_set(launches):
                        for launch in launches:
                            launch()
                    time = graph_of([lambda l=launches: run_set(l) for launches, _ in bound])
                    rows = torch.randint(0, tokens, (min(tokens, 64),), device="cuda")
                    want = layer.reference(*sets[0], rows)
                    error = ((bound[0][1][rows].float() - want).norm() / want.norm()).item()
                    bad += not error < 1e-2
                    key = tag + ("_permuted" if permute else "")
                    line[key] = {"us": time, "error": error}
            try:
                line["torch_grouped_mm"] = {"us": graph_of([lambda s=s: layer.torch_layer(*s) for s in sets])}
            except RuntimeError as problem:
                print("torch layer not captured:", str(problem)[:100])
            results.append(line)
            print(f"{name:8s} tokens {tokens:6d} " + "  ".join(
                f"{key} {value['us']:.1f}" + (f" ({value['error']:.1e})" if "error" in value else "")
                for key, value in line.items() if isinstance(value, dict)), flush=True)
        del layer
        torch.cuda.empty_cache()
    with open(options.json, "w") as file:
        json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "results": results}, file,
                  indent=1)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
