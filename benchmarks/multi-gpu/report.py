"""Results as text, and as a machine file for moe-opt."""
FIRST_BYTES, LAST_BYTES = 4096, 64 << 20  # of what latency and bandwidth are read off


def problems(result):
    """What is wrong; a case for which there was no time is told, but not wrong."""
    entries = result.get("conformance", []) + result.get("golden", []) + result.get("layers", [])
    found = [entry["problem"] for entry in entries if entry.get("problem") and not entry["problem"].startswith("not run")]
    found += [result["collectives"]["problem"]] if "problem" in result.get("collectives", {}) else []
    return found if entries else ["nothing was run"]


def rows_of(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]


def golden_lines(entries):
    layouts = {}
    for entry in entries:
        layouts.setdefault(entry["layout"], []).append(entry)
    rows = []
    for layout, of in layouts.items():
        errors = [entry["error"] for entry in of if entry.get("error") is not None]
        late = sum(1 for entry in of if (entry["problem"] or "").startswith("not run"))
        good = sum(1 for entry in of if not entry["problem"])
        rows.append([layout, f"{good} of {len(of) - late}" + (f", {late} not run" if late else ""), f"{max(errors):.1e}" if errors else "-"])
    return ["Golden layers: within 2e-2 of transformers, the same bits in three runs and in one process.", ""] + rows_of(["layout", "right", "largest error"], rows)


def collective_lines(measured):
    names = list(dict.fromkeys(case["collective"] for case in measured["cases"]))
    by = {(case["collective"], case["bytes"]): case for case in measured["cases"]}
    rows = []
    for size in sorted({case["bytes"] for case in measured["cases"]}):
        cells = [by.get((name, size)) for name in names]
        rows.append([human(size)] + [f"{case['graph_seconds'] * 1e6:.1f} us ({case['stream_seconds'] * 1e6:.1f}), {case['GBps']:.0f}" if case else "-"
                                     for case in cells])
    lines = ["Collectives of bf16 by the bytes of the larger buffer: in a CUDA graph (enqueued by the host), GB/s that a rank takes from others.", ""]
    return lines + rows_of(["bytes", *names], rows)


def human(size):
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def layer_lines(entries):
    lines = []
    for kind, title in (("exchange", "Dispatch and combine (experts of width 8, so that next to nothing is their work), microseconds of the slowest rank:"),
                        ("layer", "Whole layers, microseconds of the slowest rank:")):
        found, columns = {}, []
        for entry in entries:
            if entry["kind"] != kind:
                continue
            row = found.setdefault((entry["layer"], entry["layout"]), {})
            if entry.get("problem"):
                row["problem"] = entry["problem"].splitlines()[0]
                continue
            columns = sorted({*columns, entry["tokens_per_rank"]})
            row[entry["tokens_per_rank"]] = f"{entry['seconds'] * 1e6:.1f} ({entry['how']})"
        rows = [[layer, layout] + [row.get(tokens, row.get("problem", "-")) for tokens in columns] for (layer, layout), row in found.items()]
        if rows:
            lines += [title, ""] + rows_of(["layer", "layout", *(f"{tokens} tokens a rank" for tokens in columns)], rows)
    return lines


def text(result):
    where = f"{result['ranks']} ranks on {'one GPU' if result['shared'] else result['communicator']}"
    gpus = result["gpus"]
    lines = [f"{result['date']}: {where}; {len(gpus)} x {gpus[0] if gpus else 'no GPU'}, driver {result['driver']}, {result['moe_run']}", ""]
    for entry in result.get("conformance", []):
        said = "FAILED: " + entry["problem"].splitlines()[0] if entry["problem"] else f"{entry['passed']} tests passed, {entry['skipped']} do not apply"
        lines += [f"Conformance of `{entry['communicator']}` ({entry['where']}): {said}, {entry['seconds']} s.", ""]
    lines += golden_lines(result["golden"]) if result.get("golden") else []
    measured = result.get("collectives", {})
    lines += collective_lines(measured) if "cases" in measured else []
    lines += layer_lines(result.get("layers", []))
    wrong = problems(result)
    return "\n".join(lines + [f"{len(wrong)} wrong"])


def machine(result):
    """The base machine with the links that were measured."""
    name = next((base for base, word in (("h200-8", "H200"), ("h100-8", "H100")) if result["gpus"] and word in result["gpus"][0]), None)
    if not name or "cases" not in result.get("collectives", {}):
        raise SystemExit("error: no machine file without measured collectives of H100 or H200")
    ranks, by = result["ranks"], {}
    for case in result["collectives"]["cases"]:
        by.setdefault(case["collective"], {})[case["bytes"]] = case["graph_seconds"]
    moved = {kind: LAST_BYTES * (ranks - 1) / ranks * (2 if kind == "all_reduce" else 1) for kind in by}
    speed = {kind: moved[kind] / max(times[LAST_BYTES] - times[FIRST_BYTES], 1e-9) for kind, times in by.items()}
    best = max(speed.values())
    costs = {kind: {"latency_us": round(times[FIRST_BYTES] * 1e6, 2), "efficiency": round(speed[kind] / best, 4)} for kind, times in by.items()}
    source = {"source": f"measured by benchmarks/multi-gpu on {ranks} x {result['gpus'][0]} over NCCL", "date": result["date"]}
    return {"schema": 1, "name": f"{name}-measured", "base": name, "domain": {"devices": ranks, "GBps": round(best / 1e9, 1)},
            "nodes": {"devices": ranks, "count": 1}, "collectives": {"domain": {**costs, "dispatch": costs["all_to_all"]}},
            "sources": {"domain": source, "nodes": source, "collectives": source}}
