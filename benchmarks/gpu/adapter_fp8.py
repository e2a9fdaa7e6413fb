"""Generated fp8 kernels as a peer of a layer benchmark (adapter_kernels.py says what that is): weights quantised here in blocks of
128 x 128, rows by the kernels in blocks of 1 x 128.  KERNELS_DIR is what build_kernels.py makes of plan_fp8.py's plan.
"""
import torch

from adapter_kernels import BF16, INT, Generated, chain, time_graph
from device import sort_ctas
from plan_fp8 import TILES, is_blocked
from problems_fp8 import as_pairs, pack_weights, quantize_weights

I8 = {"device": "cuda", "dtype": torch.int8}
F32 = {"device": "cuda", "dtype": torch.float32}


class GeneratedFp8(Generated):
    name = "generated_fp8"

    def setup(self, layer):
        blocked = is_blocked(layer.H, layer.I)
        codes, self.up_scale = quantize_weights(layer.w1.view(layer.E, 2, layer.I, layer.H))
        self.packed = pack_weights(codes, blocked)
        codes, self.down_scale = quantize_weights(layer.w2.view(layer.E, 1, layer.H, layer.I))
        self.down = pack_weights(codes, blocked)
        self.kernels = {}

    def teardown(self):
        del self.packed, self.down, self.up_scale, self.down_scale, self.kernels

    def tags(self, layer, step, rows):
        found = [tag for tag in TILES if self.load(layer, f"{step}-{tag}")]
        if rows <= 8:
            return [tag for tag in found if tag[0] == "s"]
        return [tag for tag in found if tag[0] != "s"] if rows >= 128 else found

    def general(self, layer, inputs, outs):
        n, H, inner = inputs[0].n, layer.H, layer.I
        blocks = sort_ctas(n)
        x, hq = torch.empty(n, H, **I8), torch.empty(n, inner, **I8)
        x_scale, h_scale = torch.empty(-(-H // 128), n, **F32), torch.empty(-(-inner // 128), n, **F32)
        h, y = torch.empty(n, inner, **BF16), torch.empty(n, H, **BF16)
        counts = torch.zeros(blocks, layer.E, **INT)
        quantize = self.bind(layer, "quanth", x=h, y=hq, y_scale=h_scale, scale_rows=n, rows=n)
        sets = []
        for i, out in zip(inputs, outs):
            new = lambda size: torch.zeros(size, **INT)
            order, source, positions, offsets = new(n), new(n), new(n), new(layer.E + 1)
            keys = dict(ids=i.ids, order=order, tokens=source, positions=positions, offsets=offsets, status=new(1),
                        counts=counts, pairs=n)
            sort = [self.bind(layer, step, grid=blocks, **keys)
                    for step in (["sort"] if blocks == 1 else ["count", "place"])]
            move = self.bind(layer, "quantx", x=i.x, index=source, y=x, y_scale=x_scale, scale_rows=n, rows=n)
            combine = self.bind(layer, "combine", rows=y, positions=positions, weights=i.w, y=out)
            chain(sort + [move])()
            sets.append((offsets, sort + [move], combine))
        torch.cuda.synchronize()
        found, bound = {"up": {}, "down": {}}, {}
        for tag in self.tags(layer, "up", n / layer.E):
            swapped = tag[0] in "st"
            bound["up", tag] = [[self.bind(layer, "up-" + tag, x=as_pairs(x), w=self.packed, y=h if swapped else as_pairs(hq),
                                           offsets=offsets, x_scale=x_scale, w_scale=self.up_scale, y_scale=h_scale,
                                           scale_rows=n)] + ([quantize] if swapped else []) for offsets, _, _ in sets]
        for tag in self.tags(layer, "down", n / layer.E):
            bound["down", tag] = [[self.bind(layer, "down-" + tag, x=as_pairs(hq), w=self.down, y=y, offsets=offsets,
                                             x_scale=h_scale, w_scale=self.down_scale, scale_rows=n)]
                                  for offsets, _, _ in sets]
        for (step, tag), launches in bound.items():
            found[step][tag] = time_graph([chain(some) for some in launches], **self.heat)
        pick = {step: min(times, key=times.get) for step, times in found.items()}
        runs = [before + bound["up", pick["up"]][i] + bound["down", pick["down"]][i] + [combine]
                for i, (_, before, combine) in enumerate(sets)]
        gemm = [chain(bound["up", pick["up"]][i] + bound["down", pick["down"]][i]) for i in range(len(sets))]
        return {("permute", pick["up"], pick["down"]): runs}, gemm, {"up": [pick["up"], found["up"]], "down": [pick["down"], found["down"]]}


PEERS = [GeneratedFp8]
