"""draw_dispatch.py "WORDS": draws which rows move between ranks when a small layer runs with these --place words. Eight tokens a to h go to two of
eight experts each; moe-opt shards the layer, and the program is interpreted on all ranks, rows being letters. moe-opt comes from PATH."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "reference"))
import numpy as np  # noqa: E402
import ragged_ops  # noqa: E402
from mlir_text import fields, inside, ints, parse, split, strings  # noqa: E402
from ranks import Ranks  # noqa: E402

IDS = [[0, 1], [2, 7], [5, 4], [0, 6], [6, 7], [3, 2], [1, 0], [4, 7]]
LAYER = """
func.func @layer(%x: tensor<?x1xf32> {moe.name = "x"}, %ids: tensor<?x2xi32> {moe.name = "expert_ids"}, %w: tensor<?x2xf32> {moe.name = "expert_weights"},
    %up: tensor<8x2x8x1xf32> {moe.name = "up"}, %down: tensor<8x1x8xf32> {moe.name = "down"}) -> (tensor<?x1xf32> {moe.name = "y"}) {
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x1xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x2x8x1xf32>, tensor<8x1x8xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}
"""


def shard(words):
    passes = [f'--moe-place-experts=place="{words}"', "--moe-shard-layer", "--canonicalize", "--cse", "--moe-verify-sharded", "--moe-verify-collectives"]
    done = subprocess.run(["moe-opt", "-", *passes, "--mlir-print-op-generic", "--mlir-print-local-scope"], input=LAYER, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    axes = strings(next(line for line in done.stdout.splitlines() if "shard.grid" in line).partition("coll.axes = ")[2].partition("]")[0])
    return parse(done.stdout)["layer"], axes


class NoWeights:
    def part(self, attributes, grid, rank):
        cut = fields(inside(attributes["moe.slice"]))
        shape = ints(cut["shape"])
        for text in split(inside(cut["splits"])):
            one = fields(inside(text))
            shape[int(one["dim"])] //= grid.size(ints(one["axes"]))
        return np.zeros(shape)


class Letters(Ranks):
    """Every row is its token's number, through products and sums: what comes back is drawn as the token it is for, and `.` where it is no one's."""

    def __init__(self, function, axes, inputs):
        super().__init__(function, NoWeights(), inputs)
        self.axes, self.drawn = axes, {}

    def local(self, op, operands):
        if op.name == "moe.grouped_matmul":
            lhs, rhs, rows, offsets, gather, scatter, weights, bias, _ = operands
            rows_in = lhs[:rows] if gather is None else lhs[gather[:rows] // int(op.attributes.get("gather_divisor", "1").split()[0])]
            out = np.full((rows, 1), np.nan)
            out[np.arange(rows) if scatter is None else scatter[:rows]] = rows_in[:, :1]
            return out
        if op.name == "moe.combine":
            rows, positions = operands[:2]
            kept = [[p for p in row if p >= 0] for row in positions]
            return np.array([rows[row[0]] if row else [np.nan] for row in kept]).reshape(-1, 1)
        return super().local(op, operands)

    def draw(self, op, rank, sources):
        self.drawn.setdefault(id(op), (op, {}))[1][rank] = sources

    def coll_all_to_all_v(self, op, rank, operands):
        group, me = self.members(op, rank)
        sources = {}
        for member in group:
            sent = np.cumsum(np.concatenate([[0], operands[member][1].reshape(len(group), -1).sum(axis=1)]))
            sources[member] = operands[member][0][sent[me]:sent[me + 1]]
        self.draw(op, rank, sources)
        return super().coll_all_to_all_v(op, rank, operands)

    def coll_all_gather_v(self, op, rank, operands):
        self.draw(op, rank, {member: operands[member][0] for member in self.members(op, rank)[0]})
        return super().coll_all_gather_v(op, rank, operands)

    def coll_reduce_scatter_v(self, op, rank, operands):
        group, me = self.members(op, rank)
        ends = np.cumsum(operands[rank][1].reshape(len(group), -1).sum(axis=1))
        mine = slice(ends[me] - operands[rank][2], ends[me])
        self.draw(op, rank, {member: operands[member][0][mine] for member in group})
        super().coll_reduce_scatter_v(op, rank, operands)
        return first_of([operands[member][0][mine] for member in group])

    def coll_all_reduce(self, op, rank, operands):
        group = self.members(op, rank)[0]
        self.draw(op, rank, {member: operands[member][0] for member in group})
        return first_of([operands[member][0] for member in group])


def first_of(parts):
    """What any of them knows of a token."""
    result = np.array(parts[0], dtype=float)
    for part in parts[1:]:
        result = np.where(np.isnan(result), part, result)
    return result


def letters(rows):
    return " ".join("." if np.isnan(v) else chr(ord("a") + int(v)) for v in rows[:, 0]) or "-"


def show(op, arrivals, axes, sizes, others):
    name = op.name.removeprefix("coll.")
    over = ", ".join(axes[a] for a in ints(op.attributes["axes"]) if sizes[a] > 1)
    print(f"{name} over {over}" + (f" (and {others} beside it)" if others else ""))
    ranks = range(len(arrivals))
    table = [[""] + [f"to rank {to}" for to in ranks]]
    table += [[f"rank {source}"] + [letters(arrivals[to][source]) if source in arrivals[to] else "" for to in ranks] for source in ranks]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main():
    function, axes = shard(sys.argv[1])
    tokens = np.arange(len(IDS), dtype=float)[:, None]
    run = Letters(function, axes, {"x": tokens, "expert_ids": np.array(IDS), "expert_weights": np.ones((len(IDS), 2))})
    run.run()
    calls = list(run.drawn.values())
    for number, (op, arrivals) in enumerate(calls):
        if "payload" in op.attributes and strings(op.attributes["payload"]) != ["rows"]:
            continue
        beside = [strings(other.attributes["payload"])[0] for other, _ in calls[number + 1:number + 3] if strings(other.attributes.get("payload", '"rows"')) != ["rows"]]
        show(op, arrivals, axes, function.grid, " and ".join(beside))


if __name__ == "__main__":
    main()
