"""What collectives and layers cost on N GPUs, one job at a time."""
import json
import os
import tempfile
import time

import jobs

TOKENS = (128, 4096)  # a rank: decode and prefill


def collectives(options, ranks, seconds):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "collectives.json")
        jobs.run([options.conformance, f"--measure={path}"], ranks, "nccl", seconds)
        with open(path) as file:
            return json.load(file)


BASES = {"H200": "h200-8", "H100": "h100-8", "A100": "a100-8", "B200": "b200-8"}  # built-in machines by a word of the GPU's name


def machine(case, options, gpu, seconds):
    """The machine file of `moe-run calibrate`; `case`: an artifact for all ranks, whose kernels add up."""
    base = next((base for word, base in BASES.items() if word in gpu), None)
    if not base:
        raise jobs.Failed(f"no built-in machine has the GPU {gpu}")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "machine.json")
        jobs.run([options.moe_run, "calibrate", os.path.join(options.folder, str(case.ranks), case.name + ".moe"), "--device=cuda", "--comm=nccl",
                  f"--base={base}", f"--name={base}-measured", "-o", path], case.ranks, "nccl", seconds)
        with open(path) as file:
            return json.load(file)


def layer(case, options):
    """Seconds of the slowest rank, by tokens a rank."""
    tokens = [count * case.ranks for count in options.tokens]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "bench.json")
        device = ["--device=cuda"] if options.comm == "nccl" else []
        jobs.run([options.moe_run, "bench", os.path.join(options.folder, str(case.ranks), case.name + ".moe"), *device, f"--comm={options.comm}",
                  "--tokens", ",".join(map(str, tokens)), "--sets", "2", "--json", path], case.ranks, options.comm, options.limit)
        with open(path) as file:
            found = json.load(file)
    return [{"kind": case.kind, "layer": case.layer, "layout": case.layout, "tokens_per_rank": entry["tokens"] // case.ranks, "how": entry["how"],
             "seconds": entry["seconds"], "least_seconds": entry["least_seconds"]} for entry in found["cases"]]


def layers(cases, options, until):
    results = []
    for case in cases:
        begin = time.monotonic()
        try:
            if begin > until:
                raise jobs.Failed("not run: no time left")
            found = layer(case, options)
        except jobs.Failed as problem:
            found = [{"kind": case.kind, "layer": case.layer, "layout": case.layout, "problem": str(problem)}]
        results += found
        for entry in found:
            print(f"{case.name}: " + (entry.get("problem") or f"{entry['tokens_per_rank']} tokens a rank {entry['seconds'] * 1e6:.1f} us ({entry['how']})"),
                  f"in {time.monotonic() - begin:.0f} s", flush=True)
    return results
