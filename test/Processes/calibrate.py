"""calibrate.py --tools BIN --work FOLDER: moe-run calibrate on three processes under each MPI; its file says what it is and plans a layer."""
import json
import os
import sys

sys.dont_write_bytecode = True
from jobs import Failed, Job, launchers, tools_and_work  # noqa: E402

LAYER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Analysis", "Inputs", "mixtral.mlir")


def check(tools, work, name, launcher):
    output = os.path.join(work, f"machine-{name}.json")
    command = [launcher, "-n", "3", os.path.join(tools, "moe-run"), "calibrate", "--comm=mpi", "-o", output]
    Job(command, work).expect(0, "3 ranks that are processes, communicator mpi, device cpu", "all_to_all: ", "left out: efficiency of products")
    with open(output) as file:
        machine = json.load(file)
    if machine["domain"]["devices"] != 3 or "communicator mpi" not in machine["sources"]["collectives"]["source"]:
        raise Failed(f"{name}: {machine}")
    opt = os.path.join(tools, "moe-opt")
    if os.path.exists(opt):
        Job([opt, LAYER, "--compile-to=placed", f"--place=machine={output} tokens=64", "-o", os.devnull], work).expect(0, "plan for 3 ranks of calibrated", "winner")
    Job([*command, "--ranks=2"], work).expect(None, "--ranks is 2, but 3 processes were started")


def main():
    tools, work = tools_and_work()
    if not launchers():
        sys.exit("calibrate: no MPI is installed")
    for name, (launcher, _) in launchers().items():
        try:
            check(tools, work, name, launcher)
        except Failed as failure:
            sys.exit(f"calibrate: {failure}")
        print(f"calibrate: {name} holds")


if __name__ == "__main__":
    main()
