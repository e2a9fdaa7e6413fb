"""Checks and times the kernels round the matmuls (small.txt) against torch.

    python3 benchmarks/gpu/check_small.py DIR [--json results.json] [--quick]
"""
import argparse
import json
import os
import sys

import torch

from device import SMS, Kernel, event_times

INT = {"device": "cuda", "dtype": torch.int32}


def graph_median(launches, copies=20):
    """Microseconds of one call of all launches, from a graph of `copies` of them."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for launch in launches:
            launch()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for _ in range(copies):
                for launch in launches:
                    launch()
    torch.cuda.synchronize()
    times = sorted(event_times(graph.replay, 9))
    return times[len(times) // 2] * 1e3 / copies


def sort_reference(ids, slots_of, slots, group=1):
    slot = slots_of[ids.flatten().long()].long()
    if group > 1 or ids.shape[1] > slots:  # of a token's pairs in one bin the first is kept
        slot = torch.where(slot < 0, slot, slot // group).view(ids.shape)
        for j in range(1, ids.shape[1]):
            slot[:, j][(slot[:, j:j + 1] == slot[:, :j]).any(1)] = -1
        slot, slots = slot.flatten(), slots // group
    kept = torch.where(slot >= 0)[0]
    order = kept[torch.sort(slot[kept], stable=True).indices]
    positions = torch.full_like(slot, -1)
    positions[order] = torch.arange(len(order), device="cuda")
    counts = torch.bincount(slot[kept], minlength=slots)
    return order, positions, torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def check_sort(load, names, settings, tokens, timed):
    """`names`: one kernel of one CTA, or count and place."""
    experts, k = int(settings["experts"]), int(settings["top-k"])
    slots, group = int(settings.get("slots", experts)), int(settings.get("group", 1))
    table = torch.arange(experts, **INT)
    if settings.get("table") == "1":
        table = torch.full((experts,), -1, **INT)
        mine = torch.randperm(experts, device="cuda")[:slots]
        table[mine] = torch.arange(slots, **INT)
    skew = torch.rand(experts, device="cuda") ** 4 + 1e-3
    ids = torch.multinomial(skew.expand(tokens, experts), k).to(torch.int32)
    pairs, blocks = tokens * k, 1 if len(names) == 1 else min(SMS, tokens * k // 512 + 1)
    out = {name: torch.full((pairs,), -7, **INT) for name in ("order", "tokens", "positions")}
    out["offsets"] = torch.full((slots // group + 1,), -7, **INT)
    status, counts = torch.zeros(1, **INT), torch.full((blocks, slots), -7, **INT)
    launches = [load(name).bind(grid=blocks, ids=ids, slots=table, counts=counts, status=status,
                                pairs=pairs, **out) for name in names]
    for launch in launches:
        launch()
    torch.cuda.synchronize()
    order, positions, offsets = sort_reference(ids, table, slots, group)
    rows, bad = len(order), []
    for name, want, have in (("order", order, out["order"][:rows]),
                             ("tokens", order // k, out["tokens"][:rows]),
                             ("positions", positions, out["positions"]),
                             ("offsets", offsets, out["offsets"])):
        if not torch.equal(have.long(), want.long()):
            bad.append(name + " wrong")
    if (out["order"][rows:] != -7).any() or status.item():
        bad.append("wrote past the end or set the status")
    if tokens <= 64:
        ids[-1, -1] = experts
        launches[-1]() if len(names) == 1 else [launch() for launch in launches]
        torch.cuda.synchronize()
        if not status.item():
            bad.append("did not report a bad id")
        ids[-1, -1] = 0
    if group == 1 and k > slots:  # tokens that name an expert twice
        status.zero_()
        out["order"].fill_(-7)
        here = (table >= 0).nonzero()[0, 0].int()
        ids[:, :2] = here
        [launch() for launch in launches]
        torch.cuda.synchronize()
        order = sort_reference(ids, table, slots)[0]
        if status.item() != 2 or not torch.equal(out["order"][:len(order)].long(), order) or (out["order"][len(order):] != -7).any():
            bad.append("experts named twice are kept or not told")
    return bad, graph_median(launches) if timed else None


def check_combine(load, name, settings, tokens, timed):
    columns, k = int(settings["columns"]), int(settings["top-k"])
    rows = torch.randn(tokens * k, columns, device="cuda").bfloat16()
    positions = torch.randperm(tokens * k, device="cuda").to(torch.int32).view(tokens, k)
    positions[torch.rand(tokens, k, device="cuda") < 0.1] = -1
    weights = torch.rand(tokens, k, device="cuda")
    addend = torch.randn(tokens, columns, device="cuda").bfloat16()
    y = torch.full((tokens, columns), float("nan"), device="cuda", dtype=torch.bfloat16)
    launch = load(name).bind(rows=rows, positions=positions, weights=weights, addend=addend, y=y)
    launch()
    torch.cuda.synchronize()
    factor = torch.ones_like(weights) if settings.get("weights") == "0" else weights
    factor = factor.masked_fill(positions < 0, 0)
    picked = rows[positions.clamp(min=0).long()].float()
    want = (picked * factor[:, :, None]).sum(1)
    if settings.get("addend") == "1":
        want += addend.float()
    error = ((y.float() - want).norm() / want.norm()).item()
    return [] if error < 3e-3 else [f"error {error:.2e}"], graph_median([launch]) if timed else None


def select_reference(logits, bias, settings):
    experts, k = int(settings["experts"]), int(settings["top-k"])
    def score(x):
        return torch.sigmoid(x) if settings.get("score") == "sigmoid" else torch.softmax(x, -1)
    after = settings.get("score-after") == "1"
    scores = logits if after else score(logits)
    c = scores + bias if settings.get("bias") == "1" else scores
    groups = int(settings.get("groups", 1))
    if groups > 1:
        parts = c.view(len(c), groups, -1)
        top2 = settings["group-score"] == "top2-sum"
        best = parts.topk(2, -1).values.sum(-1) if top2 else parts.max(-1).values
        kept = torch.zeros_like(best, dtype=torch.bool)
        kept.scatter_(1, best.topk(int(settings["kept-groups"]), -1).indices, True)
        fill = 0.0 if settings.get("mask-zero", "1") == "1" else float("-inf")
        c = parts.masked_fill(~kept[:, :, None], fill).reshape(len(c), experts)
    ids = torch.sort(c, dim=-1, descending=True, stable=True).indices[:, :k]
    weights = scores.gather(1, ids)
    if after:
        weights = score(weights)
    if settings.get("normalize") == "1":
        weights = weights / (weights.sum(-1, keepdim=True) + float(settings.get("epsilon", 0)))
    return ids, weights * float(settings.get("scale", 1))


def check_select(load, name, settings, tokens, timed):
    experts, k = int(settings["experts"]), int(settings["top-k"])
    logits = torch.randn(tokens, experts, device="cuda")
    if settings.get("score-after") == "1":
        logits[0] = 1.0  # ties go to the lowest id
    bias = torch.randn(experts, device="cuda") * 0.1
    ids = torch.full((tokens, k), -7, **INT)
    weights = torch.full((tokens, k), float("nan"), device="cuda")
    launch = load(name).bind(logits=logits, bias=bias, ids=ids, weights=weights, tokens=tokens)
    launch()
    torch.cuda.synchronize()
    want_ids, want = select_reference(logits, bias, settings)
    bad, same = [], (ids.long() == want_ids).all(1)
    if same.float().mean().item() < 0.999:  # rounding may flip near-ties
        bad.append(f"{(~same).sum().item()} of {tokens} tokens differ")
    error = (weights[same] - want[same]).abs().max().item() / want.abs().max().item()
    if not error < 1e-5:
        bad.append(f"weights off by {error:.2e}")
    return bad, graph_median([launch]) if timed else None


def check_router(load, name, settings, tokens, timed):
    experts, k, hidden = int(settings["experts"]), int(settings["top-k"]), int(settings["hidden"])
    types = {"f32": torch.float32, "bf16": torch.bfloat16}
    x = torch.randn(tokens, hidden, device="cuda").to(types[settings.get("x", "bf16")])
    w = (torch.randn(experts, hidden, device="cuda") * hidden ** -0.5).to(types[settings.get("w", "bf16")])
    logit_bias, bias = torch.randn(experts, device="cuda"), torch.randn(experts, device="cuda") * 0.1
    block = int(settings.get("tokens-per-block", 8))
    blocks = (tokens + block - 1) // block
    state, logits = torch.zeros(blocks, **INT), torch.full((tokens, experts), float("nan"), device="cuda")
    ids, weights = torch.full((tokens, k), -7, **INT), torch.full((tokens, k), float("nan"), device="cuda")
    launch = load(name).bind(x=x, w=w, logit_bias=logit_bias, bias=bias, logits=logits, state=state, ids=ids, weights=weights, tokens=tokens)
    launch()
    torch.cuda.synchronize()
    first = ids.clone(), weights.clone()
    launch()
    torch.cuda.synchronize()
    bad, want = [], x.double() @ w.double().t()
    if settings.get("logit-bias") == "1":
        want = want + logit_bias
    limit = 1e-5
    if settings.get("round-logits") == "1":
        limit = 2e-2
    error = (logits.double() - want).abs().max().item() / want.abs().max().item()
    if not error < limit:
        bad.append(f"logits off by {error:.2e}")
    if not (torch.equal(first[0], ids) and torch.equal(first[1], weights)) or state.any():
        bad.append("other results in a second run, or state left")
    # From the logits as they are: the selection; from exact ones: the experts.
    want_ids, want_weights = select_reference(logits, bias, settings)
    same = (ids.long() == want_ids).all(1)
    if same.float().mean().item() < 0.999:
        bad.append(f"{(~same).sum().item()} of {tokens} tokens differ")
    error = (weights[same] - want_weights[same]).abs().max().item() / want_weights.abs().max().item()
    if not error < 1e-5:
        bad.append(f"weights off by {error:.2e}")
    exact = select_reference(want.float(), bias, settings)[0]
    if limit < 1e-2 and (ids.long().sort(1).values != exact.sort(1).values).any(1).float().mean().item() > 1e-3:
        bad.append("experts differ from exact logits'")
    return bad, graph_median([launch]) if timed else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--json")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="names that begin so")
    options = parser.parse_args()
    with open(os.path.join(options.folder, "small.json")) as file:
        plan = json.load(file)
    kernels = {}

    def load(name):
        if name not in kernels:
            kernels[name] = Kernel(os.path.join(options.folder, name))
        return kernels[name]

    results, failures = [], 0
    for name, settings in plan.items():
        kind = name.split("-")[0]
        if kind == "count" or not name.startswith(options.only):
            continue
        for tokens in (1, 3, 64, 257) if options.quick else (1, 3, 16, 64, 257, 1024, 4096, 16384):
            torch.manual_seed(tokens)
            timed = not options.quick and tokens in (1, 16, 64, 1024, 4096, 16384)
            if kind == "sort":
                if tokens > 1024:
                    continue
                bad, time = check_sort(load, [name], settings, tokens, timed)
            elif kind == "place":
                bad, time = check_sort(load, [name.replace("place", "count"), name], settings, tokens,
                                       timed)
            elif kind == "combine":
                bad, time = check_combine(load, name, settings, tokens, timed)
            elif kind == "router":
                bad, time = check_router(load, name, settings, tokens, timed)
            else:
                bad, time = check_select(load, name, settings, tokens, timed)
            failures += bool(bad)
            results.append({"name": name, "tokens": tokens, "us": time, "problems": bad})
            if bad or time:
                print(f"{'FAIL' if bad else 'PASS'} {name:16s} tokens {tokens:6d} "
                      f"{'' if time is None else f'{time:8.2f} us'} {'; '.join(bad)}", flush=True)
    print(f"{len(results)} cases, {failures} bad")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"device": torch.cuda.get_device_name(), "results": results}, file, indent=1)
    return 1 if failures or not results else 0


if __name__ == "__main__":
    sys.exit(main())
