"""Jobs of several processes, as a launcher starts them."""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sanitizers"))
from instrumented import scaled, with_options  # noqa: E402

LAUNCHER_WORDS = ("OMPI_", "PMI", "SLURM_", "MOERT_", "RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "TORCHELASTIC_")


def environment(extra=()):
    """Without what launchers of our own leave; as root on few cores."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHER_WORDS)}
    clean.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1")
    # Leaks of the MPIs are known by whole stacks (test/sanitizers/lsan.supp).
    clean.update(with_options("asan", "fast_unwind_on_malloc=0"))
    clean.update(extra)
    return clean


class Failed(Exception):
    pass


class Job:
    """A command with its output, and the processes that it started."""

    def __init__(self, command, cwd, extra=()):
        self.command = command
        self.begin = time.time()
        self.mark = f"JOB_OF_TEST={os.getpid()}-{id(self)}-{self.begin}"
        variables = {**environment(extra), **dict([self.mark.split("=")])}
        self.process = subprocess.Popen(command, cwd=cwd, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def wait(self, seconds=120):
        seconds = scaled(seconds)
        try:
            self.output = self.process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGTERM)
            try:
                output = self.process.communicate(timeout=5)[0]
            except subprocess.TimeoutExpired:
                self.process.kill()
                output = self.process.communicate()[0]
            raise Failed(f"still running after {seconds} s: {' '.join(self.command)}\n{output}")
        self.seconds = time.time() - self.begin
        return self.process.returncode

    def expect(self, code, *texts, seconds=120):
        """The exit code (None: any but 0), and texts in the output."""
        found = self.wait(seconds)
        good = found != 0 if code is None else found == code
        missing = [text for text in texts if text not in self.output]
        if not good or missing:
            raise Failed(f"exit {found} of {' '.join(self.command)}\nmissing: {missing}\n{self.output}")

    def ranks(self, program, variable):
        """rank -> pid of this job's running processes of a program, by a launcher's variable; other jobs may run it as well."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                if os.path.realpath(f"/proc/{entry}/exe") != os.path.realpath(program):
                    continue
                with open(f"/proc/{entry}/environ", "rb") as file:
                    items = file.read().split(b"\0")
            except OSError:
                continue
            if self.mark.encode() not in items:
                continue
            for item in items:
                if item.startswith(variable.encode() + b"="):
                    found[int(item.split(b"=")[1])] = int(entry)
        return found


def has_met(pid):
    """Whether a process has joined the others of its job: a thread of its own serves them then."""
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/comm") as file:
                if file.read().strip() == "moert meeting":
                    return True
    except OSError:
        pass
    return False


def tools_and_work():
    """Of the command line: --tools BIN --work FOLDER."""
    parser = argparse.ArgumentParser()
    for flag in ("--tools", "--work"):
        parser.add_argument(flag, required=True, type=os.path.abspath)
    options = parser.parse_args()
    return options.tools, options.work


def launchers():
    """MPIs that are installed: name -> (launcher, the variable of a process's rank)."""
    variables = {"openmpi": "OMPI_COMM_WORLD_RANK", "mpich": "PMI_RANK"}
    return {name: (shutil.which(f"mpirun.{name}"), variable) for name, variable in variables.items() if shutil.which(f"mpirun.{name}")}
