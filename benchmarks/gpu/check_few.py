"""Checks the one-kernel path for a few tokens (few.txt) and times it beside torch._grouped_mm.

    python3 benchmarks/gpu/check_few.py DIR [--json results.json] [--quick] [--only LAYER|check] [--plan few]

Checked: against float32, poisoned outputs, every number of tokens up to the kernel's; equal bits over repeats, grids
(down to one CTA), beside a kernel that holds SMs, and two streams at once.  Timed: graphs over several input sets.
"""
import argparse
import json
import os
import sys

import torch

from bench_layers import graph_of
from device import SMS, Kernel, event_times
from problems import in_blocks, interleave
from problems_fp8 import dequantize_matrix, dequantize_rows, pack_weights, quantize_rows, quantize_weights

INT = {"device": "cuda", "dtype": torch.int32}
BF16 = {"device": "cuda", "dtype": torch.bfloat16}


class Layer:
    def __init__(self, settings, seed=1):
        number = lambda key, default=0: int(settings.get(key, default))
        self.settings = settings
        self.experts, self.hidden, self.inner = number("experts"), number("hidden"), number("inner")
        self.k, self.most = number("top-k"), number("max-tokens", 1)
        self.bias, self.addend = number("bias"), number("addend")
        self.on_input, self.clamped = number("weight-on-input"), settings.get("epilogue") == "swiglu-clamped"
        self.known = number("table-size") or self.experts
        self.fp8 = number("fp8")
        # Codes of e4m3 flip where rounding before them differs, and at ties.
        self.limit = 3e-2 if self.fp8 else 6e-3
        torch.manual_seed(seed)
        def weights(rows, columns):
            out = torch.empty(self.experts, rows, columns, **BF16)
            for expert in out:
                expert.normal_(0, columns ** -0.5)
            return out
        self.gate, self.up = weights(self.inner, self.hidden), weights(self.inner, self.hidden)
        self.down = weights(self.hidden, self.inner)
        if self.fp8:  # what they stand for is no bf16
            self.gate, self.up, self.down = self.gate.float(), self.up.float(), self.down.float()
        self.scales = {}
        if self.fp8:
            self.quantize(number("blocked-gate-up"), number("blocked-down"))
        else:
            self.packed = interleave(self.gate, self.up).view(-1, self.hidden)
            self.stored_down = self.down
            if number("blocked-gate-up"):
                self.packed = in_blocks(self.packed)
            if number("blocked-down"):
                self.stored_down = in_blocks(self.down.view(-1, self.inner))
        self.gate_bias, self.inner_bias = torch.randn(2, self.experts, self.inner, device="cuda")
        self.up_bias = interleave(self.gate_bias, self.inner_bias).contiguous()
        self.down_bias = torch.randn(self.experts, self.hidden, device="cuda")
        self.slots = torch.arange(self.known, **INT)
        if number("table-size"):
            self.slots.fill_(-1)
            mine = torch.randperm(self.known, device="cuda")[:self.experts]
            self.slots[mine] = torch.arange(self.experts, **INT)

    def quantize(self, blocked_gate_up, blocked_down):
        """Blocks of very different size: a wrong scale must show."""
        for matrix in (*self.gate, *self.up, *self.down):
            spread = torch.exp(torch.randn(-(-matrix.shape[0] // 128), -(-matrix.shape[1] // 128), device="cuda"))
            matrix *= spread.repeat_interleave(128, 0).repeat_interleave(128, 1)[:matrix.shape[0], :matrix.shape[1]]
        codes, self.scales["gate_up_scale"] = quantize_weights(torch.stack([self.gate, self.up], 1))
        self.packed = pack_weights(codes, blocked_gate_up)
        for part, matrices in enumerate((self.gate, self.up)):
            for expert, matrix in enumerate(matrices):
                matrix.copy_(dequantize_matrix(codes[expert, part], self.scales["gate_up_scale"][expert, part]))
        codes, self.scales["down_scale"] = quantize_weights(self.down[:, None])
        self.stored_down = pack_weights(codes, blocked_down)
        for expert, matrix in enumerate(self.down):
            matrix.copy_(dequantize_matrix(codes[expert, 0], self.scales["down_scale"][expert, 0]))

    def rounded(self, rows):
        """What products read of rows."""
        return dequantize_rows(*quantize_rows(rows.bfloat16())) if self.fp8 else rows

    def inputs(self, tokens, seed):
        torch.manual_seed(seed)
        x = torch.randn(tokens, self.hidden, **BF16)
        weights, ids = torch.softmax(torch.randn(tokens, self.known, device="cuda"), -1).topk(self.k)
        addend = torch.randn(tokens, self.hidden, **BF16)
        return x, ids.to(torch.int32), weights / weights.sum(-1, keepdim=True), addend

    def reference(self, x, ids, weights, addend):
        out = addend.float() if self.addend else torch.zeros(len(x), self.hidden, device="cuda")
        slots = self.slots[ids.long()]
        for slot in slots[slots >= 0].unique().tolist():
            t, j = torch.where(slots == slot)
            w = weights[t, j][:, None]
            v = self.rounded(x[t].float()) * (w if self.on_input else 1)
            gate, up = v @ self.gate[slot].float().t(), v @ self.up[slot].float().t()
            if self.bias:
                gate, up = gate + self.gate_bias[slot], up + self.inner_bias[slot]
            if self.clamped:
                gate, up = gate.clamp(max=7.0), up.clamp(-7.0, 7.0)
                h = (up + 1) * gate * torch.sigmoid(1.702 * gate)
            else:
                h = torch.nn.functional.silu(gate) * up
            if not self.on_input:
                h = h * w
            y = self.rounded(h) @ self.down[slot].float().t()
            if self.bias:
                y = y + self.down_bias[slot] * (1 if self.on_input else w)
            out.index_add_(0, t, y)
        return out

    def bind(self, kernel, inputs, state, scratch, grid=None, early=False):
        x, ids, weights, addend = inputs
        y = torch.full((len(x), self.hidden), float("nan"), **BF16)
        launch = kernel.bind(grid=grid, early=early, x=x, ids=ids, weights=weights, slots=self.slots, gate_up=self.packed,
                             down=self.stored_down, up_bias=self.up_bias, down_bias=self.down_bias, addend=addend,
                             hidden_rows=scratch, state=state, y=y, tokens=len(x), **self.scales)
        return launch, y

    def scratch(self):
        return torch.zeros(4, **INT), torch.full((self.most * self.k, self.inner), float("nan"), **BF16)

    def read_bytes(self, sets):
        hit = sum(len(ids.unique()) for _, ids, _, _ in sets) / len(sets)
        return hit * (3 if self.fp8 else 6) * self.hidden * self.inner + 4 * self.hidden * len(sets[0][0])


def grouped_mm_layer(layer, gate_up, x, ids, weights):
    """torch operators round torch._grouped_mm."""
    flat = ids.flatten().long()
    order = torch.argsort(flat, stable=True)
    ends = torch.zeros(layer.experts, **INT).scatter_add_(0, flat, torch.ones_like(flat, dtype=torch.int32))
    ends = ends.cumsum(0).to(torch.int32)
    h = torch._grouped_mm(x[order // layer.k], gate_up.transpose(1, 2), offs=ends)
    h = torch.nn.functional.silu(h[:, :layer.inner]) * h[:, layer.inner:]
    y = torch._grouped_mm(h, layer.down_bf16.transpose(1, 2), offs=ends)
    out = torch.zeros(len(x), layer.hidden, device="cuda")
    return out.index_add_(0, order // layer.k, y.float() * weights.flatten()[order][:, None]).bfloat16()


def check(layer, kernel, quick):
    bad, worst = [], 0.0
    counts = sorted({1, layer.most, (layer.most + 1) // 2, max(1, layer.most - 1)})
    state, scratch = layer.scratch()
    for tokens in counts:
        inputs = layer.inputs(tokens, 100 + tokens)
        want, first = layer.reference(*inputs), None
        for grid in (SMS, SMS, 37, SMS // 2, 1, 3 * SMS)[:2 if quick else 6]:
            launch, y = layer.bind(kernel, inputs, state, scratch, grid)
            launch()
            torch.cuda.synchronize()
            error = ((y.float() - want).norm() / want.norm()).item()
            worst = error if not error <= worst else worst
            first = y if first is None else first
            if not error < layer.limit:
                bad.append(f"{tokens} tokens, grid {grid}: error {error:.2e}")
            elif not torch.equal(y.view(torch.int16), first.view(torch.int16)):
                bad.append(f"{tokens} tokens, grid {grid}: other bits")
            if state.any():
                bad.append(f"state left {state.tolist()}")
                state.zero_()
    if not quick:
        bad += check_shared(layer, kernel)
    return bad, worst


def check_shared(layer, kernel):
    """Beside a long product that holds SMs, and twice at once, for many repeats."""
    bad, streams = [], [torch.cuda.Stream() for _ in range(3)]
    inputs = layer.inputs(layer.most, 7)
    work = torch.randn(4096, 4096, **BF16)
    runs = []
    for stream in streams[:2]:
        state, scratch = layer.scratch()
        runs.append((stream, state, scratch, *layer.bind(kernel, inputs, state, scratch)))
    torch.cuda.synchronize()
    for _ in range(12):
        with torch.cuda.stream(streams[2]):
            work @ work
        for stream, _, _, launch, _ in runs:
            with torch.cuda.stream(stream):
                for _ in range(5):
                    launch()
    torch.cuda.synchronize()
    want = layer.reference(*inputs)
    for _, state, _, _, y in runs:
        error = ((y.float() - want).norm() / want.norm()).item()
        if not error < layer.limit or state.any():
            bad.append(f"two at once: error {error:.2e}, state {state.tolist()}")
    return bad


def bandwidth():
    """Bytes per second of a large read."""
    data = torch.zeros(1 << 29, device="cuda")
    times = event_times(lambda: torch.sum(data), 15)
    copies = torch.empty_like(data)
    copy = event_times(lambda: copies.copy_(data), 15)
    read, copied = 4 * len(data) / min(times) * 1e3, 8 * len(data) / min(copy) * 1e3
    return max(read, copied), copied


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--json")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--plan", default="few")
    options = parser.parse_args()
    with open(os.path.join(options.folder, options.plan + ".json")) as file:
        plan = json.load(file)
    results, failures, layer = [], 0, None
    read, copied = bandwidth()
    print(f"read {read / 1e12:.2f} TB/s, copy {copied / 1e12:.2f} TB/s")
    groups = {}
    for name, settings in plan.items():
        groups.setdefault(name.split("-")[0] if not name.startswith("check") else name, []).append(name)
    for group, names in groups.items():
        if options.only and group != options.only and not (options.only == "check" and group.startswith("check")):
            continue
        del layer
        layer, torch_times = Layer(plan[names[0]]), {}
        if not group.startswith("check"):
            gate_up = torch.cat([layer.gate, layer.up], 1).bfloat16()
            layer.down_bf16 = layer.down.bfloat16()
        for name in names:
            settings = plan[name]
            layer.most = int(settings.get("max-tokens", 1))
            kernel = Kernel(os.path.join(options.folder, name))
            bad, error = check(layer, kernel, options.quick or not group.startswith("check"))
            line = {"name": name, "error": error, "problems": bad}
            if not options.quick and not group.startswith("check"):
                tokens = layer.most
                sets = [layer.inputs(tokens, seed) for seed in range(12)]
                state, scratch = layer.scratch()
                for key, early in (("us", False), ("early_us", True)):
                    bound = [layer.bind(kernel, inputs, state, scratch, early=early) for inputs in sets]
                    line[key] = graph_of([launch for launch, _ in bound])
                    want, y = layer.reference(*sets[-1]), bound[-1][1]
                    if not ((y.float() - want).norm() / want.norm()).item() < layer.limit or state.any():
                        bad.append(f"wrong in a graph, {key}")
                line["floor_us"] = layer.read_bytes(sets) / read * 1e6
                if tokens not in torch_times:
                    torch_times[tokens] = graph_of(
                        [lambda s=s: grouped_mm_layer(layer, gate_up, *s[:3]) for s in sets])
                line["torch_us"] = torch_times[tokens]
            failures += bool(bad)
            results.append(line)
            print(f"{'FAIL' if bad else 'PASS'} {name:20s} error {error:.1e} "
                  + (f"{line['us']:8.2f} us early {line['early_us']:8.2f} floor {line['floor_us']:8.2f} ({line['us'] / line['floor_us']:.2f}) "
                     f"torch {line['torch_us']:8.2f} ({line['torch_us'] / line['us']:.2f}x) " if "us" in line else "")
                  + "; ".join(bad[:3]), flush=True)
        gate_up = None
        torch.cuda.empty_cache()
    print(f"{len(results)} kernels, {failures} bad")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "read_bytes_per_s": read,
                       "copy_bytes_per_s": copied, "results": results}, file, indent=1)
    return 1 if failures or not results else 0


if __name__ == "__main__":
    sys.exit(main())
