"""Compiled layers on several GPUs of one machine, a process each, over NCCL: right, the same bits as in one process, and how fast.

    run.py build --tools build/release/bin --golden GOLDEN --out DIR --gpus 2,4,8             # where moe-opt is; needs no GPU
    run.py run DIR --golden GOLDEN --moe-run PATH --conformance PATH --gpus N --json OUT      # where the GPUs are
    run.py run DIR ... --gpus N --share --json OUT                                            # all ranks on one GPU: right or not, nothing is timed
    run.py table OUT [--machine FILE]                                                         # as text, and a machine file for moe-opt
"""
import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time

import cases
import checks
import jobs
import report
import timings


def question(*command):
    """A tool's answer, or nothing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def surroundings(options):
    links = re.sub("\x1b\\[[0-9;]*m", "", question("nvidia-smi", "topo", "-m")).split("Legend")[0].strip().splitlines()
    gpus = question("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()
    return {"date": datetime.date.today().isoformat(), "gpus": [gpu.split(",")[0].strip() for gpu in gpus],
            "driver": gpus[0].split(",")[1].strip() if gpus else None, "links": links,
            "moe_run": "moe-run " + question(options.moe_run, "--version"), "host": platform.platform(), "cores": os.cpu_count()}


def save(result, path):
    with open(path + ".part", "w") as file:
        json.dump(result, file, indent=1)
    os.replace(path + ".part", path)


def missing(options, plan):
    """Why nothing can be run, or nothing."""
    if plan["target"] != "cuda" or options.comm != "nccl":
        return None
    count = len(surroundings(options)["gpus"])
    needed = 1 if options.share else options.gpus
    return f"{needed} GPU{'s are' if needed > 1 else ' is'} needed, {count} found" if count < needed else None


def attempt(measure, *arguments):
    try:
        return measure(*arguments)
    except jobs.Failed as problem:
        print(f"BAD {measure.__name__}: {problem}", flush=True)
        return {"problem": str(problem)}


def run(options):
    plan, planned = cases.load(options.folder, options.gpus)
    if why := missing(options, plan):
        print(f"multi-gpu: skipped, {why}")
        return 0
    begin = time.monotonic()
    until = begin + options.seconds
    planned = [case for case in planned if re.search(options.only, case.name)]
    golden = [case for case in planned if case.kind == "golden"]
    timed = [] if options.share else [case for case in planned if case.kind != "golden"]
    result = {"ranks": options.gpus, "shared": options.share, "communicator": options.comm, **surroundings(options), "refused": plan["refused"]}
    if options.conformance:
        result["conformance"] = checks.conformance(options, options.gpus, begin + options.seconds / 2)
        save(result, options.json)
    result["golden"] = checks.check_golden(golden, options, until)
    save(result, options.json)
    if options.conformance and not options.share:
        result["collectives"] = attempt(timings.collectives, options, options.gpus, 120)
        save(result, options.json)
    if options.comm == "nccl" and not options.share and golden:
        adds = next((case for case in golden if case.etp > 1), golden[0])
        result["machine"] = attempt(timings.machine, adds, options, result["gpus"][0], 120)
        save(result, options.json)
    result["layers"] = timings.layers(timed, options, until)
    result["seconds"] = round(time.monotonic() - begin)
    save(result, options.json)
    print(report.text(result))
    return 1 if report.problems(result) else 0


def table(options):
    with open(options.result) as file:
        result = json.load(file)
    print(report.text(result))
    if options.machine:
        if "schema" not in result.get("machine", {}):
            sys.exit("error: the result holds no machine file: none was measured")
        with open(options.machine, "w") as file:
            json.dump(result["machine"], file, indent=1)
            file.write("\n")
    return 0


def numbers(text):
    return [int(word) for word in text.split(",")]


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build")
    build.add_argument("--tools", required=True, help="folder of moe-import and moe-opt")
    build.add_argument("--out", required=True)
    build.add_argument("--gpus", type=numbers, default=[2, 4, 8])
    build.add_argument("--target", default="cuda", choices=["cuda", "cpu"])
    build.add_argument("--golden-only", action="store_true", help="no layers for timings")
    build.add_argument("--jobs", type=int, default=os.cpu_count())
    there = commands.add_parser("run")
    there.add_argument("folder")
    there.add_argument("--moe-run", required=True)
    there.add_argument("--conformance", help="cuda-conformance: the communicators' suite, and the times of collectives")
    there.add_argument("--gpus", type=int, required=True, help="how many, or how many ranks share one")
    there.add_argument("--share", action="store_true", help="all ranks on one GPU; nothing is timed")
    there.add_argument("--comm", default="nccl", choices=["nccl", "mpi"], help="mpi: artifacts for cpu")
    there.add_argument("--json", required=True)
    there.add_argument("--at-once", type=int, help="golden cases at the same time")
    there.add_argument("--limit", type=float, default=60, help="seconds of one job")
    there.add_argument("--seconds", type=float, default=330, help="after which no further case begins")
    there.add_argument("--tokens", type=numbers, default=list(timings.TOKENS), help="a rank, in timings")
    for one in (build, there):
        one.add_argument("--golden", required=True)
        one.add_argument("--only", default="", help="cases whose name matches this expression")
    show = commands.add_parser("table")
    show.add_argument("result")
    show.add_argument("--machine")
    options = parser.parse_args()
    jobs.end_with_me()
    if options.command == "run" and not options.at_once:
        options.at_once = max(1, min(8, os.cpu_count() // (2 * options.gpus)))
    return {"build": cases.build, "run": run, "table": table}[options.command](options)


if __name__ == "__main__":
    sys.exit(main())
