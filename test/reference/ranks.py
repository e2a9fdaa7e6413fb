"""Runs one rank's program on every rank of its grid at once, and checks what the ranks owe each other at each collective."""

import re

import numpy as np

import ragged_ops
from mlir_text import fields, inside, ints, split, strings


class Grid:
    def __init__(self, shape):
        self.shape = shape
        self.ranks = int(np.prod(shape))

    def size(self, axes):
        return int(np.prod([self.shape[axis] for axis in axes], initial=1))

    def index(self, rank, axes):
        """The rank's number over `axes`, first axis slowest."""
        coordinates, number = np.unravel_index(rank, self.shape), 0
        for axis in axes:
            number = number * self.shape[axis] + int(coordinates[axis])
        return number

    def group(self, rank, axes):
        others = [axis for axis in range(len(self.shape)) if axis not in axes]
        same = [r for r in range(self.ranks) if self.index(r, others) == self.index(rank, others)]
        return sorted(same, key=lambda r: self.index(r, axes))


def share(total, parts, number):
    """First and last row of a share: the first `total mod parts` shares are one row longer."""
    start = total // parts * number + min(number, total % parts)
    return start, start + total // parts + (number < total % parts)


class Weights:
    """Logical weights, read from a checkpoint as `moe.weight` says, and cut as `moe.slice` says."""

    def __init__(self, tensors):
        self.tensors = tensors
        self.logical = {}

    def whole(self, source, shape):
        key = (source, tuple(shape))
        if key not in self.logical:
            alternatives = split(inside(source)) if source.startswith("[") else [source]
            found = [fields(inside(a)) for a in alternatives if self.has(fields(inside(a)))]
            if not found:
                raise KeyError(f"the checkpoint has none of {source}")
            self.logical[key] = self.read(found[0], shape)
        return self.logical[key]

    def has(self, checkpoint):
        names = [name.replace("{e}", "0") for name in strings(checkpoint["names"])]
        return all(n in self.tensors and list(self.tensors[n].shape) == ints(checkpoint["file_shape"]) for n in names)

    def read(self, checkpoint, shape):
        names, results = strings(checkpoint["names"]), checkpoint["map"].split("-> ")[1].rstrip(">")
        expert_dim, part_dim = int(checkpoint.get("expert_dim", -1)), int(checkpoint.get("part_dim", -1))
        index = np.indices(shape)
        at = [np.broadcast_to(eval(e, {f"d{i}": d for i, d in enumerate(index)}), shape) for e in split(inside(results))]
        out = np.empty(shape)
        for part, name in enumerate(names):
            for expert in range(shape[expert_dim] if expert_dim >= 0 else 1):
                here = np.ones(shape, bool)
                if part_dim >= 0:
                    here &= index[part_dim] == part
                if expert_dim >= 0:
                    here &= index[expert_dim] == expert
                out[here] = self.tensors[name.replace("{e}", str(expert))][tuple(a[here] for a in at)]
        return out

    def part(self, attributes, grid, rank):
        slice_ = fields(inside(attributes["moe.slice"]))
        value = self.whole(attributes["moe.weight"], ints(slice_["shape"]))
        for text in split(inside(slice_["splits"])):
            cut = fields(inside(text))
            dim, axes = int(cut["dim"]), ints(cut["axes"])
            slots = ints(slice_["slots"]) if cut.get("by") == "slots" else range(value.shape[dim])
            first, last = share(len(slots), grid.size(axes), grid.index(rank, axes))
            # An empty slot's weights are never read: NaN would show.
            mine = [np.take(value, i, dim) if i >= 0 else np.full_like(np.take(value, 0, dim), np.nan) for i in slots[first:last]]
            value = np.stack(mine, dim)
        elsewhere = any(grid.index(rank, [axis]) for axis in ints(slice_.get("first_only", "")))
        return np.zeros_like(value) if elsewhere else value


def per_member(counts):
    return counts.reshape(len(counts), -1).sum(axis=1)


class Ranks:
    def __init__(self, function, weights, inputs):
        self.function = function
        self.grid = Grid(function.grid)
        self.tokens = len(next(iter(inputs.values())))
        self.values = [self.enter(rank, weights, inputs) for rank in range(self.grid.ranks)]
        self.moved = 0  # elements that left a rank

    def enter(self, rank, weights, inputs):
        values = {}
        for value, attributes in self.function.arguments:
            if "moe.split" not in attributes:
                values[value] = weights.part(attributes, self.grid, rank)
                continue
            axes = ints(attributes["moe.split"])
            whole = inputs[strings(attributes["moe.name"])[0]]
            first, last = share(len(whole), self.grid.size(axes), self.grid.index(rank, axes))
            values[value] = whole[first:last]
        return values

    def leave(self, op):
        outputs = {}
        for operand, attributes in zip(op.operands, self.function.results):
            parts = [values[operand] for values in self.values]
            axes = ints(attributes["moe.split"])
            shares = {}
            for rank, part in enumerate(parts):
                first = shares.setdefault(self.grid.index(rank, axes), part)
                assert np.array_equal(first, part, equal_nan=True), "a replicated result differs between ranks"
            outputs[strings(attributes["moe.name"])[0]] = np.concatenate([shares[number] for number in sorted(shares)])
        return outputs

    def run(self):
        for op in self.function.body:
            if op.name == "func.return":
                return self.leave(op)
            operands = [[None if o is None else values[o] for o in op.groups()] for values in self.values]
            method = getattr(self, op.name.replace(".", "_"), None)
            results = [method(op, rank, operands) if method else self.local(op, operands[rank]) for rank in range(self.grid.ranks)]
            for values, result in zip(self.values, results):
                values.update(zip(op.results, result if len(op.results) > 1 else [result]))
        raise ValueError("the function does not return")

    def local(self, op, operands):
        dialect, name = op.name.split(".")
        if dialect == "moe":
            return getattr(ragged_ops, name)(op, *operands)
        return {
            "arith.constant": lambda: ints(op.attributes["value"])[0],
            "arith.muli": lambda: operands[0] * operands[1],
            "arith.addf": lambda: operands[0] + operands[1],
            "arith.index_cast": lambda: operands[0],
            "tensor.dim": lambda: operands[0].shape[operands[1]],
            "tensor.from_elements": lambda: np.array(operands),
        }[op.name]()

    # Collectives: what rank `rank` gets from the operands of all ranks.

    def members(self, op, rank):
        axes = ints(op.attributes["axes"])
        return self.grid.group(rank, axes), self.grid.index(rank, axes)

    def count(self, rows, rank, source):
        self.moved += rows.size if rank != source else 0
        return rows

    def coll_index(self, op, rank, operands):
        return self.members(op, rank)[1]

    def coll_share(self, op, rank, operands):
        group, me = self.members(op, rank)
        first, last = share(len(operands[rank][0]), len(group), me)
        return operands[rank][0][first:last]

    def coll_rows(self, op, rank, operands):
        rows = int(operands[rank][0].sum())
        bound = re.search(r"\[s0\] -> \((.*)\)>", op.attributes["bound"])[1]
        most = eval(re.sub(r"s0 ceildiv (\d+)", r"-(-s0 // \1)", bound), {"s0": self.tokens})
        assert rows <= most, f"{rows} rows of {self.tokens} tokens, but at most {bound} are announced"
        return rows

    def coll_all_gather(self, op, rank, operands):
        return np.stack([operands[m][0] for m in self.members(op, rank)[0]])

    def coll_all_to_all(self, op, rank, operands):
        group, me = self.members(op, rank)
        return np.stack([operands[m][0][me] for m in group])

    def coll_all_gather_v(self, op, rank, operands):
        group, _ = self.members(op, rank)
        _, counts, rows = operands[rank]
        assert [len(operands[m][0]) for m in group] == list(per_member(counts)), "counts are not the members' rows"
        assert counts.sum() == rows
        return np.concatenate([self.count(operands[m][0], rank, m) for m in group])

    def coll_reduce_scatter_v(self, op, rank, operands):
        group, me = self.members(op, rank)
        _, counts, rows = operands[rank]
        ends = np.cumsum(per_member(counts))
        assert all(len(operands[m][0]) == ends[-1] for m in group) and per_member(counts)[me] == rows
        return sum(self.count(operands[m][0][ends[me] - rows : ends[me]], rank, m) for m in group)

    def coll_all_to_all_v(self, op, rank, operands):
        group, me = self.members(op, rank)
        received = per_member(operands[rank][2])
        assert received.sum() == operands[rank][3]
        parts = []
        for number, member in enumerate(group):
            rows, sent = operands[member][0], per_member(operands[member][1])
            assert len(rows) == sent.sum() and sent[me] == received[number], "what one sends is not what the other expects"
            end = sent[: me + 1].sum()
            parts.append(self.count(rows[end - sent[me] : end], rank, member))
        return np.concatenate(parts)
