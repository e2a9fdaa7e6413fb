"""Results as text."""


def problems(result):
    """What is wrong; a case for which there was no time is told, but not wrong."""
    entries = result.get("conformance", []) + result.get("golden", []) + result.get("layers", [])
    found = [entry["problem"] for entry in entries if entry.get("problem") and not entry["problem"].startswith("not run")]
    found += [result[key]["problem"] for key in ("collectives", "machine") if "problem" in result.get(key, {})]
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
    ways = sorted({way for entry in entries for way in entry.get("in_one_process", [])})
    also = f"; the first of each layout in one process {' and '.join(ways)} as well" if ways else ""
    also += "; the first of each layout with all_gather from a CUDA graph" if any(entry.get("in_a_graph") for entry in entries) else ""
    return [f"Golden layers: within 2e-2 of transformers, the same bits in three runs and in one process{also}.", ""] + rows_of(["layout", "right", "largest error"], rows)


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
