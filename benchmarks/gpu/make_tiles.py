"""Writes the table of tiles (machines/kernels/*.json) from the choices of adapter_kernels.py.

    python3 benchmarks/gpu/make_tiles.py choices.json --device "H200, ..." > machines/kernels/h200.json
"""
import argparse
import json

from plan_table import LAYERS, TILES


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
    return tile


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("choices")
    parser.add_argument("--device", required=True)
    parser.add_argument("--by", default="generated_blocked")
    parser.add_argument("--keep", help="a table whose tiles stay where the choices have none for a number of rows")
    options = parser.parse_args()
    with open(options.choices) as file:
        cases = json.load(file)
    matrices, few = {}, {}
    for case in cases:
        if case["by"] != options.by:
            continue
        experts, _, hidden, inner = LAYERS[case["layer"]]
        rows = case["rows"] / experts
        if case["best"].startswith("few"):
            few.setdefault(case["layer"], set()).add(int(case["best"][3:]))
        gather = case["us"].get("gather", float("inf")) < case["us"]["permute"]
        step = "gather" if gather else "up"
        for key, step in (((hidden, 2 * inner, True), step), ((inner, hidden, False), "down")):
            tag = case["tiles"][step][0]
            tile = {"rows": round(rows, 4), **tile_of(tag)}
            if key[2] and gather:
                tile["gather"] = True
            tile["us"] = round(case["tiles"][step][1][tag], 1)
            tile["experts"] = experts
            matrices.setdefault(key, []).append(tile)
    # Several layers may measure one matrix: the one with most experts counts.
    old = {"matrices": []}
    if options.keep:
        with open(options.keep) as file:
            old = json.load(file)
        for matrix in old["matrices"]:
            tiles = matrices.setdefault((matrix["k"], matrix["n"], matrix["paired"]), [])
            measured = {tile["rows"] for tile in tiles}
            tiles += [tile for tile in matrix["tiles"] if tile["rows"] not in measured]
    out = []
    for (k, n, paired), tiles in matrices.items():
        best = {}
        for tile in tiles:
            kept = best.get(tile["rows"])
            if kept is None or tile["experts"] > kept["experts"]:
                best[tile["rows"]] = tile
        out.append((k, n, paired, [best[rows] for rows in sorted(best)]))
    print('{\n "device": ' + json.dumps(options.device) + ',\n "matrices": [')
    for i, (k, n, paired, tiles) in enumerate(out):
        print(f'  {{"k": {k}, "n": {n}, "paired": {json.dumps(paired)}, "tiles": [')
        print(",\n".join("    " + json.dumps(tile) for tile in tiles))
        print("  ]}" + ("," if i + 1 < len(out) else ""))
    print(' ],\n "layers": [')
    lines = []
    for layer, tokens in few.items():
        sizes = zip(("experts", "top_k", "hidden", "inner"), LAYERS[layer])
        lines.append("  " + json.dumps({**dict(sizes), "few": sorted(tokens)}))
    lines += ["  " + json.dumps(layer) for layer in old.get("layers", [])
              if all(LAYERS[name] != (layer["experts"], layer["top_k"], layer["hidden"], layer["inner"]) for name in few)]
    print(",\n".join(lines))
    print(" ]\n}")


if __name__ == "__main__":
    main()
