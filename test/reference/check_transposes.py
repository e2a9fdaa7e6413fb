"""Dispatch and combine are each other's transposes: for all x and r, <dispatch x, r> = <x, combine r>.

usage: check_transposes.py FAMILY_FOLDER "WORDS" ["WORDS" ...]; as run_sharded.py. The family has no shared expert.
The program's two products are replaced: the first records the rows that reach the experts, the second gives back r.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

import ragged_ops
import safetensors
from ranks import Ranks, Weights
from run_sharded import shard


class Transposes(Ranks):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.random = np.random.default_rng(0)
        self.product = 0.0  # <dispatch x, r>, over all ranks

    def moe_grouped_matmul(self, op, rank, operands):
        lhs, rhs, rows, offsets, gather, scatter, *_ = operands[rank]
        if "activation" in op.attributes:
            divisor = int(op.attributes.get("gather_divisor", "1").split()[0])
            self.dispatched = getattr(self, "dispatched", {}) | {rank: lhs[gather[:rows] // divisor]}
            return np.zeros((rows, rhs.shape[-2]))
        r = self.random.standard_normal((rows, rhs.shape[-2]))
        self.product += (self.dispatched[rank] * r).sum()
        out = np.empty_like(r)
        out[slice(None) if scatter is None else scatter] = r
        return out

    def moe_combine(self, op, rank, operands):
        rows, positions, *_ = operands[rank]
        return ragged_ops.combine(op, rows, positions)


def main():
    folder = Path(sys.argv[1])
    weights, golden = Weights(safetensors.read(folder / "model.safetensors")), safetensors.read(folder / "golden.safetensors")
    program = subprocess.run(["moe-import", str(folder), "--layer=0", "--no-router"], capture_output=True, text=True, check=True).stdout
    inputs = {"x": golden["layers.0.input"].astype(float), "expert_ids": golden["layers.0.expert_ids"],
              "expert_weights": golden["layers.0.expert_weights"].astype(float)}
    for words in sys.argv[2:]:
        ranks = Transposes(shard(program, words)["layer0"], weights, inputs)
        combined = (inputs["x"] * ranks.run()["y"]).sum()
        assert np.isclose(combined, ranks.product, rtol=1e-10), f"{words}: <x, combine r> is {combined}, <dispatch x, r> is {ranks.product}"
        print(f"{words}: transposes")


if __name__ == "__main__":
    main()
