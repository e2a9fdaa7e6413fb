"""Times compiled artifacts of the benchmark's layers against torch._grouped_mm with support kernels, in one run; checks each against float32.

    python3 benchmarks/gpu/run_layers.py --build DIR --moe-opt build/release/bin/moe-opt       # anywhere: writes DIR/*.moe
    python3 benchmarks/gpu/run_layers.py DIR --harness HARNESS --library libmoert.so --json results.json [--routings balanced,zipf] [--layers A,B] [--tokens 1,16]

With --fp8 (in both) weights are e4m3 in blocks of 128 x 128, set against DeepGEMM's fp8 layers.  HARNESS is the folder of the peer benchmark (moebench.py, run_peers.py), which times every contender in CUDA graphs over rotating inputs. The table sets the times
against marks-h200.json. Ends with an error where a result is wrong, and says what is missing where there is no GPU.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "examples"))
from torch_layer import no_device  # noqa: E402

BASE = "grouped_mm+support"
MOST_ERROR = {"moe_mlir": 1e-2, "moe_mlir_fp8": 8e-2}  # relative to the norm


def our_name(options):
    return "moe_mlir_fp8" if options.fp8 else "moe_mlir"


def measure(options):
    with tempfile.TemporaryDirectory() as adapters:
        # The adapter finds its neighbours by its own path.
        with open(os.path.join(adapters, "moe_mlir.py"), "w") as file:
            file.write(f"import sys\nsys.path.insert(0, {HERE!r})\nfrom adapter import PEERS\n")
        environment = {**os.environ, "PEER_ADAPTERS": adapters, "MOE_ARTIFACTS": os.path.abspath(options.folder),
                       "MOERT_LIBRARY": os.path.abspath(options.library)}
        command = [sys.executable, os.path.join(options.harness, "run_peers.py"), "--out", options.json, "--parts", "layers", "--impls",
                   f"{our_name(options)},{BASE}", "--routings", options.routings, "--deadline", str(options.seconds)]
        for flag in ("layers", "tokens"):
            if getattr(options, flag):
                command += ["--" + flag, getattr(options, flag)]
        subprocess.run(command, env=environment, check=True)


def check(path, ours):
    """Wrong or missing results."""
    with open(path) as file:
        run = json.load(file)
    problems = [f"{line.get('layer')} {line.get('T', '')} {line.get('routing', '')} {line.get('impl', '')}: {line.get('err', line.get('where'))}"
                for line in run["errors"]]
    for line in run["layers"]:
        case = f"{line['layer']}, {line['T']} tokens, {line['routing']}"
        if line["impl"] != ours:
            continue
        if not line["err"] < MOST_ERROR[ours]:
            problems.append(f"{case}: error {line['err']:.1e}, at most {MOST_ERROR[ours]:.0e} is expected")
        if line["how"] != "graph":
            problems.append(f"{case}: {line['how']}")
    return problems


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--build", metavar="DIR")
    parser.add_argument("--moe-opt", default="moe-opt")
    parser.add_argument("--harness")
    parser.add_argument("--library", default="libmoert.so")
    parser.add_argument("--json", default="layers.json")
    parser.add_argument("--routings", default="balanced")
    parser.add_argument("--fp8", action="store_true")
    parser.add_argument("--layers")
    parser.add_argument("--tokens")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no case after so many seconds")
    options = parser.parse_args()
    sys.path.insert(0, HERE)
    if options.build:
        import artifacts
        artifacts.build(options.build, options.moe_opt, fp8=options.fp8)
        return 0
    if not options.folder or not options.harness:
        parser.error("the folder of artifacts and --harness are expected, or --build")
    if why := no_device():
        print(f"run_layers: skipped, {why}")
        return 0
    measure(options)
    import make_table
    make_table.print_tables(options.json, our_name(options), "marks-fp8-h200.json" if options.fp8 else "marks-h200.json")
    problems = check(options.json, our_name(options))
    for problem in problems:
        print("PROBLEM", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
