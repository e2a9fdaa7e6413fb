"""bench.py --tools BIN --work FOLDER: `moe-run bench` in one process and in several, under each MPI."""
import json
import os
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
from jobs import Job, launchers, tools_and_work  # noqa: E402


def check(command, folder, ranks):
    file = os.path.join(folder, "result.json")
    job = Job([*command, "--tokens", "1,0,7", "--routing", "balanced,zipf", "--sets", "2", "--json", file], folder)
    job.expect(0, f"`scale` on cpu, {ranks} ranks")
    # Only one process speaks.
    assert job.output.count("balanced") == 3 and job.output.count("zipf") == 3, job.output
    with open(file) as text:
        result = json.load(text)
    os.remove(file)
    assert result["ranks"] == ranks and len(result["cases"]) == 6, result
    for case in result["cases"]:
        assert 0 < case["least_seconds"] <= case["seconds"] <= case["most_seconds"], case


def main():
    tools, work = tools_and_work()
    folder = os.path.join(work, "bench")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([os.path.join(tools, "make-test-artifact"), folder, "2"], check=True)
    command = [os.path.join(tools, "moe-run"), "bench", "layer.moe", "--function=scale", "--threads", "1"]
    check(command, folder, 2)
    for launcher, _ in launchers().values():
        check([launcher, "-n", "2", *command], folder, 2)
        Job([launcher, "-n", "1", *command, "--comm=mpi"], folder).expect(None, "the artifact is for 2 ranks, MPI's world (", ") has 1 process")
    print(f"bench: one process, and two under {', '.join(launchers()) or 'no MPI'}")


if __name__ == "__main__":
    main()
