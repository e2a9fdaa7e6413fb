"""Generated kernels as a peer of a layer benchmark: every case runs the fastest of the kernels in KERNELS_DIR.

The benchmark gives layers (name, E, k, H, I, w1 [E, 2 I, H] gate rows first, w2 [E, H, I]) and inputs (x, ids, w, R, n), and
expects classes with name, wanted, setup, case.  KERNELS_DIR is what build_kernels.py makes of plan_table.py's plan.
Choices and the times behind them are appended to the file CHOICES (KERNELS_DIR/choices.json).
"""
import itertools
import json
import os
import statistics

import torch

from device import Kernel, event_times, sort_ctas
from plan_table import DRAWN, GATHERED, TILES
from problems import in_blocks, interleave

INT = {"device": "cuda", "dtype": torch.int32}
BF16 = {"device": "cuda", "dtype": torch.bfloat16}
FOLDER = os.environ["KERNELS_DIR"]


class Case:
    def __init__(self, layer, gemm, out, note):
        self.fns_layer, self.fns_gemm, self.out, self.note, self.graph = layer, gemm, out, note, True


def time_graph(runs, budget_ms=6.0, warm_ms=0.0):
    """Median microseconds of one run, in a graph of all of them, after so many milliseconds of the same."""
    runs[0]()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for run in runs:
            run()
    once = max(event_times(graph.replay, 1)[0], 1e-3)
    for _ in range(int(warm_ms / once)):
        graph.replay()
    times = event_times(graph.replay, int(min(20, max(3, budget_ms / once))))
    return statistics.median(times) * 1e3 / len(runs)


def chain(launches):
    def run():
        for launch in launches:
            launch()
    return run


class Generated:
    """Sort, permutation or gather, two grouped matmuls, combine; or one kernel for few tokens."""
    name = "generated"
    blocked = False
    most_early = 4096  # rows up to which kernels are launched early

    def wanted(self, layer, tokens, routing):
        return True

    def setup(self, layer):
        gate, up = layer.w1[:, :layer.I], layer.w1[:, layer.I:]
        self.packed = interleave(gate, up).reshape(-1, layer.H)
        self.down = layer.w2.reshape(-1, layer.I)
        if self.blocked:
            self.packed, self.down = in_blocks(self.packed), in_blocks(self.down)
        self.kernels = {}

    def teardown(self):
        del self.packed, self.down, self.kernels

    def load(self, layer, step):
        """The kernel, or None where the plan has none."""
        weights = step.startswith(("up", "down", "few"))
        path = os.path.join(FOLDER + ("-blocked" if self.blocked and weights else ""), f"{layer.name}.{step}")
        if step not in self.kernels:
            self.kernels[step] = Kernel(path) if os.path.exists(path + ".cubin") else None
        return self.kernels[step]

    def bind(self, layer, step, **arguments):
        return self.load(layer, step).bind(early=self.early, **arguments)

    def tags(self, layer, step, rows):
        """Tiles worth trying for so many rows per expert."""
        found = [tag for tag in TILES if self.load(layer, f"{step}-{tag}")]
        small = [tag for tag in found if tag in ("s16", "s32", "s64", "m256k", *DRAWN)]
        large = [tag for tag in found if tag not in ("s16", "s32", "s64", *DRAWN)]
        return small if rows <= 16 else large if rows >= 96 else found

    def case(self, layer, inputs):
        options = {}
        rows, n = inputs[0].R, inputs[0].n
        self.early = n <= self.most_early
        # Many rows run into the power limit: what is fastest there is not what is fastest on a cold card.
        self.heat = {"warm_ms": 100.0, "budget_ms": 40.0} if n >= 4096 else {}
        outs = [torch.full((rows, layer.H), float("nan"), **BF16) for _ in inputs]
        for most in (1, 16):
            if rows <= most and self.load(layer, f"few{most}") and (most == 1 or rows > 1):
                options[f"few{most}", None, None] = [[launch] for launch in self.few(layer, inputs, outs, most)]
        general, gemm, tiles = self.general(layer, inputs, outs)
        options |= general
        times = {way: time_graph([chain(launches) for launches in runs], **self.heat) for way, runs in options.items()}
        fastest = {}  # of those that bring the rows alike
        for way, us in times.items():
            if us < times.get(fastest.get(way[0]), float("inf")):
                fastest[way[0]] = way
        best = min(times, key=times.get)
        tiles["up"][0] = fastest["permute"][1]
        if "gather" in fastest:
            tiles["gather"][0] = fastest["gather"][1]
        tiles["down"][0] = best[2] or fastest["permute"][2]
        self.record({"layer": layer.name, "rows": n, "tokens": rows, "best": best[0],
                     "us": {name: times[way] for name, way in fastest.items()}, "tiles": tiles})
        for out in outs:
            out.fill_(float("nan"))
        return Case([chain(launches) for launches in options[best]], gemm, lambda i: outs[i],
                    " ".join(tag for tag in best if tag))

    def record(self, line):
        path = os.environ.get("CHOICES", os.path.join(FOLDER, "choices.json"))
        lines = json.load(open(path)) if os.path.exists(path) else []
        with open(path, "w") as file:
            json.dump(lines + [{"by": self.name, "early": self.early, **line}], file, indent=0)

    def few(self, layer, inputs, outs, most):
        state = torch.zeros(4, **INT)
        scratch = torch.empty(most * layer.k, layer.I, **BF16)
        return [self.bind(layer, f"few{most}", x=i.x, ids=i.ids, weights=i.w, gate_up=self.packed, down=self.down,
                          hidden_rows=scratch, state=state, y=out, tokens=i.R) for i, out in zip(inputs, outs)]

    def general(self, layer, inputs, outs):
        n = inputs[0].n
        blocks = sort_ctas(n)
        rows = torch.empty(n, layer.H, **BF16)
        h, y = torch.empty(n, layer.I, **BF16), torch.empty(n, layer.H, **BF16)
        counts = torch.zeros(blocks, layer.E, **INT)
        sets = []
        for i, out in zip(inputs, outs):
            new = lambda size: torch.zeros(size, **INT)
            order, source, positions, offsets = new(n), new(n), new(n), new(layer.E + 1)
            keys = dict(ids=i.ids, order=order, tokens=source, positions=positions, offsets=offsets, status=new(1),
                        counts=counts, pairs=n)
            sort = [self.bind(layer, step, grid=blocks, **keys)
                    for step in (["sort"] if blocks == 1 else ["count", "place"])]
            permute = self.bind(layer, "permute", rows=i.x, positions=source, y=rows)
            combine = self.bind(layer, "combine", rows=y, positions=positions, weights=i.w, y=out)
            chain(sort + [permute])()
            sets.append((i, source, offsets, sort, permute, combine))
        torch.cuda.synchronize()
        per_expert = n / layer.E
        state = lambda tag: {"state": torch.zeros(32, **INT)} if tag in DRAWN else {}  # each launch leaves it zero
        found = {"up": {}, "upg": {}, "down": {}}
        bound = {}
        for tag in self.tags(layer, "up", per_expert):
            bound["up", tag] = [self.bind(layer, "up-" + tag, x=rows, w=self.packed, y=h, offsets=s[2], **state(tag)) for s in sets]
            if tag in GATHERED and self.load(layer, "upg-" + tag):
                bound["upg", tag] = [self.bind(layer, "upg-" + tag, x=s[0].x, index=s[1], w=self.packed, y=h,
                                               offsets=s[2], **state(tag)) for s in sets]
        for tag in self.tags(layer, "down", per_expert):
            bound["down", tag] = [self.bind(layer, "down-" + tag, x=h, w=self.down, y=y, offsets=s[2], **state(tag)) for s in sets]
        for (step, tag), launches in bound.items():
            found[step][tag] = time_graph(launches, **self.heat)
        pick = {step: min(times, key=times.get) for step, times in found.items() if times}
        # Where heat decides, the two fastest of each step are tried together.
        best = {step: sorted(times, key=times.get)[:2 if self.heat else 1] for step, times in found.items()}
        options = {}
        for step, first in (("up", True), ("upg", False)):
            for tag, down in itertools.product(best[step], best["down"]):
                options["permute" if first else "gather", tag, down] = [
                    s[3] + ([s[4]] if first else []) + [bound[step, tag][i], bound["down", down][i], s[5]]
                    for i, s in enumerate(sets)]
        gemm = [chain([bound["up", pick["up"]][i], bound["down", pick["down"]][i]]) for i in range(len(sets))]
        tiles = {"up": [pick["up"], found["up"]], "gather": [pick.get("upg"), found["upg"]],
                 "down": [pick["down"], found["down"]]}
        return options, gemm, tiles


class GeneratedBlocked(Generated):
    """The same with weights in blocks; its kernels stand in KERNELS_DIR-blocked."""
    name = "generated_blocked"
    blocked = True


class GeneratedPlain(Generated):
    """Without early launches."""
    name = "generated_plain"
    most_early = 0


PEERS = [Generated, GeneratedBlocked, GeneratedPlain]
