"""Starts a job of several processes on this machine and waits for it."""
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

LAUNCHERS = ("OMPI_", "PMI", "SLURM_", "RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "TORCHELASTIC_")
# Ranks that share a GPU look like ranks on hosts of their own. It is the first of those that this script may use.
SHARED = {"NCCL_SOCKET_IFNAME": "lo", "NCCL_IB_DISABLE": "1", "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}
_ports, _running, _lock = set(), set(), threading.Lock()


def end_with_me():
    """Jobs do not outlive this script when it is told to end."""
    def stop(number, _):
        for process in list(_running):
            end(process)
        os._exit(128 + number)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def end(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def free_port():
    """A port that no other job of this script was given."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with _lock:
            if port not in _ports:
                _ports.add(port)
                return port


def find_nccl():
    """NCCL as Python's packages bring it, where the variable does not say."""
    for folder in sys.path:
        for path in glob.glob(os.path.join(folder, "nvidia", "*", "lib", "libnccl.so.2")):
            return path
    return None


def environment(shares_gpu=False):
    """Without what other launchers leave. Multicast is of no use to sends and receives."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHERS)}
    clean["NCCL_NVLS_ENABLE"] = "0"
    if "MOERT_NCCL_LIB" not in clean and (library := find_nccl()):
        clean["MOERT_NCCL_LIB"] = library
    if shares_gpu:
        clean.update(SHARED)
    return clean


class Failed(Exception):
    pass


def run(command, ranks, comm, seconds, shares_gpu=False):
    """What rank 0 printed, or Failed with what went wrong. `comm`: nccl, mpi or local (one process with all ranks)."""
    base = environment(shares_gpu)
    if comm == "local":
        return wait([start(command, base)], seconds)
    if comm == "mpi":
        launcher = shutil.which("mpirun.openmpi")
        if not launcher:
            raise Failed("there is no mpirun.openmpi")
        base.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1")
        if "ASAN_OPTIONS" in base:  # leaks of the MPI are known by whole stacks (test/sanitizers/lsan.supp)
            base["ASAN_OPTIONS"] += ":fast_unwind_on_malloc=0"
        return wait([start([launcher, "-n", str(ranks), *command], base)], seconds)
    base.update(WORLD_SIZE=str(ranks), LOCAL_WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
    own = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]
    if shares_gpu:
        for rank, variables in enumerate(own):
            variables["NCCL_HOSTID"] = f"shared-{base['MASTER_PORT']}-{rank}"
    return wait([start(command, {**base, **variables}) for variables in own], seconds)


def start(command, variables):
    output = tempfile.TemporaryFile(mode="w+")
    process = subprocess.Popen(command, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    _running.add(process)
    return process, output


def wait(started, seconds):
    deadline = time.monotonic() + seconds
    late = False
    for process, _ in started:
        try:
            process.wait(max(deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            late = True
            break
    for process, _ in started:
        if process.poll() is None:
            end(process)
            process.wait()
        _running.discard(process)
    texts = []
    for _, output in started:
        output.seek(0)
        texts.append(output.read())
        output.close()
    codes = [process.returncode for process, _ in started]
    if late or any(codes):
        raise Failed((f"no end after {seconds:.0f} s" if late else f"exit codes {codes}") + "\n" + complaint(texts))
    return texts[0]


def complaint(texts):
    """The first test that failed, or what was called an error, or the end."""
    for text in texts:
        if (at := text.find(": Failure\n")) >= 0:
            return text[max(0, at - 150):at + 1200]
    said = [line for text in texts for line in text.splitlines() if "error" in line.lower()]
    return "\n".join(said or texts[0].splitlines())[-1500:]
