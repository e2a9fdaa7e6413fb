"""Prints whole-layer times against their marks (marks-h200.json), from a run of the layer benchmark.

    python3 benchmarks/gpu/make_table.py table.json [--by generated]

The mark of a case is scaled by how torch._grouped_mm with support kernels did in this run and in the marks' run.
"""
import argparse
import json
import math
import os

HERE = os.path.dirname(os.path.abspath(__file__))


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--by", default="generated")
    options = parser.parse_args()
    with open(options.table) as file:
        run = json.load(file)
    with open(os.path.join(HERE, "marks-h200.json")) as file:
        marks = json.load(file)["cases"]
    times = {}
    for line in run["layers"]:
        if "t_layer_us" in line:
            times[line["layer"], line["T"], line["impl"]] = line
    print(f"{run['meta']['device']}, torch {run['meta']['torch']}, {run['meta']['date']}\n")
    print("| layer | tokens | ours us | how | mark us (whose) | ratio | scaled ratio | floor us | ours / floor |")
    print("|---|--:|--:|---|--:|--:|--:|--:|--:|")
    groups = {"all": [], "one token": [], "16 to 256": [], "4096": [], "more": []}
    for mark in sorted(marks, key=lambda m: (m["layer"], m["tokens"])):
        key = mark["layer"], mark["tokens"]
        ours = times.get((*key, options.by))
        if not ours:
            continue
        us, floor = ours["t_layer_us"], mark["floor_us"]
        ratio = scaled = mark["mark_us"] / us
        base = times.get((*key, "grouped_mm+support"))
        if base:
            scaled = ratio * base["t_layer_us"] / mark["grouped_mm_support_us"]
        group = "one token" if mark["tokens"] == 1 else "16 to 256" if mark["tokens"] <= 1024 else \
            "4096" if mark["tokens"] == 4096 else "more"
        groups["all"].append(scaled)
        groups[group].append(scaled)
        print(f"| {key[0]} | {key[1]} | {us:.1f} | {ours['note']} | {mark['mark_us']:.1f} ({mark['by']}) | {ratio:.2f} "
              f"| {scaled:.2f} | {floor:.1f} | {us / floor:.2f} |")
    print("\nGeometric means of the scaled ratio: " + ", ".join(
        f"{name} {geomean(values):.3f}" for name, values in groups.items() if values) + ".")


if __name__ == "__main__":
    main()
