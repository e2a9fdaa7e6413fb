"""matrix.py --tools BIN --golden FOLDER --work FOLDER [--quick] [--only TEXT]: every golden family and MoE layer through layouts, from the
checkpoint to the ranks' result, against transformers' numbers; then the edge cases against the NumPy reference; then every phase saved and
resumed. --quick takes one layer of each family and a few layouts. Exits non-zero and names each failure with the commands that repeat it."""
import argparse
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.dont_write_bytecode = True
from chain import Chain, Failure, check_close, check_same_bits  # noqa: E402
import edges  # noqa: E402
import layouts  # noqa: E402
import numpy as np  # noqa: E402
import payload  # noqa: E402
import rules  # noqa: E402
import safetensors  # noqa: E402
from families import Checkpoint  # noqa: E402

FAMILIES = ["mixtral", "qwen3_moe", "qwen2_moe", "olmoe", "deepseek_v3", "gpt_oss"]
PHASES = ["placed", "sharded", "scheduled", "lowered"]


class Case:
    """One layer of one golden checkpoint."""

    def __init__(self, options, family, index):
        self.options, self.family, self.index = options, family, index
        self.folder = os.path.join(options.golden, family)
        self.golden_file = os.path.join(self.folder, "golden.safetensors")
        golden = safetensors.read(self.golden_file)
        prefix = f"layers.{index}."
        self.x, self.y, self.ids, self.weights = (golden[prefix + name] for name in ("input", "output", "expert_ids", "expert_weights"))
        self.layer = Checkpoint(self.folder).layer(index)
        self.sizes = layouts.Sizes.of(self.layer)

    def chain(self, name):
        return Chain(self.options.tools, os.path.join(self.options.work, f"{self.family}-{self.index}", name.replace(" ", "_").replace("=", "")))

    def check_layout(self, layout):
        """Against transformers; twice in one session, and with another number of threads: the same bits. What is sent is what was predicted."""
        chain = self.chain(layout.words())
        source = chain.import_layer(self.folder, self.index)
        artifact = chain.compile(source, layout.words())
        x, y = (f"@{self.golden_file}:layers.{self.index}.{name}" for name in ("input", "output"))
        first, routing = chain.run(artifact, self.folder, x, "first", "--expect", f"y={y}", "--rtol", "1e-5", "--repeat", "2", "--threads", "1")
        routing.check(chain, self.ids, self.weights, self.sizes.experts)
        again, _ = chain.run(artifact, self.folder, x, "again", "--threads", "3", "--json", chain.path("stats.json"))
        check_same_bits(chain, "3 threads instead of 1", again, first)
        payload.check(chain, source, layout.words(), f"layer{self.index}", chain.path("routing-again.safetensors"), chain.path("stats.json"))
        shutil.rmtree(chain.folder)

    def check_edge_cases(self, layout):
        chain = self.chain("edges " + layout.words())
        artifact = chain.compile(chain.import_layer(self.folder, self.index), layout.words())
        for name, (x, change) in edges.cases(self.x).items():
            tag = name.replace(" ", "-")
            checkpoint = edges.write_checkpoint(self.folder, chain.path(tag), self.family, self.index, change)
            layer = self.layer if change is None else Checkpoint(checkpoint).layer(self.index)
            np.save(chain.path(tag + ".npy"), x)
            expected, ids, weights = rules.run(layer, x)
            with_name = Chain(chain.tools, chain.folder)
            with_name.commands = [f"# {name}"] + chain.commands
            y, routing = with_name.run(artifact, checkpoint, f"@{chain.path(tag + '.npy')}", tag)
            routing.check(with_name, ids, weights, self.sizes.experts)
            check_close(with_name, "y", y, expected)
        shutil.rmtree(chain.folder)

    def check_phases(self, layout):
        """Each phase, saved, reads back as itself and resumes to the same bytes."""
        chain = self.chain("phases")
        source = chain.import_layer(self.folder, self.index)
        with open(chain.compile(source, layout.words()), "rb") as file:
            expected = file.read()
        for phase in PHASES:
            saved, resumed = chain.path(phase + ".mlir"), chain.path(phase + ".moe")
            chain.call("moe-opt", source, f"--place={layout.words()}", "--target=cpu", f"--compile-to={phase}", "--verify-roundtrip", "-o", saved)
            chain.call("moe-opt", saved, "--compile-to=artifact", "-o", resumed)
            with open(resumed, "rb") as file:
                if file.read() != expected:
                    raise Failure(chain.story(f"resumed from {phase}: another artifact than without saving"))
        shutil.rmtree(chain.folder)

    def jobs(self):
        """name -> function, for each thing to check."""
        quick = self.options.quick
        jobs = {}
        for layout in layouts.few_layouts(self.sizes) if quick else layouts.every_layout(self.sizes):
            jobs[layout.words()] = lambda layout=layout: self.check_layout(layout)
        for layout in edges.LAYOUTS[2:3] if quick else edges.LAYOUTS:
            jobs["edge cases: " + layout.words()] = lambda layout=layout: self.check_edge_cases(layout)
        phases = layouts.Layout(1, 4, 2)
        jobs["phases: " + phases.words()] = lambda: self.check_phases(phases)
        return jobs


def attempt(job):
    name, function = job
    try:
        function()
        return name, None
    except Failure as failure:
        return name, str(failure)


def main():
    parser = argparse.ArgumentParser()
    for flag in ("--tools", "--golden", "--work"):
        parser.add_argument(flag, required=True, type=os.path.abspath)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="run the checks whose name contains this text")
    options = parser.parse_args()
    jobs = []
    for family in FAMILIES:
        moe_layers = Checkpoint(os.path.join(options.golden, family)).moe_layers()
        for index in moe_layers[:1] if options.quick else moe_layers:
            case = Case(options, family, index)
            jobs += [(f"{family} layer {index}: {name}", function) for name, function in case.jobs().items()]
    jobs = [job for job in jobs if options.only in job[0]]
    start, failed = time.time(), 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, failure in pool.map(attempt, jobs):
            if failure:
                failed += 1
                print(f"FAILED {name}\n  {failure}", flush=True)
    print(f"matrix: {len(jobs) - failed} of {len(jobs)} checks passed in {time.time() - start:.0f} s")
    sys.exit(1 if failed or not jobs else 0)


if __name__ == "__main__":
    main()
