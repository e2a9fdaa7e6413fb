"""Golden layers over NCCL: within 2e-2 of transformers with its routing given, three runs with the same bits, which are those of one process, however its ranks
are spread over GPUs."""
import os
import re
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import jobs

MOST_ERROR = 2e-2  # of the largest output


def golden_command(case, options):
    source = f"@{options.golden}/{case.layer}/golden.safetensors:layers.{case.index}."
    given = [("x", "input"), ("expert_ids", "expert_ids"), ("expert_weights", "expert_weights")]
    return [options.moe_run, os.path.join(options.folder, str(case.ranks), case.name + ".moe"), "--weights", f"{options.golden}/{case.layer}",
            *[word for to, what in given for word in ("--input", f"{to}={source}{what}")], "--expect", f"y={source}output", "--rtol", str(MOST_ERROR),
            "--repeat", "3"]


# One process for all ranks, beside that whose ranks share a GPU.
IN_ONE = {"over NCCL": ["--device=cuda", "--comm=nccl"], "with ranks on all GPUs": ["--device=cuda:all", "--comm=local"]}


def read(path):
    with open(path, "rb") as file:
        return file.read()


def in_one_process(case, command, options, folder, expected):
    """A problem for each way that has one."""
    found = []
    for way, flags in IN_ONE.items():
        path = os.path.join(folder, "one.safetensors")
        try:
            jobs.run([*command, *flags, "--output", f"y={path}"], 1, "local", options.limit)
            if read(path) != expected:
                found.append(f"other bits in one process {way}")
        except jobs.Failed as problem:
            found.append(f"in one process {way}: {problem}")
    return found


def in_a_graph(case, options):
    """What is wrong with a layer that needs no counts on the host when it is replayed from a CUDA graph; `bench` compares the bits with those of a run."""
    path = os.path.join(options.folder, str(case.ranks), case.name + ".moe")
    try:
        said = jobs.run([options.moe_run, "bench", path, "--device=cuda", "--comm=nccl", "--tokens", "1,64", "--sets", "2"], case.ranks, "nccl", options.limit, options.share)
    except jobs.Failed as problem:
        return [f"in a graph: {problem}"]
    return [] if re.search(r" 64 +balanced +graph ", said) else ["no graph was made of it"]


def check(case, options, number, is_first):
    """A result with `problem`, none if all is well. The first of a layout is tried in one process that has all GPUs as well, and from a graph."""
    command, begin = golden_command(case, options), time.monotonic()
    result = {"case": case.name, "family": case.layer, "layout": case.layout, "problem": None}
    on = "cuda:0" if options.share else f"cuda:{number % case.ranks}"
    device, local = (["--device=cuda"], [f"--device={on}"]) if options.comm == "nccl" else ([], [])
    with tempfile.TemporaryDirectory() as folder:
        mine, alone = (os.path.join(folder, name) for name in ("mine.safetensors", "alone.safetensors"))
        try:
            said = jobs.run([*command, *device, f"--comm={options.comm}", "--output", f"y={mine}"], case.ranks, options.comm, options.limit, options.share)
            result["error"] = error_of(said)
            jobs.run([*command, *local, "--comm=local", "--output", f"y={alone}"], 1, "local", options.limit)
            problems = [] if read(mine) == read(alone) else ["other bits than in one process"]
            if is_first and options.comm == "nccl" and not options.share:
                problems += in_one_process(case, command, options, folder, read(mine))
                result["in_one_process"] = list(IN_ONE)
            if is_first and options.comm == "nccl" and case.dispatcher == "all_gather":
                problems += in_a_graph(case, options)
                result["in_a_graph"] = True
            result["problem"] = "; ".join(problems) or None
        except jobs.Failed as problem:
            result["problem"] = str(problem)
    result["seconds"] = round(time.monotonic() - begin, 2)
    return result


def error_of(text):
    """Relative to the largest output."""
    found = re.search(r"largest error (\S+) of at most (\S+) x (\S+),", text)
    return float(found[1]) / float(found[3]) if found else None


def check_golden(cases, options, until):
    """Several at the same time; what does not begin before `until` is named."""
    firsts = {case.layout: case for case in reversed(cases)}

    def one(numbered):
        number, case = numbered
        return check(case, options, number, firsts[case.layout] is case) if time.monotonic() < until else {"case": case.name, "layout": case.layout, "problem": "not run: no time left"}

    results = []
    with ThreadPoolExecutor(options.at_once) as pool:
        for result in pool.map(one, enumerate(cases)):
            results.append(result)
            if result["problem"]:
                print(f"BAD {result['case']}: {result['problem']}", flush=True)
    return results


LONG = ("FixedSizesOnEveryGroupAndType", "CountedRowsOnEveryGroupAndType", "ManyRoundsOnChangingGroups")  # tests of the suite, with jobs of their own


def conformance(options, ranks, until):
    """The communicators' own suite: in one process (a stream for each rank on one GPU and on all, over NCCL with a GPU each), then one process for each over NCCL."""
    pieces = ["-" + ":".join(f"*{name}*" for name in LONG), *(f"*{name}*" for name in LONG)]
    results = []
    for comm, count in (("local", 1), ("nccl", ranks)):
        result = {"communicator": comm, "ranks": ranks if comm == "nccl" else 8, "passed": 0, "skipped": 0, "where": "", "problem": None}
        begin = time.monotonic()
        for piece in pieces:
            try:
                if time.monotonic() > until:
                    raise jobs.Failed(f"not run: no time left for {piece}")
                said = jobs.run([options.conformance, "--gtest_filter=" + piece], count, comm, options.limit, options.share and comm == "nccl")
            except jobs.Failed as failure:
                result["problem"] = result["problem"] or f"{piece}: {failure}".removeprefix(f"{piece}: " if str(failure).startswith("not run") else "")
                continue
            for key, pattern in (("passed", r"PASSED\s*\] (\d+) test"), ("skipped", r"SKIPPED\s*\] (\d+) test")):
                result[key] += int(found[1]) if (found := re.search(pattern, said)) else 0
            result["where"] = result["where"] or said.splitlines()[0]
        result["seconds"] = round(time.monotonic() - begin, 1)
        results.append(result)
        print(f"conformance {comm}: {result['passed']} passed, {result['skipped']} skipped", *([f"BAD {result['problem']}"] if result["problem"] else []), flush=True)
    return results
