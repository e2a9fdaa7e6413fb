"""Builds kernel variants and reads ptxas' report: no stack frame, no spill, no serialised wgmma.

Reads variants from standard input, one a line: a kernel and its settings.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

CLEAN = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"


def find_ptxas():
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    folders = [os.path.join(os.environ.get("CUDA_HOME", ""), "bin"), os.path.join(data, "moe-mlir", "cuda", "bin")]
    return shutil.which("ptxas") or next(found for folder in folders if (found := shutil.which("ptxas", path=folder)))


def main():
    failures = 0
    for line in sys.stdin:
        settings = line.split()
        if not settings:
            continue
        with tempfile.TemporaryDirectory() as folder:
            ptx = os.path.join(folder, "kernel.ptx")
            subprocess.run(["moe-test-kernels", *settings, "emit=ptx", f"out={ptx}"], check=True)
            command = [find_ptxas(), "-arch=sm_90a", "-v", "-O3", ptx, "-o", ptx + ".cubin"]
            run = subprocess.run(command, capture_output=True, text=True)
        report = run.stdout + run.stderr
        registers = re.search(r"Used (\d+) registers", report)
        problems = []
        if run.returncode or not registers:
            problems.append("ptxas failed")
        if CLEAN not in report:
            problems.append("stack frame or spill")
        if re.search(r"\blmem\b|warning|C75\d\d", report):
            problems.append("local memory or a warning")
        print("BAD " if problems else "ok  ", line.strip(), "; ".join(problems))
        if problems:
            print(report)
            failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
