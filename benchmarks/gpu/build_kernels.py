"""Generates the kernels of a plan: PLAN.txt lines are "name key=value ..."; writes OUT/name.cubin,
OUT/name.json (its interface) and OUT/PLAN.json (its settings).  Needs no GPU.

    python3 benchmarks/gpu/build_kernels.py --tool build/release/bin/moe-test-kernels --out DIR PLAN.txt
"""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("plans", nargs="+")
    parser.add_argument("--tool", default="moe-test-kernels")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)

    def build(name, settings):
        path = os.path.join(options.out, name)
        kernel, *rest = settings
        for what, ending in (("cubin", ".cubin"), ("interface", ".json")):
            subprocess.run([options.tool, kernel, *rest, "emit=" + what, "out=" + path + ending],
                           check=True)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for plan in options.plans:
            kernels, jobs = {}, []
            with open(plan) as file:
                for line in file:
                    words = line.split("#")[0].split()
                    if not words:
                        continue
                    name, settings = words[0], words[1:]
                    assert name not in kernels, name
                    kernels[name] = dict(word.split("=") for word in settings[1:])
                    jobs.append(pool.submit(build, name, settings))
            for job in jobs:
                job.result()
            stem = os.path.splitext(os.path.basename(plan))[0]
            with open(os.path.join(options.out, stem + ".json"), "w") as file:
                json.dump(kernels, file, indent=1)
            print(f"{plan}: {len(kernels)} kernels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
