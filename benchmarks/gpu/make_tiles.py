"""Writes the table of tiles (machines/kernels/*.json) from the choices of adapter_kernels.py.

    python3 benchmarks/gpu/make_tiles.py choices.json --device "H200, ..." > machines/kernels/h200.json
"""
import argparse
import json
import sys

from plan_table import LAYERS, TILES

CLOSE = 1.02  # differences of less are noise


def tile_of(tag):
    settings = dict(word.split("=") for word in TILES[tag].split())
    tile = {"tokens": int(settings.get("tile-tokens", 128)), "weights": int(settings.get("tile-weights", 256))}
    if settings.get("swap") == "1":
        tile["swap"] = True
    if settings.get("skip-dead") == "1":
        tile["skip_dead"] = True
    if "tails" in settings:
        tile["tails"] = int(settings["tails"])
    if "cluster" in settings:
        tile["cluster"] = int(settings["cluster"])
    if "split" in settings:
        tile["split"] = int(settings["split"])
    return tile


def share_tiles(found):
    """Tiles for all numbers of rows of one matrix: as few different ones as do within CLOSE of the fastest, so that a program has few kernels."""
    close = {rows: {(tag, gathered): us for tag, us in times.items() if us <= CLOSE * min(times.values())}
             for rows, (_, gathered, times) in found.items()}
    tiles = {}
    while len(tiles) < len(found):
        left = [rows for rows in found if rows not in tiles]
        names = {name for rows in left for name in close[rows]}
        cost = lambda name: sum(close[rows][name] / min(close[rows].values()) for rows in left if name in close[rows])
        best = max(names, key=lambda name: (sum(name in close[rows] for rows in left), -cost(name)))
        for rows in left:
            if best in close[rows]:
                tag, gathered = best
                tiles[rows] = {"rows": rows, **tile_of(tag), **({"gather": True} if gathered else {}), "us": round(close[rows][best], 1),
                               "experts": found[rows][0]}
    return [tiles[rows] for rows in sorted(tiles)]


def write_table(device, matrices, few, file, others=()):
    """`matrices`: tiles by (k, n, paired, fp8); `few`: numbers of tokens by layer, `others`: layers as they stand in another table."""
    # Several layers may measure one matrix: the one with most experts counts.
    out = []
    for (k, n, paired, fp8), tiles in matrices.items():
        best = {}
        for tile in tiles:
            kept = best.get(tile["rows"])
            if kept is None or tile["experts"] > kept["experts"]:
                best[tile["rows"]] = tile
        lines = ",\n".join("    " + json.dumps(best[rows]) for rows in sorted(best))
        type_of = ', "fp8": true' if fp8 else ""
        out.append(f'  {{"k": {k}, "n": {n}, "paired": {json.dumps(paired)}{type_of}, "tiles": [\n{lines}\n  ]}}')
    layers = ["  " + json.dumps({**dict(zip(("experts", "top_k", "hidden", "inner"), LAYERS[layer])), "few": sorted(tokens)})
              for layer, tokens in few.items()] + ["  " + json.dumps(layer) for layer in others]
    file.write('{\n "device": ' + json.dumps(device) + ',\n "matrices": [\n' + ",\n".join(out) + '\n ],\n "layers": [\n' + ",\n".join(layers) + "\n ]\n}\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("choices", nargs="+", help="of several, the last that has a case counts")
    parser.add_argument("--device", required=True)
    parser.add_argument("--by", default="generated_blocked")
    parser.add_argument("--keep", help="a table whose tiles stay where the choices have none for a number of rows")
    options = parser.parse_args()
    cases = {}
    for path in options.choices:
        with open(path) as file:
            cases |= {(case["layer"], case["rows"]): case for case in json.load(file) if case["by"] == options.by}
    measured, few = {}, {}
    for case in cases.values():
        experts, _, hidden, inner = LAYERS[case["layer"]]
        rows = round(case["rows"] / experts, 4)
        if case["best"].startswith("few"):
            few.setdefault(case["layer"], set()).add(int(case["best"][3:]))
        gather = case["us"].get("gather", float("inf")) < case["us"]["permute"]
        step = "gather" if gather else "up"
        for key, step, gathered in (((hidden, 2 * inner, True, False), step, gather), ((inner, hidden, False, False), "down", False)):
            # Of several layers that measured one matrix, the one with most experts counts.
            kept = measured.setdefault(key, {}).get(rows)
            if kept is None or experts > kept[0]:
                measured[key][rows] = experts, gathered, case["tiles"][step][1]
    matrices = {key: share_tiles(found) for key, found in measured.items()}
    old = {"matrices": []}
    if options.keep:
        with open(options.keep) as file:
            old = json.load(file)
        for matrix in old["matrices"]:
            tiles = matrices.setdefault((matrix["k"], matrix["n"], matrix["paired"], matrix.get("fp8", False)), [])
            measured = {tile["rows"] for tile in tiles}
            tiles += [tile for tile in matrix["tiles"] if tile["rows"] not in measured]
    kept = [layer for layer in old.get("layers", [])
            if all(LAYERS[name] != (layer["experts"], layer["top_k"], layer["hidden"], layer["inner"]) for name in few)]
    write_table(options.device, matrices, few, sys.stdout, kept)


if __name__ == "__main__":
    main()
