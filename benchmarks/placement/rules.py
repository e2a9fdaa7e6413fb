"""How predictions are held against measurements."""
import math

OOM_REGRET = 10.0  # choosing a layout that ran out of memory
EQUAL = 1e-9  # predictions closer than this (relative) are equal


def ratio(point, a, b):
    """How much better value a is than value b."""
    return a / b if point["better"] == "higher" else b / a


def best_value(point):
    values = [l["value"] for l in point["layouts"] if l["value"] is not None]
    return max(values) if point["better"] == "higher" else min(values)


def is_good(point, layout):
    return layout["value"] is not None and ratio(point, best_value(point), layout["value"]) <= 1 + point["tie_pct"] / 100


def regret(point, layout):
    return OOM_REGRET if layout["value"] is None else ratio(point, best_value(point), layout["value"]) - 1


def equal(a, b):
    return a == b or abs(a - b) <= EQUAL * max(abs(a), abs(b))


def chosen(times):
    """Places of the least time; layouts with equal predictions share the choice."""
    return [i for i, t in enumerate(times) if equal(t, min(times))]


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, max(0, math.ceil(q * len(values)) - 1))] if values else 0.0


def pairs(point, times):
    """Right and counted pairs."""
    right = counted = 0
    tie = 1 + point["tie_pct"] / 100
    for i, a in enumerate(point["layouts"]):
        for j in range(i):
            b = point["layouts"][j]
            if a["value"] is None and b["value"] is None:
                continue
            r = 0 if a["value"] is None else math.inf if b["value"] is None else ratio(point, a["value"], b["value"])
            if 1 / tie <= r <= tie:
                continue
            counted += 1
            right += 0.5 if equal(times[i], times[j]) else float((r > 1) == (times[i] < times[j]))
    return right, counted


def ratio_error(point, times):
    """|ln(predicted best / worst) - ln(measured best / worst)|, over layouts with both."""
    both = [(t, l["value"]) for t, l in zip(times, point["layouts"]) if l["value"] and math.isfinite(t) and t > 0]
    if len(both) < 2:
        return None
    measured = [v if point["better"] == "lower" else 1 / v for _, v in both]
    high, low = measured.index(max(measured)), measured.index(min(measured))
    return abs(math.log(both[high][0] / both[low][0]) - math.log(measured[high] / measured[low]))


def score(points, times):
    hits, decided, regrets, rows, errors, right, counted = [], [], [], {}, [], 0.0, 0
    for point in points:
        t = times[point["id"]]
        pick = [point["layouts"][i] for i in chosen(t)]
        hit = sum(is_good(point, l) for l in pick) / len(pick)
        hits.append(hit)
        rows.setdefault(point["row"], []).append(hit)
        if not all(is_good(point, l) for l in point["layouts"]):
            decided.append(hit)
        regrets.append(sum(regret(point, l) for l in pick) / len(pick))
        r, c = pairs(point, t)
        right += r
        counted += c
        if (e := ratio_error(point, t)) is not None:
            errors.append(e)
    mean = lambda v: sum(v) / len(v) if v else 0.0
    return {"top1": mean(hits), "decided": mean(decided), "by_row": mean([mean(v) for v in rows.values()]), "median_regret": quantile(regrets, 0.5),
            "p90_regret": quantile(regrets, 0.9), "pairwise": right / counted if counted else 0.0, "median_ratio_error": quantile(errors, 0.5)}


def line(s):
    return " ".join("%s=%.4f" % item for item in s.items())


def record(point, prediction):
    times = prediction["times"]
    full = all(t is not None for t in times)
    out = {"id": point["id"], "simulatable": point["simulatable"], "expressed": full, "why": prediction["why"],
           "layouts": [{"name": l["name"], "value": l["value"], "predicted_us": t if t is not None and math.isfinite(t) else None,
                        "refused": t == math.inf} for l, t in zip(point["layouts"], times)]}
    if full:
        pick = [point["layouts"][i] for i in chosen(times)]
        out["right"] = sum(is_good(point, l) for l in pick) / len(pick)
        out["regret"] = sum(regret(point, l) for l in pick) / len(pick)
        out["pairs"] = pairs(point, times)
    return out


def show(point, prediction):
    r = record(point, prediction)
    mark = "?" if not r["expressed"] else "ok" if r["right"] == 1 else "MISS"
    print("%-22s %-6s %-4s %s" % (point["id"], point["simulatable"], mark, "regret %.3f" % r["regret"] if r["expressed"] else prediction["why"]))
    for l, t in zip(point["layouts"], prediction["times"]):
        print("      %14s  %12s  %s" % ("%.1f" % t if t is not None else "-", l["value"], l["name"]))
    if prediction["why"] and r["expressed"]:
        print("      " + prediction["why"][:300])
