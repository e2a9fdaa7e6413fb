"""Times compiled artifacts of the same layers by turns, so that differences of 1 % show; checks each against float32.

    python3 benchmarks/gpu/artifacts.py --out DIR/base --moe-opt OLD/moe-opt [--fp8]      # anywhere; likewise DIR/NAME for each other variant
    python3 benchmarks/gpu/turns.py DIR --harness HARNESS --library libmoert.so --tokens 1,8,16 --json turns.json [--routings balanced,zipf] [--fp8]

HARNESS is the folder of the peer benchmark (moebench.py). Each variant runs in a CUDA graph over eight inputs; five rounds, every second one backwards, medians. `limit` is 1.06 x the time of its bytes at 4.64 TB/s + 8 us.
"""
import argparse
import json
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [HERE, os.path.join(HERE, "..", "..", "examples")]
from torch_layer import CompiledLayer, no_device  # noqa: E402

BASE, SETS, ROUNDS, MOST_TOKENS = "base", 8, 5, 32768


def open_layer(options, path, layer):
    """A session with the layer's weights."""
    compiled = CompiledLayer(options.library, path, MOST_TOKENS)
    up, down = layer.w1.view(layer.E, 2, layer.I, layer.H), layer.w2
    if not options.fp8:
        compiled.set_weights(up=up, down=down)
        return compiled
    from problems_fp8 import quantize_weights
    up, up_scale = quantize_weights(up)
    down, down_scale = quantize_weights(down.view(layer.E, 1, layer.H, layer.I))
    compiled.set_weights(up=up, up_scale=up_scale, down=down.squeeze(1), down_scale=down_scale.squeeze(1))
    return compiled


def time_case(bench, variants, layer, tokens, routing, fp8):
    """Microseconds of each variant, and what is wrong."""
    import torch
    inputs = [bench.Inputs(layer, tokens, routing, 1000 * tokens + i) for i in range(SETS)]
    runs, outs, times, problems = {}, {}, {name: [] for name in variants}, []
    for name, compiled in variants.items():
        outs[name] = [torch.full((i.R, layer.H), float("nan"), device="cuda", dtype=torch.bfloat16) for i in inputs]
        runs[name] = [compiled.bind({"x": i.x, "expert_ids": i.ids, "expert_weights": i.w}, {"y": out}) for i, out in zip(inputs, outs[name])]
        runs[name][0]()
        compiled.wait()  # complaints come here; later calls are captured
    for turn in range(ROUNDS):
        for name in list(variants)[::-1 if turn % 2 else 1]:
            seconds, how = bench.timed(runs[name], budget_ms=30, warm_ms=8)
            times[name].append(seconds * 1e6)
            if how != "graph":
                problems.append(f"{name}: {how}")
    want = bench.reference(layer, inputs[-1], torch.arange(inputs[-1].R, device="cuda"))
    for name in variants:
        error = bench.rel_err(outs[name][-1], want)
        if not error < (8e-2 if fp8 else 1e-2):
            problems.append(f"{name}: error {error:.1e}")
    floor = bench.roofline(layer, inputs, tflops=1e9, gbps=4640, wbytes=1 if fp8 else 2)["t_bytes"] * 1e6
    return {"layer": layer.name, "tokens": tokens, "routing": routing, "limit_us": 1.06 * floor + 8, "us": times,
            "medians": {name: statistics.median(each) for name, each in times.items()}}, problems


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--harness", required=True)
    parser.add_argument("--library", default="libmoert.so")
    parser.add_argument("--tokens", default="1,4,8,12,16")
    parser.add_argument("--routings", default="balanced")
    parser.add_argument("--fp8", action="store_true")
    parser.add_argument("--json", required=True)
    options = parser.parse_args()
    if why := no_device():
        print(f"turns: skipped, {why}")
        return 0
    sys.path.insert(0, options.harness)
    import moebench as bench
    names = [BASE] + sorted(set(os.listdir(options.folder)) - {BASE})
    paths = {name: {file[:-4]: os.path.join(options.folder, name, file) for file in os.listdir(os.path.join(options.folder, name))
                    if file.endswith(".moe")} for name in names}
    results, wrong = [], 0
    for layer_name in bench.LAYERS:
        layer = None
        here = [name for name in names if layer_name in paths[name]]
        if BASE not in here:
            continue
        layer = bench.Layer(layer_name)
        variants = {name: open_layer(options, paths[name][layer_name], layer) for name in here}
        for routing in options.routings.split(","):
            for tokens in map(int, options.tokens.split(",")):
                line, problems = time_case(bench, variants, layer, tokens, routing, options.fp8)
                results.append(line)
                wrong += len(problems)
                base = line["medians"][BASE]
                print(f"{layer_name:16s} {tokens:5d} {routing:8s} limit {line['limit_us']:7.1f}  "
                      + "  ".join(f"{name} {us:7.2f} ({us / base:.3f})" for name, us in line["medians"].items()), flush=True)
                for problem in problems:
                    print("PROBLEM", problem)
        for compiled in variants.values():
            compiled.close()
    with open(options.json, "w") as file:
        json.dump(results, file, indent=1)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
