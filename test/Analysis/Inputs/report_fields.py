"""report_fields.py FILE: whether a plan's JSON has the fields of schema 1, all of them and no others, with values that agree with each other."""
import json, math, sys

TOP = {"schema", "machine", "ranks", "phase", "routing", "layers", "winner", "sweep", "candidates"}
ALWAYS = {"alternative", "ep", "etp", "edp", "dispatcher", "dedup", "boundary", "shared", "attn_tp", "attn_dp", "cp", "pp", "chunks", "tokens", "legal", "reason",
          "time_us", "terms", "memory_bytes"}
PRICED = ALWAYS | {"p95_us", "layer", "memory"}
LAYER = {"time_us", "p95_us", "terms", "skew_us", "flops", "weight_read_bytes", "domain_bytes", "network_bytes", "rows_mean", "rows_max", "rows_max_p95"}
SWEEP = {"alternative", "tokens", "ep", "etp", "edp", "dispatcher", "dedup", "time_us"}
report = json.load(open(sys.argv[1]))
assert set(report) == TOP, set(report) ^ TOP
assert report["schema"] == 1
refused = 0
for candidate in report["candidates"] + [report["winner"]]:
    if candidate["time_us"] is None:
        assert set(candidate) == ALWAYS and not candidate["legal"] and candidate["reason"] and candidate["memory_bytes"] is None, candidate
        refused += 1
        continue
    assert set(candidate) == PRICED, set(candidate) ^ PRICED
    assert set(candidate["layer"]) == LAYER, set(candidate["layer"]) ^ LAYER
    assert candidate["legal"] == (candidate["reason"] == ""), candidate
    for part in (candidate, candidate["layer"]):
        assert math.isclose(sum(part["terms"].values()), part["time_us"], rel_tol=1e-3, abs_tol=0.02), part
    assert math.isclose(sum(candidate["memory"].values()), candidate["memory_bytes"], abs_tol=8)
    assert candidate["ep"] * candidate["etp"] * candidate["edp"] * candidate["pp"] == report["ranks"]
    assert candidate["attn_tp"] * candidate["attn_dp"] * candidate["cp"] * candidate["pp"] == report["ranks"]
    assert candidate["layer"]["rows_mean"] <= candidate["layer"]["rows_max"] + 1e-6 and candidate["chunks"] == 1
assert all(set(point) == SWEEP for point in report["sweep"])
best = [c for c in report["candidates"] if c["legal"]]
assert best == sorted(best, key=lambda c: (c["alternative"], c["time_us"]))
print("refused:", refused > 0, "sweep:", len(report["sweep"]) > 1)
