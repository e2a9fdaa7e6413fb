"""trace.py --tools BIN --work FOLDER: the trace of a job of several processes is one file with all of them, under each MPI."""
import os
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
import numpy as np  # noqa: E402
from jobs import Job, launchers, tools_and_work  # noqa: E402
from trace_check import check  # noqa: E402


def main():
    tools, work = tools_and_work()
    work = os.path.join(work, "trace")
    shutil.rmtree(work, ignore_errors=True)
    subprocess.run([os.path.join(tools, "make-test-artifact"), work, "4"], check=True)
    np.save(os.path.join(work, "x.npy"), np.ones((10, 4), np.float32))
    assert launchers(), "no MPI is installed"
    for name, (launcher, _) in launchers().items():
        Job([launcher, "-n", "4", os.path.join(tools, "moe-run"), "layer.moe", "--function=scale", "--weights", "checkpoint", "--input", "x=@x.npy",
             "--threads=2", "--repeat=5", f"--trace={name}.json", f"--json={name}.stats"], work).expect(0, "5 runs gave the same bits")
        check(*(os.path.join(work, file) for file in (f"{name}.json", f"{name}.stats", "layer.moe")), processes=4)
        assert not [file for file in os.listdir(work) if "tmp-" in file]


if __name__ == "__main__":
    main()
