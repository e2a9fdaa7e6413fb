#!/usr/bin/env python3
"""Scores the planner on measurements of layouts. Python standard library only.

    score.py POINTS.json [--json OUT] [--list] [--jobs N]

POINTS.json holds `models`, `machines` and `points` (docs/Placement.md). Every layout of a point is pinned and priced by
`moe-opt --place="machine=..."`; one call prices all layouts of a point. The planner sees neither values nor names. The last line covers the
points marked high or medium:

    top1=... median_regret=... p90_regret=... pairwise=... expressed=N/M

moe-opt is taken from MOE_BIN (a folder), else from the build beside this file.
"""
import argparse, concurrent.futures, json, math, os, subprocess, sys, tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import baselines, inputs, rules

ROOT = Path(__file__).resolve().parents[2]


def find_tool():
    folders = [os.environ["MOE_BIN"]] if os.environ.get("MOE_BIN") else [str(p / "bin") for p in sorted((ROOT / "build").glob("*"))]
    for folder in folders:
        tool = Path(folder) / "moe-opt"
        if tool.exists():
            return str(tool)
    sys.exit("score.py: error: no moe-opt in %s, but a build is expected; set MOE_BIN" % (", ".join(folders) or ROOT / "build"))


def run_planner(tool, folder, name, layer, words, terms):
    """Candidates of the alternatives in `words`; one of them is None where it could not be expressed."""
    report = folder / (name + ".report.json")
    report.unlink(missing_ok=True)
    command = [tool, str(layer), "--place=" + " ; ".join(words), "--compile-to=placed", "--report=" + str(report), "--list-candidates", "-o", os.devnull]
    if terms:
        command.append("--model-terms=" + str(terms))
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if not report.exists():
        return None, done.stderr.strip()[-400:]
    best = [None] * len(words)
    for candidate in json.loads(report.read_text())["candidates"]:
        at = candidate["alternative"]
        if best[at] is None:  # best first within an alternative
            best[at] = candidate
    return best, ""


def price(tool, folder, data, point):
    """Times of the point's layouts: a number, `inf` for a refused one, None for one that is not expressed; and why."""
    name = "".join(c if c.isalnum() else "-" for c in point["id"])
    model, machine = data["models"][point["model"]], data["machines"][point["machine"]]
    machine_file = inputs.write_machine(folder, point["machine"], machine)
    layer = inputs.write_layer(folder, point["model"], model)
    terms = inputs.write_config(folder, point["model"], model) if inputs.wants_model(point, model) else None
    for gemm in inputs.GEMM[point["dtype"]]:
        parts = [inputs.words(point, layout, model, machine, machine_file, gemm) for layout in point["layouts"]]
        times, why = price_parts(tool, folder, name, layer, terms, point, parts)
        if all(t is not None and math.isfinite(t) for t in times):
            break
    return times, why


def price_parts(tool, folder, name, layer, terms, point, parts):
    flat = [w for part in parts for _, w in part]
    candidates, why = run_planner(tool, folder, name, layer, flat, terms)
    if candidates is None:  # one bad layout must not hide the others
        candidates = []
        for at, w in enumerate(flat):
            one, text = run_planner(tool, folder, "%s-%d" % (name, at), layer, [w], terms)
            candidates.append(one[0] if one else None)
            why = text or why
    times, at = [], 0
    for part in parts:
        times.append(inputs.time_of(point, part, candidates[at : at + len(part)]))
        at += len(part)
    reasons = [c["reason"] for c in candidates if c and not c["legal"]]
    return times, "; ".join(reasons) or why


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("points")
    parser.add_argument("--json", help="write predictions and scores here")
    parser.add_argument("--list", action="store_true", help="one line for each layout")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    options = parser.parse_args()
    data = json.loads(Path(options.points).read_text())
    tool = find_tool()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for point in data["points"]:  # files first, so that workers only read them
            inputs.write_machine(folder, point["machine"], data["machines"][point["machine"]])
            inputs.write_layer(folder, point["model"], data["models"][point["model"]])
            inputs.write_config(folder, point["model"], data["models"][point["model"]])
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            results = list(pool.map(lambda p: price(tool, folder, data, p), data["points"]))
    predictions = {p["id"]: {"times": times, "why": why} for p, (times, why) in zip(data["points"], results)}
    if options.list:
        for point in data["points"]:
            rules.show(point, predictions[point["id"]])
    report = {"schema": 1, "file": Path(options.points).name, "sets": {}, "points": []}
    for label, levels in (("all", ("high", "medium", "low")), ("high and medium", ("high", "medium"))):
        chosen = [p for p in data["points"] if p["simulatable"] in levels]
        expressed = [p for p in chosen if all(t is not None for t in predictions[p["id"]]["times"])]
        planner = rules.score(expressed, {p["id"]: predictions[p["id"]]["times"] for p in expressed})
        scores = {"planner": planner}
        for name, rule in baselines.RULES.items():
            scores[name] = rules.score(expressed, {p["id"]: [rule(p, l, data) for l in p["layouts"]] for p in expressed})
        report["sets"][label] = {"points": len(chosen), "expressed": len(expressed), "scores": scores}
        print("%s: %d of %d points expressed" % (label, len(expressed), len(chosen)))
        for name, s in scores.items():
            print("  %-9s %s" % (name, rules.line(s)))
    for point in data["points"]:
        report["points"].append(rules.record(point, predictions[point["id"]]))
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    final = report["sets"]["high and medium"]
    s = final["scores"]["planner"]
    print("top1=%.4f median_regret=%.4f p90_regret=%.4f pairwise=%.4f expressed=%d/%d" %
          (s["top1"], s["median_regret"], s["p90_regret"], s["pairwise"], final["expressed"], final["points"]))


if __name__ == "__main__":
    main()
