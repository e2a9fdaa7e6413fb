"""Times the kernels of bench.txt against torch._grouped_mm in the same run.

    python3 benchmarks/gpu/bench_kernels.py DIR --json results.json [--only SHAPE]

A kernel is named SHAPE-VARIANT.  Device events, medians, every result checked against float32 on a
poisoned output (first and last 64 rows of every expert).
"""
import argparse
import json
import os
import sys

import torch

from device import Kernel, race
from problems import Problem, multinomial_sizes

# experts, k, n, rows of each case, tokens per row
SHAPES = {
    "mixtral": (8, 4096, 28672, [8192], 2),
    "dsv3": (32, 7168, 4096, [4096, 32768], 8),
    "qwen3": (128, 2048, 1536, [8192, 32768], 8),
    "dsv3down": (32, 2048, 7168, [4096, 32768], 8),
    "qwen3down": (128, 768, 2048, [32768], 8),
    "tp8": (128, 4096, 384, [32768], 8),
    "mixtraldec": (8, 4096, 28672, [32, 512], 2),
    "dsv3dec": (32, 7168, 4096, [64, 256, 1024], 8),
    "qwen3dec": (128, 2048, 1536, [128, 512, 2048], 8),
}
LIMIT = 4e-3


def measure(shape, rows, kernels, folder):
    experts, k, n, _, topk = SHAPES[shape]
    problem = Problem(multinomial_sizes(rows, experts, 1), n, k, tokens=max(rows // topk, 1))
    weights = problem.w.view(experts, n, k).transpose(1, 2)
    ends = problem.offsets[1:]
    contenders = {"torch._grouped_mm": lambda: torch._grouped_mm(problem.x, weights, offs=ends)}
    errors, keep = {}, {}
    for name, settings in kernels.items():
        columns = problem.columns(settings)
        if columns not in keep:
            keep[columns] = torch.empty(rows, columns, device="cuda", dtype=torch.bfloat16)
        y = keep[columns].fill_(float("nan"))
        launch = Kernel(os.path.join(folder, name)).bind(**problem.arguments(settings, y))
        launch()
        torch.cuda.synchronize()
        errors[name] = problem.error(settings, y, limit=64)
        contenders[name] = launch
    times = race(contenders)
    used = sum(size > 0 for size in problem.sizes)
    flop, base = 2.0 * rows * k * n, times["torch._grouped_mm"]
    size = 2.0 * (used * n * k + rows * k + rows * n)
    print(f"--- {shape}: {experts} experts, k {k}, n {n}, {rows} rows "
          f"({min(problem.sizes)}..{max(problem.sizes)} per expert)")
    out = []
    for name, time in times.items():
        burst, sustained, error = time["burst_ms"], time["sustained_ms"], errors.get(name)
        good = error is None or error < LIMIT
        print(f"{name:28s} burst {burst * 1e3:8.1f} us {flop / burst / 1e9:6.0f} TFLOP/s "
              f"{size / burst / 1e9:5.2f} TB/s {base['burst_ms'] / burst:5.2f}x | sustained "
              f"{sustained * 1e3:8.1f} us {base['sustained_ms'] / sustained:5.2f}x"
              + ("" if error is None else f" error {error:.1e}") + ("" if good else "  WRONG"),
              flush=True)
        out.append({"shape": shape, "rows": rows, "experts": experts, "k": k, "n": n, "name": name,
                    "settings": kernels.get(name), "error": error, "flop": flop, "bytes": size,
                    **time})
    return out, all(error < LIMIT for error in errors.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--json", required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    with open(os.path.join(options.folder, "bench.json")) as file:
        plan = json.load(file)
    results, good = [], True
    for shape, (_, _, _, cases, _) in SHAPES.items():
        kernels = {name: s for name, s in plan.items() if name.split("-")[0] == shape}
        if not kernels or not shape.startswith(options.only):
            continue
        for rows in cases:
            part, right = measure(shape, rows, kernels, options.folder)
            results += part
            good &= right
            torch.cuda.empty_cache()
            with open(options.json, "w") as file:
                json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__,
                           "cuda": torch.version.cuda, "results": results}, file, indent=1)
    return 0 if good and results else 1


if __name__ == "__main__":
    sys.exit(main())
