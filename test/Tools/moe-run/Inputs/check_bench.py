"""check_bench.py JSON THREADS TOKENS ROUTINGS: what moe-run bench wrote holds these cases, in order, with times that can be."""
import json
import sys

path, threads, tokens, routings = sys.argv[1:]
with open(path) as file:
    report = json.load(file)
assert report["threads"] == int(threads) and report["device"] == "cpu", report
expected = [(int(n), routing) for n in tokens.split(",") for routing in routings.split(",")]
found = [(case["tokens"], case["routing"]) for case in report["cases"]]
assert found == expected, f"{found}, {expected} expected"
for case in report["cases"]:
    assert case["how"] == "host" and case["repetitions"] >= 5, case
    assert 0 < case["least_seconds"] <= case["seconds"] <= case["most_seconds"], case
