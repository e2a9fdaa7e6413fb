"""Checks generated kernels on the GPU against float32: every variant of check.txt on ragged sizes.

    python3 benchmarks/gpu/check_kernels.py DIR [--only PREFIX] [--quick]

Outputs are poisoned with NaN and stand between guard rows; results must agree with float32 (relative
error below 4e-3, bf16 rounding is 1.7e-3), be equal to the bit over repeats and numbers of CTAs, and
a kernel whose warp roles sleep at random must equal the one without.
"""
import argparse
import json
import os
import sys

import torch

from device import SMS, Kernel
from problems import Problem

SIZES = {
    "tails": [0, 1, 63, 64, 65, 127, 128, 129, 1000],
    "tails_reversed": [1000, 129, 128, 127, 65, 64, 63, 1, 0],
    "one_expert_has_all": [0, 0, 0, 0, 1577, 0, 0, 0, 0],
    "one_row": [0, 0, 0, 0, 0, 0, 0, 0, 1],
    "sides": [8, 24, 40, 72, 100, 137, 178, 193, 257],
    "few": [3, 0, 17, 8, 9, 31, 33, 1, 2],
}
LIMIT, GUARD, MARK = 4e-3, 320, -7.25


def run(kernel, problem, settings, grid):
    """The output as int16 (bits), or a word about what is wrong with it."""
    rows, columns = sum(problem.sizes), problem.columns(settings)
    memory = torch.full((rows + 2 * GUARD, columns), MARK, device="cuda", dtype=torch.bfloat16)
    y = memory[GUARD:GUARD + rows]
    y.fill_(float("nan"))
    arguments = problem.arguments(settings, y)
    launch = kernel.bind(grid=grid, **arguments)
    launch()
    if "state" in arguments:  # which the first launch leaves to the second
        y.fill_(float("nan"))
        launch()
    torch.cuda.synchronize()
    if "state" in arguments and arguments["state"].any():
        return y, "did not set its state back"
    if not ((memory[:GUARD] == MARK).all() and (memory[GUARD + rows:] == MARK).all()):
        return y, "wrote outside of the output"
    if torch.isnan(y).any():
        return y, "left rows unwritten"
    if settings.get("scatter") == "1":  # in the order of the experts again
        y = y[problem.places[:rows].long()]
    return y, None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--only", default="", help="names that begin with one of these, separated by commas")
    parser.add_argument("--quick", action="store_true", help="one size list, one launch each")
    parser.add_argument("--json")
    options = parser.parse_args()
    with open(os.path.join(options.folder, "check.json")) as file:
        variants = json.load(file)
    bad, results, kept = 0, {}, {}
    for name, settings in variants.items():
        if not name.startswith(tuple(options.only.split(","))):
            continue
        kernel = Kernel(os.path.join(options.folder, name))
        worst, problems = 0.0, []
        for label, sizes in SIZES.items():
            if options.quick and label != "tails":
                continue
            problem = Problem(sizes, int(settings["n"]), int(settings["k"]))
            y, wrong = run(kernel, problem, settings, SMS)
            error = problem.error(settings, y)
            worst = max(worst, error) if error == error else error
            if wrong or not error < LIMIT:
                problems.append(f"{label}: {wrong or ''} error {error:.2e}")
            if options.quick:
                continue
            for grid in (SMS, 3, 1):
                again, wrong = run(kernel, problem, settings, grid)
                if wrong or not torch.equal(again.view(torch.int16), y.view(torch.int16)):
                    problems.append(f"{label}: grid {grid} differs {wrong or ''}")
            key = (label, tuple(sorted((k, v) for k, v in settings.items() if k != "jitter")))
            bits = y.view(torch.int16).clone()
            if key in kept and not torch.equal(kept[key], bits):
                problems.append(f"{label}: differs with and without jitter")
            kept[key] = bits
        results[name] = {"error": worst, "problems": problems}
        bad += bool(problems)
        print(f"{'BAD' if problems else 'ok '} {name:20s} {worst:.2e} {'; '.join(problems)[:400]}",
              flush=True)
    print(f"{len(results)} variants, {bad} bad, on {torch.cuda.get_device_name()}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)
    return 1 if bad or not results else 0


if __name__ == "__main__":
    sys.exit(main())
