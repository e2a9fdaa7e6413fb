"""trace_check.py TRACE.json STATS.json [ARTIFACT]: that a trace has one track for each rank and thread, that spans nest, and that there is one for each
collective that was counted and for each step of the program (moe-run --trace, --json). Prints what it found."""
import collections
import json
import sys
import zipfile


def check(trace_path, stats_path, artifact=None, processes=None):
    with open(trace_path) as file:
        trace = json.load(file)
    with open(stats_path) as file:
        stats = json.load(file)
    ranks, threads, runs = stats["ranks"], stats["threads"], len(stats["seconds"])
    tracks, names = collections.defaultdict(list), {}
    for event in trace["traceEvents"]:
        assert event["ph"] in ("X", "M"), event
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append(event)
        elif event["name"] == "process_name":
            names[event["pid"]] = event["args"]["name"]
    assert set(names) == set(range(ranks)), names
    assert set(tracks) == {(rank, thread) for rank in range(ranks) for thread in range(threads)}, sorted(tracks)
    found = {name.split("process ")[1] for name in names.values()}
    assert len(found) == (processes or 1), found

    for track in tracks.values():
        check_nesting(track)
    counted = {(c["rank"], c["collective"]): (c["calls"], c["bytes_sent"]) for c in stats["counters"]}
    seen = collections.defaultdict(lambda: (0, 0))
    for (rank, thread), track in tracks.items():
        for event in track:
            if event["cat"] == "collective":
                assert thread == 0, event
                calls, sent = seen[rank, event["name"]]
                seen[rank, event["name"]] = (calls + 1, sent + event["args"]["bytes_sent"])
    assert seen == counted, (seen, counted)

    steps = []
    if artifact:
        with zipfile.ZipFile(artifact) as file:
            functions = json.loads(file.read("manifest.json"))["functions"]
        steps = next(f for f in functions if f["name"] == stats["function"])["steps"]
        for key, track in tracks.items():
            mine = [e["name"] for e in sorted(track, key=lambda e: e["ts"]) if e["cat"] == "step"]
            assert mine == steps * runs, (key, mine, steps, runs)
            assert sum(e["cat"] == "run" for e in track) == runs, key
    print(f"trace: {ranks} ranks of {threads} threads in {len(found)} processes, {runs} runs, "
          f"{sum(calls for calls, _ in seen.values())} collectives, {len(steps)} steps a run")


def check_nesting(track):
    """Any two spans are apart, or one is inside the other; steps and collectives are inside a run, barriers are too."""
    nanoseconds = [(round(e["ts"] * 1000), round(e["ts"] * 1000) + round(e["dur"] * 1000), e) for e in track]
    open_spans = []
    for begin, end, event in nanoseconds:
        while open_spans and open_spans[-1][1] <= begin and (open_spans[-1][1] < end or open_spans[-1][0] < begin):
            open_spans.pop()
        assert not open_spans or end <= open_spans[-1][1], (event, open_spans[-1])
        outer = [span[2]["cat"] for span in open_spans]
        if event["cat"] in ("step", "collective"):
            assert outer == ["run"], (event, outer)
        elif event["cat"] == "barrier":
            assert outer in (["run"], ["run", "step"], ["prepare"]), (event, outer)
        else:
            assert event["cat"] in ("run", "prepare") and not outer, (event, outer)
        open_spans.append((begin, end, event))
    assert nanoseconds == sorted(nanoseconds, key=lambda n: n[0]), "not in order of time"


if __name__ == "__main__":
    check(*sys.argv[1:])
