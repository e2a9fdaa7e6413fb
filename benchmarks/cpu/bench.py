"""bench.py LAYER DTYPE --json OUT [--tokens 1,16,64,256,1024] [--threads 2] [--go FILE]: times one layer, ours and its peers.

All run in this process, by turns, each round with other inputs. Memory is read directly before and after each call, and the call's floor
is that of the faster of these readings: what memory gives may change within milliseconds. With --go everything is prepared, by one thread,
then the clock waits until FILE exists: prepare on a busy machine, and time when it is quiet.
"""
import argparse
import json
import os
import platform
import re
import statistics
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("layer", choices=["mix", "qwen"])
parser.add_argument("dtype", choices=["f32", "bf16"])
parser.add_argument("--json", required=True)
parser.add_argument("--tokens", default="1,16,64,256,1024")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--go")
parser.add_argument("--only", help="contenders beside ours, by commas")
options = parser.parse_args()
os.environ.update(OMP_NUM_THREADS=str(options.threads), MKL_NUM_THREADS=str(options.threads))
import torch  # noqa: E402  (reads the number of threads)
import torch._inductor.config  # noqa: E402
import transformers  # noqa: E402
from layer import WORK, Layer, Limits  # noqa: E402
from peers import LAYERS, Peers  # noqa: E402


LEAST_ROUNDS, MOST_ROUNDS, SECONDS = 7, 45, 10  # a case has as many rounds as it begins within these seconds
PAUSE = 0.05  # until OpenMP's workers of the last contender sleep: they look for work for some milliseconds, on a processor that the next one needs


def timed(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def busy_elsewhere():
    """Seconds of processor time that all others have used, and the time."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, soft, steal = map(int, file.readline().split()[1:9])
    mine = os.times()
    return (user + nice + system + irq + soft + steal) / 100 - mine.user - mine.system, time.time()


def settle():
    """Until others leave the processors alone, at most 20 s: a run before this one, or what compiled the contenders, may still be ending."""
    for _ in range(100):
        others, start = busy_elsewhere()
        time.sleep(0.2)
        others_end, end = busy_elsewhere()
        if others_end - others < 0.05 * (end - start):
            return


def sample(limits, call):
    """Seconds of a call, and what memory gives directly before and after it."""
    time.sleep(PAUSE)
    before = limits.bandwidth()
    seconds = timed(call)
    return seconds, before, limits.bandwidth()


class Case:
    """A number of tokens: inputs of all rounds, and who takes part."""

    def __init__(self, peers, ours, contenders, tokens):
        self.peers, self.tokens = peers, tokens
        self.inputs = [peers.inputs(tokens) for _ in range(MOST_ROUNDS)]
        self.bound = [ours.bind(*inputs) for inputs in self.inputs]
        gathered = tokens * peers.k * 3 * peers.hidden * peers.inner * peers.dtype.itemsize
        self.calls = {name: call for name, (call, most) in contenders.items() if gathered <= most}
        self.check()

    def call(self, name, which):
        return self.bound[which] if name == "ours" else lambda: self.calls[name](*self.inputs[which])

    def check(self):
        """Also compiles what is compiled."""
        expected = self.peers.as_transformers("eager")(*self.inputs[0]).float()
        for name in ["ours", *self.calls]:
            error = ((self.call(name, 0)().float() - expected).norm() / expected.norm()).item()
            limit = 1e-4 if self.peers.dtype == torch.float32 else 3e-2
            assert error < limit, f"{name}, {self.tokens} tokens: relative error {error}, at most {limit} is expected"

    def operations(self):
        return 6 * self.tokens * self.peers.k * self.peers.hidden * self.peers.inner

    def bytes(self, which):
        """Of the weights of experts that have tokens."""
        hit = len(torch.unique(self.inputs[which][1]))
        return hit * 3 * self.peers.hidden * self.peers.inner * self.peers.dtype.itemsize

    def warm(self, name):
        """Seconds of a call, once its memory has been touched lately."""
        start = time.perf_counter()
        for which in range(MOST_ROUNDS):
            seconds = timed(self.call(name, which))
            if time.perf_counter() - start > 1:
                break
        return seconds

    def measure(self, limits):
        names = ["ours", *self.calls]
        samples, readings, speeds = {name: [] for name in names}, [], []
        limits.choose_way()
        # Who needs seconds a call, for want of code for the processor, has few rounds.
        rounds = {name: max(1, int(10 / self.warm(name))) for name in names}
        others, start = busy_elsewhere()
        for which in range(MOST_ROUNDS):
            if which >= LEAST_ROUNDS and time.time() - start > SECONDS:
                break
            speeds.append(limits.flops(options.dtype))
            # What the measure makes of a call that is as fast as memory: a third reading in its place, of as many bytes.
            time.sleep(PAUSE)
            readings.append((limits.bandwidth(), limits.bandwidth(self.bytes(which)), limits.bandwidth()))
            turn = which % len(names)
            for name in names[turn:] + names[:turn]:
                if which < rounds[name]:
                    samples[name].append(sample(limits, self.call(name, which)))
        others_end, end = busy_elsewhere()
        report = {"layer": options.layer, "dtype": options.dtype, "tokens": self.tokens, "rounds": len(readings), "reading": limits.way,
                  "others_cpu": round((others_end - others) / (end - start), 3)}
        return report | self.statistics(samples, readings, speeds)

    def statistics(self, samples, readings, speeds):
        """Others can only lower a speed: the larger of two readings is nearer to what memory gives, and the largest speed of all is the unit's."""
        ours, speed, median = samples["ours"], max(speeds), statistics.median
        memory = [self.bytes(which) / max(before, after) for which, (_, before, after) in enumerate(ours)]
        floors = [max(self.operations() / speed, value) for value in memory]
        milliseconds = {name: [value[0] * 1e3 for value in values] for name, values in samples.items()}
        gb = lambda values: [round(value / 1e9, 2) for value in values]
        return {"fewer_rounds": {name: len(values) for name, values in samples.items() if len(values) < len(readings)},
                "bandwidth_gb": round(median(max(pair) for _, *pair in ours) / 1e9, 2), "gflops": round(speed / 1e9, 1),
                "floor_ms": round(median(floors) * 1e3, 4), "bound": "flops" if median(floors) > median(memory) else "memory",
                "over_floor": round(median(value[0] / floor for value, floor in zip(ours, floors)), 4),
                "reading_over_floor": round(median(max(before, after) / between for before, between, after in readings), 4),
                "ms": {name: round(median(values), 4) for name, values in milliseconds.items()},
                "least_ms": {name: round(min(values), 4) for name, values in milliseconds.items()},
                "gflop": self.operations() / 1e9, "megabytes": [self.bytes(which) / 1e6 for which in range(len(readings))],
                "samples": {name: [[round(seconds * 1e3, 4), *gb(pair)] for seconds, *pair in values] for name, values in samples.items()},
                "readings": list(map(gb, readings)), "speeds": gb(speeds)}


def processor():
    with open("/proc/cpuinfo") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return {key: fields[key + "\t" if key + "\t" in fields else key + "\t\t"].strip() for key in ("model name", "cpu family", "model")}


def main():
    torch._inductor.config.cpp.threads = options.threads
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    tokens = [int(n) for n in options.tokens.split(",")]
    peers = Peers(options.layer, {"f32": torch.float32, "bf16": torch.bfloat16}[options.dtype])
    experts, _, hidden, inner = LAYERS[options.layer]
    artifact = os.path.join(WORK, f"{options.layer}-{options.dtype}.moe")
    ours = Layer(artifact, options.threads, max(tokens), peers.up.view(experts, 2, inner, hidden), peers.down)
    contenders = peers.contenders()
    if options.only is not None:
        contenders = {name: call for name, call in contenders.items() if name in options.only.split(",")}
    limits = Limits(options.threads)
    cases = [Case(peers, ours, contenders, n) for n in tokens]
    print(f"{options.layer} {options.dtype} is prepared", flush=True)
    while options.go and not os.path.exists(options.go):
        time.sleep(0.05)
    torch.set_num_threads(options.threads)
    settle()
    report = {"processor": processor(), "kernel": platform.release(), "threads": options.threads, "torch": torch.__version__,
              "transformers": transformers.__version__, "cases": []}
    # The largest first: by then all weights have been read lately. A host may take its time to fetch memory that was not touched for a minute.
    for case in sorted(cases, key=lambda case: -case.tokens):
        report["cases"].insert(0, case.measure(limits))
        print(json.dumps({key: value for key, value in report["cases"][0].items() if not isinstance(value, list) and key != "samples"}), flush=True)
    with open(options.json, "w") as file:
        # Lists of numbers on one line.
        file.write(re.sub(r"\[[^][{}]*\]", lambda numbers: " ".join(numbers[0].split()), json.dumps(report, indent=1)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
