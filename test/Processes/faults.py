"""faults.py --tools BIN --work FOLDER [--only TEXT]: what a user sees when a process dies, stops, hangs or is given other files than the rest,
under each MPI; and the same faults in one process. Every message is asserted, and that all ends within 10 s with nothing partial left."""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
import numpy as np  # noqa: E402
from jobs import Failed, Job, has_met, launchers  # noqa: E402
from instrumented import sanitizer, scaled, with_options  # noqa: E402

LIMIT = 10


class Faults:
    def __init__(self, tools, work):
        self.run = os.path.join(tools, "moe-run")
        self.faulty = os.path.join(tools, "moe-run-faulty")
        self.work = work
        shutil.rmtree(work, ignore_errors=True)
        subprocess.run([os.path.join(tools, "make-test-artifact"), work, "4"], check=True)
        np.save(os.path.join(work, "x.npy"), np.ones((10, 4), np.float32))
        np.save(os.path.join(work, "mode.npy"), np.zeros(3, np.int32))
        os.symlink("/dev/full", os.path.join(work, "full.safetensors"))
        shutil.copytree(os.path.join(work, "checkpoint"), os.path.join(work, "other"))
        with open(os.path.join(work, "other", "model.safetensors"), "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x43")

    def scale(self, *more, program=None, weights="checkpoint"):
        return [program or self.run, "layer.moe", "--function=scale", "--weights", weights, "--input", "x=@x.npy", *more]

    def job(self, command, extra=()):
        return Job(command, self.work, extra)

    def struck(self, mpi, rank, kind, *texts):
        """A long job, one process of which is struck; `texts` are expected, with the process's number in place of PID."""
        launcher, variable = launchers()[mpi]
        job = self.job([launcher, "-n", "4", *self.scale("--repeat", "1000000", "--threads", "1")])
        for _ in range(int(scaled(600))):
            found = job.ranks(self.run, variable)
            if len(found) == 4 and all(has_met(pid) for pid in found.values()):
                break
            time.sleep(0.05)
        else:
            job.process.kill()
            raise Failed(f"{mpi}: there are {len(found)} processes of 4")
        time.sleep(0.5)  # until they run
        os.kill(found[rank], kind)
        begin = time.time()
        job.expect(None, *[text.replace("PID", str(found[rank])) for text in texts])
        if time.time() - begin > scaled(LIMIT):
            raise Failed(f"{mpi}: all ended {time.time() - begin:.1f} s after rank {rank} was struck, at most {scaled(LIMIT)} s are allowed")
        for _ in range(int(scaled(50))):
            if not job.ranks(self.run, variable):
                return
            time.sleep(0.1)
        raise Failed(f"{mpi}: processes are left: {job.ranks(self.run, variable)}")

    def each_with_own(self, mpi, last, *texts, seconds=60):
        """Three processes with the usual arguments and a last one with others."""
        launcher, _ = launchers()[mpi]
        job = self.job([launcher, "-n", "3", *self.scale(), ":", "-n", "1", *last])
        job.expect(None, *texts, seconds=seconds)

    def left_over(self):
        return [name for name in os.listdir(self.work) if "tmp-" in name or name.startswith("out")]

    # In one process.

    def test_local_failure(self):
        self.job(self.scale(program=self.faulty), {"MOERT_FAULT": "2:1:fail"}).expect(2, "error: rank 2: a fault on purpose")

    def test_local_stall(self):
        job = self.job(self.scale("--timeout=1", "--output", "y=out.safetensors", program=self.faulty), {"MOERT_FAULT": "2:1:stall"})
        job.expect(2, "all_reduce on group 0 waited 1 s: rank 2 is in no collective; the program of this process hangs", seconds=LIMIT)
        assert not self.left_over(), self.left_over()

    def test_local_stall_of_the_first(self):
        job = self.job(self.scale("--timeout=1", program=self.faulty), {"MOERT_FAULT": "0:1:stall"})
        job.expect(2, "waited 1 s: rank 0 is in no collective; the program of this process hangs", seconds=LIMIT)

    def test_faults_are_not_for_users(self):
        self.job(self.scale(), {"MOERT_FAULT": "2:1:fail"}).expect(2, "error: the environment variable MOERT_FAULT is unknown")

    def test_disk_full(self):
        self.job(self.scale("--output", "y=full.safetensors")).expect(2, "error: cannot write 'full.safetensors': No space left on device")

    def test_unreadable_weights(self):
        self.job(self.scale(weights="none")).expect(2, "error: --weights: cannot read 'none': No such file or directory")

    def test_arena_too_large(self):
        arguments = ["layer.moe", "--function=misbehave", "--input", "mode=@mode.npy", "--max-tokens", "4294967296"]
        self.with_gigabytes(8, [self.run, *arguments]).expect(2, "error: rank 0: cannot allocate 42949673984 bytes for the arena")

    def with_gigabytes(self, most, command, launcher=()):
        """Starts a command with less memory than it asks for. Sanitizers map more than any limit, so they are told to give no more."""
        if name := sanitizer(command[0]):
            return Job([*launcher, *command], self.work, with_options(name, f"max_allocation_size_mb={most * 1000}:fast_unwind_on_malloc=0"))
        return self.job([*launcher, "sh", "-c", f"ulimit -v {most * 1000000}; exec " + " ".join(command)])

    def on_small_disk(self, command):
        """Runs a command where `small` is a file system of 16 KiB; what is left in it is listed at the end."""
        os.makedirs(os.path.join(self.work, "small"), exist_ok=True)
        script = "mount -t tmpfs -o size=16k none small || exit 77; " + " ".join(command) + "; code=$?; echo left: $(ls -A small); exit $code"
        return self.job(["unshare", "--mount", "--map-root-user", "sh", "-c", script])

    def test_disk_full_while_writing(self):
        np.save(os.path.join(self.work, "many.npy"), np.ones((4096, 4), np.float32))
        command = [self.run, "layer.moe", "--function=scale", "--weights", "checkpoint", "--input", "x=@many.npy", "--output", "y=small/y.safetensors"]
        job = self.on_small_disk(command)
        if job.wait() in (1, 77) and "left:" not in job.output:
            print(f"   not tested, for no file system can be mounted here: {job.output.strip()}")
            return
        assert "error: cannot write 'small/y.safetensors': No space left on device" in job.output, job.output
        assert job.process.returncode == 2 and "left:\n" in job.output + "\n", job.output
        for flag, name in (("--trace", "trace.json"), ("--record-routing", "routing.safetensors")):
            job = self.on_small_disk([*command[:-2], "--repeat=40", flag, f"small/{name}"])
            job.expect(2, f"error: cannot write 'small/{name}': No space left on device", "left:\n")

    def test_damaged_weights(self):
        shutil.copytree(os.path.join(self.work, "checkpoint"), os.path.join(self.work, "cut"))
        path = os.path.join(self.work, "cut", "model.safetensors")
        os.truncate(path, os.path.getsize(path) - 4)
        self.job(self.scale(weights="cut")).expect(2, "error: --weights: 'cut/model.safetensors': ")

    # In several.

    def mpi_disk_full(self, mpi):
        launcher, _ = launchers()[mpi]
        job = self.job([launcher, "-n", "4", *self.scale("--output", "y=full.safetensors")])
        job.expect(None, "error: rank 0: cannot write 'full.safetensors': No space left on device", seconds=60)

    def mpi_arena_too_large(self, mpi):
        launcher, _ = launchers()[mpi]
        arguments = ["layer.moe", "--function=misbehave", "--input", "mode=@mode.npy", "--max-tokens", "4294967296"]
        job = self.with_gigabytes(20, [self.run, *arguments], [launcher, "-n", "4"])
        job.expect(None, "cannot allocate 42949673984 bytes for the arena", seconds=60)

    def mpi_damaged_weights(self, mpi):
        folder = os.path.join(self.work, "cut " + mpi)
        shutil.copytree(os.path.join(self.work, "checkpoint"), folder)
        path = os.path.join(folder, "model.safetensors")
        os.truncate(path, os.path.getsize(path) - 4)
        self.each_with_own(mpi, self.scale(weights=f"cut {mpi}"), f"rank 3 failed: 'cut {mpi}/model.safetensors': ")

    def mpi_killed(self, mpi):
        # MPICH's launcher may kill the others before rank 0 has written who died, whatever its options (docs/Running.md).
        texts = ["rank 2 failed: process PID on ", " is gone: it was killed, crashed or lost its connection"] if mpi != "mpich" else []
        self.struck(mpi, 2, signal.SIGKILL, *texts)

    def mpi_stopped(self, mpi):
        self.struck(mpi, 2, signal.SIGSTOP, "rank 2 failed: process PID on ", " has given no sign of life for 5 s: it is stopped")

    def mpi_first_stopped(self, mpi):
        self.struck(mpi, 0, signal.SIGSTOP, "ended because rank 0 failed: process PID on ", " has given no sign of life for 5 s")

    def mpi_failure(self, mpi):
        launcher, _ = launchers()[mpi]
        job = self.job([launcher, "-n", "4", *self.scale(program=self.faulty)], {"MOERT_FAULT": "2:1:fail"})
        job.expect(None, "rank 2 failed: a fault on purpose", seconds=60)

    def mpi_stall(self, mpi):
        launcher, _ = launchers()[mpi]
        job = self.job([launcher, "-n", "4", *self.scale("--timeout=1", "--output", "y=out.safetensors", program=self.faulty)],
                       {"MOERT_FAULT": "2:1:stall"})
        job.expect(None, "all_reduce on group 0 waited 1 s: rank 2 is in no collective", seconds=60)
        assert not self.left_over(), self.left_over()

    def mpi_other_program(self, mpi):
        self.each_with_own(mpi, self.scale("--max-tokens", "12"), "rank 3 has another program than rank 0: 'layer.moe' with function `scale` "
                           "for 12 tokens (", ") instead of 'layer.moe' with function `scale` for 10 tokens (")

    def mpi_other_weights(self, mpi):
        self.each_with_own(mpi, self.scale(weights="other"), "--weights: rank 3 has another checkpoint than rank 0: 'other' (",
                           ") instead of 'checkpoint' (")

    def mpi_unreadable_weights(self, mpi):
        self.each_with_own(mpi, self.scale(weights="none"), "rank 3 failed: cannot read 'none': No such file or directory")

    def mpi_too_few(self, mpi):
        launcher, _ = launchers()[mpi]
        self.job([launcher, "-n", "2", *self.scale()]).expect(None, "the artifact is for 4 ranks, MPI's world (", ") has 2 processes; start it "
                                                              "with mpirun -n 4", seconds=60)

    def test_torchrun(self):
        """torchrun's variables: each process is an MPI world of its own."""
        variables = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1",
                     "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True"}
        self.job(self.scale(), variables).expect(2, "error: 4 processes were started (by torchrun), but no communicator for several processes fits")
        self.job(self.scale("--comm=mpi"), variables).expect(2, "error: rank 1: the artifact is for 4 ranks, MPI's world (", ") has 1 process")
        self.job(self.scale("--comm=local"), variables).expect(0, "`scale`: 4 ranks of")

    def tests(self):
        for name in dir(self):
            if name.startswith("test_"):
                yield name[5:], getattr(self, name)
            if name.startswith("mpi_"):
                for mpi in launchers():
                    yield f"{name[4:]} {mpi}", lambda name=name, mpi=mpi: getattr(self, name)(mpi)


def main():
    parser = argparse.ArgumentParser()
    for flag in ("--tools", "--work"):
        parser.add_argument(flag, required=True, type=os.path.abspath)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    faults = Faults(options.tools, os.path.join(options.work, "faults"))
    done = failed = 0
    for name, test in faults.tests():
        if options.only not in name:
            continue
        done += 1
        try:
            begin = time.time()
            test()
            print(f"ok {name} ({time.time() - begin:.1f} s)", flush=True)
        except (Failed, AssertionError):
            failed += 1
            print(f"FAILED {name}: {traceback.format_exc()}", flush=True)
    print(f"faults: {done - failed} of {done} passed under {', '.join(launchers()) or 'no MPI'}")
    sys.exit(1 if failed or not done else 0)


if __name__ == "__main__":
    main()
