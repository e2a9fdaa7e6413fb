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
sys.path.insert(0, HERE)
from run_layers import MOST_ERROR, no_device  # noqa: E402

BASE, SETS, ROUNDS = "base", 8, 5


def variants_of(folder, kind):
    """The adapters of a folder's folders, the base first."""
    class Variant(kind):
        def __init__(self, variant):
            self.variant = variant

        def path(self, layer):
            return os.path.join(folder, self.variant, layer.name + ".moe")

    return [Variant(name) for name in [BASE] + sorted(set(os.listdir(folder)) - {BASE})]


def time_case(bench, variants, layer, tokens, routing, fp8):
    """Microseconds of each variant, and what is wrong."""
    inputs = [bench.Inputs(layer, tokens, routing, 1000 * tokens + i) for i in range(SETS)]
    cases = {variant.variant: variant.case(layer, inputs) for variant in variants}
    times, problems = {name: [] for name in cases}, []
    for turn in range(ROUNDS):
        for name in list(cases)[::-1 if turn % 2 else 1]:
            seconds, how = bench.timed(cases[name].fns_layer, budget_ms=30, warm_ms=8)
            times[name].append(seconds * 1e6)
            if how != "graph":
                problems.append(f"{name}: {how}")
    want = bench.reference(layer, inputs[-1], list(range(inputs[-1].R)))
    for name, case in cases.items():
        error = bench.rel_err(case.out(SETS - 1), want)
        if not error < MOST_ERROR[variants[0].name]:
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
    os.environ["MOERT_LIBRARY"] = os.path.abspath(options.library)
    import adapter
    import moebench as bench
    variants = variants_of(options.folder, adapter.ArtifactsFp8 if options.fp8 else adapter.Artifacts)
    results, wrong = [], 0
    for layer_name in bench.LAYERS:
        named = argparse.Namespace(name=layer_name)
        here = [variant for variant in variants if os.path.exists(variant.path(named))]
        if len(here) < 2 or here[0].variant != BASE:
            continue
        layer = bench.Layer(layer_name)
        for variant in here:
            variant.setup(layer)
        for routing in options.routings.split(","):
            for tokens in map(int, options.tokens.split(",")):
                line, problems = time_case(bench, here, layer, tokens, routing, options.fp8)
                results.append(line)
                wrong += len(problems)
                base = line["medians"][BASE]
                print(f"{layer_name:16s} {tokens:5d} {routing:8s} limit {line['limit_us']:7.1f}  "
                      + "  ".join(f"{name} {us:7.2f} ({us / base:.3f})" for name, us in line["medians"].items()), flush=True)
                for problem in problems:
                    print("PROBLEM", problem)
        for variant in here:
            variant.teardown()
    if not results:
        sys.exit(f"turns: {options.folder} has no layer both in {BASE}/ and in another folder, expected LAYER.moe as artifacts.py writes them")
    with open(options.json, "w") as file:
        json.dump(results, file, indent=1)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
