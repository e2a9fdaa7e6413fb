"""table.py RESULTS.json...: the cases as a table, and how they stand to what is aimed at."""
import json
import math
import sys

PEERS = ["grouped_mm", "packed", "compiled", "eager", "batched_mm"]


def mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def limit_of(case):
    """The most that we may take, in floors."""
    if case["tokens"] <= 64:
        return 1.25
    return 1.5 if (case["layer"], case["dtype"], case["tokens"]) == ("qwen", "bf16", 256) else 1.3


def over_floor(case):
    """In each round the floor of that moment; results of before have one floor for all."""
    return case.get("over_floor", case["ms"]["ours"] / case["floor_ms"])


def best_peer(case):
    return min((ms, name) for name, ms in case["ms"].items() if name != "ours")


def row(case):
    floor, ms = case["floor_ms"], case["ms"]
    cell = lambda name: f"{ms[name]:.2f} ({ms[name] / floor:.2f})" if name in ms else "-"
    best, name = best_peer(case)
    mark = "" if over_floor(case) <= limit_of(case) else " *"
    reading = f"{case['reading_over_floor']:.2f}" if "reading_over_floor" in case else "-"
    limits = f"{case['bandwidth_gb']:.0f} | {case['gflops']:.0f} | {floor:.2f} {case['bound']} | {reading}"
    head = f"{case['layer']} {case['dtype']} {case['tokens']} | {limits} | {ms['ours']:.2f} ({over_floor(case):.2f}){mark}"
    return f"| {head} | {' | '.join(map(cell, PEERS))} | {best / ms['ours']:.2f} {name} | {ms['grouped_mm'] / ms['ours']:.2f} | {case['others_cpu']:.2f} |"


def summary(name, cases, over_best, over_grouped):
    misses = sum(over_floor(case) > limit_of(case) for case in cases)
    best = mean([best_peer(case)[0] / case["ms"]["ours"] for case in cases])
    grouped = mean([case["ms"]["grouped_mm"] / case["ms"]["ours"] for case in cases])
    print(f"{name}: {len(cases) - misses} of {len(cases)} within their limit of the floor; geometric mean over the best peer {best:.2f} "
          f"(aim {over_best}), over grouped_mm {grouped:.2f} (aim {over_grouped})")


def main():
    cases = []
    for path in sys.argv[1:]:
        with open(path) as file:
            cases += json.load(file)["cases"]
    print("| case, tokens | GB/s | GFLOP/s | floor, ms | a reading | ours | " + " | ".join(PEERS) + " | over best peer | over grouped_mm | others |")
    print("|" + "---|" * (9 + len(PEERS)))
    for case in cases:
        print(row(case))
    print()
    for name, aims, chosen in [("1 to 64 tokens", (1.3, 2.2), [c for c in cases if c["tokens"] <= 64]),
                               ("256 and 1024 tokens", (1.2, 1.8), [c for c in cases if c["tokens"] > 64])]:
        if chosen:
            summary(name, chosen, *aims)
    slower = [f"{c['layer']} {c['dtype']}" for c in cases if c["tokens"] == 1 and best_peer(c)[0] < c["ms"]["ours"]]
    print("1 token, slower than the best peer: " + (", ".join(slower) or "none"))


if __name__ == "__main__":
    main()
