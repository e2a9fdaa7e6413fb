"""Prints whole-layer times against their marks (marks-h200.json), from a run of the layer benchmark.

    python3 benchmarks/gpu/make_table.py table.json [--by moe_mlir] [--marks marks-fp8-h200.json]

The mark of a case is scaled by how torch._grouped_mm with support kernels did in this run and in the marks' run. Marks are of balanced routing; with another one
a case is set against grouped_mm in this run alone.
"""
import argparse
import json
import math
import os

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = "grouped_mm+support"
GROUPS = {"one token": (0, 1), "16 to 256": (1, 1024), "4096": (1024, 4096), "more": (4096, math.inf)}


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def print_means(what, ratios):
    """Of a dict from tokens to lists of ratios."""
    every = [value for values in ratios.values() for value in values]
    means = [f"all {geomean(every):.3f}"] if every else []
    for name, (least, most) in GROUPS.items():
        values = [value for tokens, of in ratios.items() if least < tokens <= most for value in of]
        means += [f"{name} {geomean(values):.3f}"] if values else []
    print(f"\nGeometric means of the {what}: " + ", ".join(means) + "." if means else "\nNo case was measured.")


def balanced(times, by, marks):
    with open(os.path.join(HERE, marks)) as file:
        marks = json.load(file)["cases"]
    print("| layer | tokens | ours us | how | mark us (whose) | ratio | scaled ratio | ours / floor |")
    print("|---|--:|--:|---|--:|--:|--:|--:|")
    ratios = {}
    for mark in sorted(marks, key=lambda m: (m["layer"], m["tokens"])):
        key = mark["layer"], mark["tokens"], "balanced"
        ours, base = times.get((*key, by)), times.get((*key, BASE))
        if not ours:
            continue
        us = ours["t_layer_us"]
        ratio = scaled = mark["mark_us"] / us
        if base:
            scaled = ratio * base["t_layer_us"] / mark["grouped_mm_support_us"]
        ratios.setdefault(mark["tokens"], []).append(scaled)
        print(f"| {key[0]} | {key[1]} | {us:.1f} | {ours['note']} | {mark['mark_us']:.1f} ({mark['by']}) | {ratio:.2f} "
              f"| {scaled:.2f} | {us / mark['floor_us']:.2f} |")
    print_means("scaled ratio", ratios)


def other(times, by, routing):
    print(f"\n| layer, {routing} | tokens | ours us | grouped_mm+S us | ratio | against balanced |")
    print("|---|--:|--:|--:|--:|--:|")
    ratios = {}
    for (layer, tokens, found, impl), line in sorted(times.items()):
        base, even = times.get((layer, tokens, routing, BASE)), times.get((layer, tokens, "balanced", by))
        if found != routing or impl != by or not base:
            continue
        us, ratio = line["t_layer_us"], base["t_layer_us"] / line["t_layer_us"]
        ratios.setdefault(tokens, []).append(ratio)
        print(f"| {layer} | {tokens} | {us:.1f} | {base['t_layer_us']:.1f} | {ratio:.2f} | {us / even['t_layer_us'] if even else math.nan:.2f} |")
    print_means("ratio", ratios)


def print_tables(path, by, marks):
    with open(path) as file:
        run = json.load(file)
    times = {(line["layer"], line["T"], line.get("routing", "balanced"), line["impl"]): line for line in run["layers"] if "t_layer_us" in line}
    print(f"{run['meta']['device']}, torch {run['meta']['torch']}, {run['meta']['date']}\n")
    balanced(times, by, marks)
    for routing in sorted({key[2] for key in times} - {"balanced"}):
        other(times, by, routing)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--by", default="moe_mlir")
    parser.add_argument("--marks", default="marks-h200.json")
    options = parser.parse_args()
    print_tables(options.table, options.by, options.marks)


if __name__ == "__main__":
    main()
