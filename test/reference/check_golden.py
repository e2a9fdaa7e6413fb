"""check_golden.py FOLDER: the reference against what transformers computed, for every family in FOLDER and every MoE layer. Exits non-zero
on the first layer that differs."""
import os
import sys

import numpy as np

import rules
import safetensors
from families import Checkpoint

TOLERANCE = 1e-5


def difference(got, expected):
    return np.abs(got - expected).max() / np.abs(expected).max()


def main():
    folder = sys.argv[1]
    checked = 0
    for family in sorted(entry for entry in os.listdir(folder) if os.path.exists(os.path.join(folder, entry, "config.json"))):
        checkpoint = Checkpoint(os.path.join(folder, family))
        golden = safetensors.read(os.path.join(folder, family, "golden.safetensors"))
        for index in checkpoint.moe_layers():
            name = f"layers.{index}."
            y, ids, weights = rules.run(checkpoint.layer(index), golden[name + "input"])
            order, golden_order = np.argsort(ids, axis=1), np.argsort(golden[name + "expert_ids"], axis=1)
            if not np.array_equal(np.take_along_axis(ids, order, 1), np.take_along_axis(golden[name + "expert_ids"], golden_order, 1)):
                sys.exit(f"{family} layer {index}: chooses other experts than transformers")
            errors = [difference(y, golden[name + "output"]),
                      difference(np.take_along_axis(weights, order, 1), np.take_along_axis(golden[name + "expert_weights"], golden_order, 1))]
            if not max(errors) <= TOLERANCE:
                sys.exit(f"{family} layer {index}: output differs by {errors[0]:.1e}, weights by {errors[1]:.1e}, but at most {TOLERANCE} is expected")
            print(f"{family} layer {index}: output within {errors[0]:.1e}, weights within {errors[1]:.1e}")
            checked += 1
    if checked == 0:
        sys.exit(f"{folder}: has no golden checkpoint")


if __name__ == "__main__":
    main()
