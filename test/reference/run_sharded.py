"""Checks sharded programs against a golden checkpoint: every layer, on all ranks, in NumPy.

usage: run_sharded.py FAMILY_FOLDER "WORDS" ["WORDS" ...]; each WORDS is a --place. moe-import and moe-opt come from PATH.
Prints one line per layout; exits non-zero at the first result that differs from transformers by more than 1e-5.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

import safetensors
from mlir_text import parse
from ranks import Ranks, Weights


def shard(program, words):
    passes = [f'--moe-place-experts=place="{words}"', "--moe-verify-placed", "--moe-shard-layer", "--moe-verify-sharded"]
    generic = ["--mlir-print-op-generic", "--mlir-print-local-scope"]
    done = subprocess.run(["moe-opt", "-", *passes, *generic], input=program, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return parse(done.stdout)


def check(function, weights, golden, tokens):
    prefix = "layers." + function.name.removeprefix("layer")
    ids = golden[f"{prefix}.expert_ids"][:tokens]
    ranks = Ranks(function, weights, {"x": golden[f"{prefix}.input"][:tokens].astype(float), "expert_ids": ids,
                                      "expert_weights": golden[f"{prefix}.expert_weights"][:tokens].astype(float)})
    got = ranks.run()
    expected = golden[f"{prefix}.output"][:tokens]
    assert got["y"].shape == expected.shape, f"{got['y'].shape} rows, but {expected.shape} are expected"
    error = np.abs(got["y"] - expected).max(initial=0)
    assert error <= 1e-5 * np.abs(expected).max(initial=0), f"{function.name} with {tokens} tokens differs by {error}"
    if "expert_ids" in got:
        assert (np.sort(got["expert_ids"]) == np.sort(ids)).all(), f"{function.name} chooses other experts"
    return error, ranks.moved


def main():
    folder = Path(sys.argv[1])
    weights, golden = Weights(safetensors.read(folder / "model.safetensors")), safetensors.read(folder / "golden.safetensors")
    for options in ([], ["--no-router"]):
        program = subprocess.run(["moe-import", str(folder), *options], capture_output=True, text=True, check=True).stdout
        for words in sys.argv[2:]:
            worst, moved = 0.0, 0
            for function in shard(program, words).values():
                for tokens in (0, 1, 13, 80):
                    error, moved = check(function, weights, golden, tokens)
                    worst = max(worst, error)
            print(f"{folder.name} {words}{' (no router)' if options else ''}: error {worst:.1e}, {moved} elements moved per layer")


if __name__ == "__main__":
    main()
