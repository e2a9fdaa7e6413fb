"""Measures which kernels are fastest for layers on the GPU at hand, through whole compiled layers, and writes the table that moe-opt reads.

    python3 benchmarks/gpu/tune.py --build DIR --moe-opt build/release/bin/moe-opt [--layers A,B] [--tiles C,D]      # anywhere: an artifact for each candidate
    python3 benchmarks/gpu/tune.py DIR --library libmoert.so --table machines/kernels/mine.json --device "..." [--tokens 16,4096]
    moe-opt ... --kernel-table=machines/kernels/mine.json

A candidate is a tile for the gate and up product, with rows gathered or moved first, and one for the down product; all pairs would be too many: the second is tuned with the first at
its best. Each runs in a CUDA graph over several inputs, after the chip has become warm. Layers are those of artifacts.py; another is a line in plan_table.py.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from plan_table import LAYERS, TILES, fits  # noqa: E402
from make_tiles import tile_of, write_table  # noqa: E402

FEW_ROWS, MANY_ROWS = 16, 96  # mean rows per expert below which large tiles are not tried, and from which small ones are not
SMALL, LARGE = ("s16", "s32", "s64", "m256k"), ("m256", "m256k", "m192", "s128", "t128x256", "t256x144", "t256x160", "t256x192")
PAIR = "t256x192", "m256"  # partners while the other product is tuned: (with large tiles, else the first that fits)


def candidates(layer, tiles):
    """Names and tables: (what is tuned, tag, gathered)."""
    _, _, hidden, inner = LAYERS[layer]
    found = []
    for tag in tiles:
        if fits(tag, 2 * inner):
            found += [("up", tag, gathered) for gathered in (False, True) if not gathered or tile_of(tag)["tokens"] % 16 == 0]
        if fits(tag, hidden):
            found.append(("down", tag, False))
    return found


def table_for(layer, what, tag, gathered):
    """One candidate for every number of rows; the other product has one tile for few rows and one for many."""
    experts, k, hidden, inner = LAYERS[layer]
    points = [2.0 ** exponent for exponent in range(-6, 14, 2)]

    def tiles(own, n):
        partner = next(name for name in PAIR if fits(name, n))
        choose = lambda rows: tag if own else ("s32" if rows <= 48 else partner)
        return [{"rows": rows, **tile_of(choose(rows)), **({"gather": True} if own and gathered else {})} for rows in points]

    return {"device": "a candidate", "matrices": [
        {"k": hidden, "n": 2 * inner, "paired": True, "tiles": tiles(what == "up", 2 * inner)},
        {"k": inner, "n": hidden, "paired": False, "tiles": tiles(what == "down", hidden)}],
        "layers": [{"experts": experts, "top_k": k, "hidden": hidden, "inner": inner, "few": []}]}


def few_table(layer):
    """The layer in one kernel, up to every number of tokens that there is one for."""
    table = table_for(layer, "up", "s32", False)
    table["layers"][0]["few"] = [1, 2, 4, 8, 16]
    return table


def name_of(layer, what, tag, gathered):
    return f"{layer}.{what}-{tag}{'-gather' if gathered else ''}"


def build(options):
    from artifacts import layer_text
    os.makedirs(options.build, exist_ok=True)
    for layer in options.layers or LAYERS:
        source = os.path.join(options.build, layer + ".mlir")
        with open(source, "w") as file:
            file.write(layer_text(layer))
        jobs = {name_of(layer, *candidate): table_for(layer, *candidate) for candidate in candidates(layer, options.tiles)}
        jobs[layer + ".few"] = few_table(layer)
        for name, table in jobs.items():
            path = os.path.join(options.build, name)
            with open(path + ".json", "w") as file:
                json.dump(table, file)
            run = subprocess.run([options.moe_opt, source, "--place=ranks=1", "--target=cuda", f"--kernel-table={path}.json", "--compile-to=artifact",
                                  "-o", path + ".moe"], stderr=subprocess.PIPE, text=True)
            if run.returncode:
                sys.exit(run.stderr)
        print(f"{layer}: {len(jobs)} candidates", flush=True)


class Layer:
    """Weights and inputs of one layer, on the GPU."""

    def __init__(self, name, torch):
        self.name, self.torch = name, torch
        self.experts, self.k, self.hidden, self.inner = LAYERS[name]
        new = lambda *shape: torch.empty(*shape, dtype=torch.bfloat16, device="cuda")
        self.up = new(self.experts, 2, self.inner, self.hidden).normal_(0, self.hidden ** -0.5)
        self.down = new(self.experts, self.hidden, self.inner).normal_(0, self.inner ** -0.5)

    def inputs(self, tokens):
        torch = self.torch
        weights, ids = torch.rand(tokens, self.experts, device="cuda").topk(self.k)
        return {"x": torch.randn(tokens, self.hidden, dtype=torch.bfloat16, device="cuda"), "expert_ids": ids.int(),
                "expert_weights": torch.softmax(weights, 1)}


def time_us(compiled, layer, tokens):
    """Median microseconds of a call."""
    torch = layer.torch
    torch.manual_seed(tokens)
    sets = [layer.inputs(tokens) for _ in range(8 if tokens <= 256 else 2)]
    runs = [compiled.bind(inputs, {"y": torch.empty_like(inputs["x"])}) for inputs in sets]
    runs[0]()
    compiled.wait()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for run in runs:
            run()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def sample():
        events[0].record()
        graph.replay()
        events[1].record()
        torch.cuda.synchronize()
        return events[0].elapsed_time(events[1])

    sample()
    once = max(sample(), 1e-3)
    for _ in range(int(min(2000, 30 / once))):
        graph.replay()
    return statistics.median(sample() for _ in range(int(min(40, max(5, 20 / once))))) * 1e3 / len(runs)


def measure(options, torch, CompiledLayer):
    """Times by (layer, tokens, candidate or "few")."""
    times = {}
    for name in options.layers or LAYERS:
        if not os.path.exists(os.path.join(options.folder, name + ".few.moe")):
            print(f"{name}: no candidates in {options.folder}")
            continue
        layer = Layer(name, torch)
        for candidate in [*candidates(name, options.tiles), "few"]:
            path = os.path.join(options.folder, (name + ".few" if candidate == "few" else name_of(name, *candidate)) + ".moe")
            compiled = CompiledLayer(options.library, path, max(options.tokens))
            compiled.set_weights(up=layer.up, down=layer.down)
            for tokens in options.tokens:
                rows = tokens * layer.k / layer.experts
                tag = candidate[1]
                if candidate == "few" and tokens > 16 or candidate != "few" and (
                        rows < FEW_ROWS and tag not in SMALL or rows >= MANY_ROWS and tag not in LARGE):
                    continue
                times[name, tokens, candidate] = time_us(compiled, layer, tokens)
            compiled.close()
        del layer
        torch.cuda.empty_cache()
        print(f"{name}: {sum(key[0] == name for key in times)} times", flush=True)
    return times


def choose(times):
    """Matrices and layers of a table."""
    matrices, few = {}, {}
    for name, tokens in sorted({key[:2] for key in times}):
        experts, k, hidden, inner = LAYERS[name]
        here = {key[2]: us for key, us in times.items() if key[:2] == (name, tokens)}
        best = {what: min((key for key in here if key[0] == what), key=here.get) for what in ("up", "down")}
        if here.get("few", float("inf")) < min(here[best["up"]], here[best["down"]]):
            few.setdefault(name, []).append(tokens)
        for what, key in (("up", (hidden, 2 * inner, True)), ("down", (inner, hidden, False))):
            _, tag, gathered = best[what]
            tile = {"rows": round(tokens * k / experts, 4), **tile_of(tag), **({"gather": True} if gathered else {}),
                    "us": round(here[best[what]], 1), "experts": experts}
            matrices.setdefault(key, []).append(tile)
        print(f"{name:18s} {tokens:6d} tokens: " + ", ".join(f"{name_of('', *best[what])[1:]} {here[best[what]]:.1f}" for what in best)
              + (f", few {here['few']:.1f}" if "few" in here else ""))
    return matrices, few


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--build", metavar="DIR")
    parser.add_argument("--moe-opt", default="moe-opt")
    parser.add_argument("--library", default="libmoert.so")
    parser.add_argument("--layers", type=lambda text: text.split(","))
    parser.add_argument("--tokens", type=lambda text: [int(word) for word in text.split(",")], default=[1, 2, 4, 8, 16, 64, 256, 1024, 4096, 16384])
    every = list(dict.fromkeys(SMALL + LARGE))
    parser.add_argument("--tiles", type=lambda text: text.split(","), default=every, help="of " + ", ".join(every))
    parser.add_argument("--table", help="where the table is written")
    parser.add_argument("--device", default="this machine")
    parser.add_argument("--json", help="where the times are written")
    options = parser.parse_args()
    if options.build:
        return build(options)
    if not options.folder or not options.table:
        parser.error("the folder of candidates and --table are expected, or --build")
    sys.path.insert(0, os.path.join(HERE, "..", "..", "examples"))
    from torch_layer import CompiledLayer, no_device, torch
    if no_device():
        print(f"tune: skipped, {no_device()}")
        return 0
    times = measure(options, torch, CompiledLayer)
    if options.json:
        with open(options.json, "w") as file:
            json.dump([{"layer": layer, "tokens": tokens, "candidate": candidate, "us": us} for (layer, tokens, candidate), us in times.items()], file, indent=0)
    if not times:
        sys.exit("tune: nothing was measured")
    matrices, few = choose(times)
    with open(options.table, "w") as file:
        write_table(options.device, matrices, few, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
