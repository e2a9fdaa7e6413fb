"""Checks kernels of e4m3 with block scales on the GPU: every variant of fp8.txt on ragged sizes, each in a process of its own.

    python3 benchmarks/gpu/check_fp8.py DIR [--only PREFIX] [--jobs PROCESSES]

Against float32 of the numbers that codes and scales stand for: bf16 results below LIMIT, quantised ones with scales of the
largest magnitude and within rounding to three bits.  Outputs are poisoned and stand between guard rows; results must be equal
to the bit over repeats and numbers of CTAs.
"""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys

SIZES = {
    "tails": [0, 1, 63, 64, 65, 127, 128, 129, 500],
    "one_expert_has_all": [0, 0, 0, 0, 777, 0, 0, 0, 0],
    "few": [3, 0, 17, 8, 9, 31, 33, 1, 2],
}
LIMIT, QUANTIZED_LIMIT, GUARD, MARK, SECONDS = 6e-3, 4e-2, 320, 77, 120


def check_matmul(kernel, settings):
    import torch
    from device import SMS
    from problems_fp8 import E4M3, ScaledProblem, dequantize_rows

    quantized = settings.get("quantize") == "1"
    paired = settings.get("epilogue", "none") != "none"
    worst, problems = 0.0, []
    for label, sizes in SIZES.items():
        problem = ScaledProblem(sizes, int(settings["n"]), int(settings["k"]), paired)
        rows, columns = sum(sizes), problem.columns()
        element = torch.int8 if quantized else torch.bfloat16
        kept = None
        for grid in (SMS, SMS, 3, 1):
            memory = torch.full((rows + 2 * GUARD, columns), MARK, device="cuda", dtype=element)
            y = memory[GUARD:GUARD + rows]
            y.fill_(127 if quantized else float("nan"))  # e4m3's NaN
            scales = torch.full((-(-columns // 128), problem.scale_rows), float("nan"), device="cuda")
            codes = y.view(E4M3) if quantized else y
            kernel.bind(grid=grid, **problem.arguments(settings, codes, scales))()
            torch.cuda.synchronize()
            if not ((memory[:GUARD] == MARK).all() and (memory[GUARD + rows:] == MARK).all()):
                problems.append(f"{label}: wrote outside of the output")
            if quantized and not scales[:, rows:].isnan().all():
                problems.append(f"{label}: wrote scales outside of the rows")
            bits = memory.view(torch.int8).clone(), scales.clone()
            if kept is None:
                kept = bits
                value = dequantize_rows(codes, scales[:, :rows]) if quantized else problem.in_order(settings, y)
                error = problem.error(value)
                worst = max(worst, error) if error == error else error
                if not error < (QUANTIZED_LIMIT if quantized else LIMIT):
                    problems.append(f"{label}: error {error:.2e}")
                if quantized and not full_range(codes):
                    problems.append(f"{label}: scales are not those of the largest magnitude")
            elif not (torch.equal(kept[0], bits[0]) and torch.equal(kept[1].view(torch.int32), bits[1].view(torch.int32))):
                problems.append(f"{label}: grid {grid} differs")
    return worst, problems


def full_range(codes):
    """Whether the largest magnitude of every block of 128 columns is 448 (or all are zero)."""
    import torch
    rows, columns = codes.shape
    wide = torch.nn.functional.pad(codes.float().abs(), (0, -columns % 128)).view(rows, -1, 128).amax(2)
    return bool(((wide == 448) | (wide == 0)).all())


def check_rows(kernel, settings):
    import torch
    from problems_fp8 import E4M3, dequantize_rows, quantize_rows

    columns, divisor, indexed = int(settings["columns"]), int(settings.get("divisor", 1)), settings.get("indexed", "1") == "1"
    worst, problems = 0.0, []
    for rows in (1, 37, 1000):
        torch.manual_seed(rows)
        x = torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16)
        x[0, :128] = 0
        index = torch.randint(0, rows * divisor, (rows,), device="cuda", dtype=torch.int32)
        source = x[index.long() // divisor] if indexed else x
        y = torch.full((rows + 1, columns), 127, device="cuda", dtype=torch.int8)
        scales = torch.full((-(-columns // 128), rows + 3), float("nan"), device="cuda")
        kernel.bind(x=x, index=index, y=y, y_scale=scales, scale_rows=rows + 3, rows=rows)()
        torch.cuda.synchronize()
        codes, want = quantize_rows(source)
        have = dequantize_rows(y[:rows].view(E4M3), scales[:, :rows])
        error = ((have - source.float()).norm() / source.float().norm()).item()
        worst = max(worst, error) if error == error else error
        if not error < QUANTIZED_LIMIT or not torch.allclose(scales[:, :rows], want, rtol=1e-6):
            problems.append(f"{rows} rows: error {error:.2e}")
        if (y[rows] != 127).any() or not scales[:, rows:].isnan().all():
            problems.append(f"{rows} rows: wrote outside")
        # A product rounded before it is rounded to e4m3 may be one code away from the quotient.
        if not ((y[:rows].int() - codes.view(torch.int8).int()).abs() <= 1).all():
            problems.append(f"{rows} rows: codes are not the nearest")
    return worst, problems


def check_one(path, settings):
    from device import Kernel
    kernel = Kernel(path)
    worst, problems = (check_rows if "columns" in settings else check_matmul)(kernel, settings)
    print(json.dumps({"error": worst, "problems": problems}))


def check_apart(options, name):
    """The result of a kernel in a process of its own, which a kernel that never ends or faults takes with it."""
    command = [sys.executable, __file__, options.folder, "--plan", options.plan, "--one", name]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"problems": [f"no end after {SECONDS} seconds"]}
    return json.loads(run.stdout.splitlines()[-1]) if run.returncode == 0 else {"problems": [run.stderr[-300:]]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time; most of each is torch's start")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--plan", default="fp8")
    parser.add_argument("--json")
    options = parser.parse_args()
    with open(os.path.join(options.folder, options.plan + ".json")) as file:
        variants = json.load(file)
    if options.one:
        return check_one(os.path.join(options.folder, options.one), variants[options.one])
    bad, results = 0, {}
    names = [name for name in variants if name.startswith(options.only)]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for name, result in zip(names, pool.map(lambda name: check_apart(options, name), names)):
            results[name] = result
            bad += bool(result["problems"])
            error = result.get("error", float("nan"))
            print(f"{'BAD' if result['problems'] else 'ok '} {name:20s} {error:.2e} {'; '.join(result['problems'])[:400]}", flush=True)
    print(f"{len(results)} variants, {bad} bad")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)
    return 1 if bad or not results else 0


if __name__ == "__main__":
    sys.exit(main())
