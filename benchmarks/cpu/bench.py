"""bench.py LAYER DTYPE --json OUT [--tokens 1,16,64,256,1024] [--threads 2] [--go FILE]: times one layer, ours and its peers.

All run in this process, by turns, each round with other inputs; the machine's limits are measured in each round. With --go everything is
prepared, by one thread, then the clock waits until FILE exists: prepare on a busy machine, and time when it is quiet.
"""
import argparse
import json
import os
import platform
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


def rounds_of(tokens):
    return 15 if tokens <= 64 else 7


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


class Case:
    """A number of tokens: inputs of all rounds, and who takes part."""

    def __init__(self, peers, ours, contenders, tokens):
        self.peers, self.tokens = peers, tokens
        self.inputs = [peers.inputs(tokens) for _ in range(rounds_of(tokens))]
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

    def work(self, which):
        """Operations, and bytes of the weights of experts that have tokens."""
        one = 3 * self.peers.hidden * self.peers.inner
        hit = len(torch.unique(self.inputs[which][1]))
        return 2 * self.tokens * self.peers.k * one, hit * one * self.peers.dtype.itemsize

    def measure(self, limits):
        names = ["ours", *self.calls]
        seconds, bandwidths, speeds = {name: [] for name in names}, [], []
        # Until OpenMP's workers of the last contender sleep: they look for work for some milliseconds, on a processor that the next one needs.
        pause = 0.05
        # Who needs seconds a call, for want of code for the processor, has few rounds, or none but this.
        rounds = {}
        for name in names:
            first = timed(self.call(name, 0))
            rounds[name] = min(len(self.inputs), int(10 / first))
            if rounds[name] == 0:
                seconds[name].append(first)
        others, start = busy_elsewhere()
        for which in range(len(self.inputs)):
            time.sleep(pause)
            bandwidths.append(limits.bandwidth())
            speeds.append(limits.flops(options.dtype))
            turn = which % len(names)
            for name in names[turn:] + names[:turn]:
                if which < rounds[name]:
                    call = self.call(name, which)
                    time.sleep(pause)
                    seconds[name].append(timed(call))
        others_end, end = busy_elsewhere()
        # Others can only lower them.
        bandwidth, speed = statistics.quantiles(bandwidths, n=4)[2], max(speeds)
        floors = [(flops / speed, size / bandwidth) for flops, size in map(self.work, range(len(self.inputs)))]
        floor = statistics.median(max(pair) for pair in floors)
        return {"layer": options.layer, "dtype": options.dtype, "tokens": self.tokens, "rounds": len(self.inputs),
                "fewer_rounds": {name: len(values) for name, values in seconds.items() if len(values) < len(self.inputs)},
                "bandwidth_gb": round(bandwidth / 1e9, 2), "gflops": round(speed / 1e9, 1), "floor_ms": round(floor * 1e3, 4),
                "bound": "flops" if statistics.median(a - b for a, b in floors) > 0 else "memory",
                "others_cpu": round((others_end - others) / (end - start), 3),
                "ms": {name: round(statistics.median(values) * 1e3, 4) for name, values in seconds.items()},
                "least_ms": {name: round(min(values) * 1e3, 4) for name, values in seconds.items()}}


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
    limits.bandwidth()
    cases = [Case(peers, ours, contenders, n) for n in tokens]
    print(f"{options.layer} {options.dtype} is prepared", flush=True)
    while options.go and not os.path.exists(options.go):
        time.sleep(0.05)
    torch.set_num_threads(options.threads)
    settle()
    report = {"processor": processor(), "kernel": platform.release(), "threads": options.threads, "torch": torch.__version__,
              "transformers": transformers.__version__, "cases": []}
    for case in cases:
        report["cases"].append(case.measure(limits))
        print(json.dumps(report["cases"][-1]), flush=True)
    with open(options.json, "w") as file:
        json.dump(report, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    sys.exit(main())
