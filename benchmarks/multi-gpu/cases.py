"""What is run on N GPUs, and how it is compiled (no GPU is needed for that)."""
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

FAMILIES = {"mixtral": 0, "qwen2_moe": 0, "qwen3_moe": 0, "deepseek_v3": 1, "gpt_oss": 0, "olmoe": 0}  # and a MoE layer of each
SHAPES = {"deepseek-v3": (256, 8, 7168, 2048), "qwen3-235b": (128, 8, 4096, 1536)}  # experts, of a token, hidden, width
NARROW = 8  # an expert's width where all but its work is measured


@dataclass
class Case:
    kind: str  # "golden", "layer" or "exchange"
    layer: str
    ranks: int
    ep: int
    etp: int
    dispatcher: str
    dedup: bool
    index: int = 0  # of the layer in its checkpoint
    boundary: str = "split"  # replicated: each rank has all tokens, and gets all results

    @property
    def layout(self):
        mesh = f"EP{self.ep}" if self.etp == 1 else f"ETP{self.etp}" if self.ep == 1 else f"EP{self.ep}xETP{self.etp}"
        return f"{mesh} {self.dispatcher}{' once' if self.dedup else ''}{' replicated' if self.boundary == 'replicated' else ''}"

    @property
    def name(self):
        return f"{self.kind}-{self.layer}-{self.layout.replace(' ', '-')}"

    @property
    def place(self):
        return f"ranks={self.ranks} ep={self.ep} etp={self.etp} dispatcher={self.dispatcher} boundary={self.boundary}" + (" dedup=true" if self.dedup else "")


def meshes(ranks):
    """EP, half of it, two and none, the rest tensor parallel."""
    return [(ep, ranks // ep) for ep in sorted({ranks, ranks // 2, min(2, ranks), 1}, reverse=True)]


def golden_cases(ranks):
    ways = [("all_to_all", False), ("all_gather", False), ("all_to_all", True)]
    return [Case("golden", family, ranks, ep, etp, dispatcher, dedup, index) for dispatcher, dedup in ways for ep, etp in meshes(ranks)
            for family, index in FAMILIES.items() if ep > 1 or not dedup]


def timed_cases(ranks):
    replicated = ("all_gather", False, 0, "replicated")
    everywhere = [(ranks, 1, "all_to_all", False), (ranks, 1, "all_to_all", True), (ranks, 1, "all_gather", False), (ranks, 1, *replicated)]
    layers = everywhere + ([(ranks // 2, 2, "all_to_all", False)] if ranks >= 4 else []) + [(1, ranks, "all_gather", False), (1, ranks, *replicated)]
    return [Case(kind, shape, ranks, *how) for kind, ways in (("exchange", everywhere), ("layer", layers)) for shape in SHAPES for how in ways]


def layer_text(case):
    """Of fewer than 8 GPUs each holds what one of 8 would: as many experts a rank, or slices as large."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "gpu"))
    from artifacts import TEMPLATE
    experts, k, hidden, width = SHAPES[case.layer]
    width = NARROW if case.kind == "exchange" else width
    return TEMPLATE.format(name=case.layer, experts=experts * case.ranks // 8, k=k, hidden=hidden, inner=width)


class NotCompiled(Exception):
    pass


def call(command):
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if run.returncode:
        raise NotCompiled("\n".join(line for line in run.stderr.splitlines() if "error" in line) or run.stderr[-500:])


def compile_case(case, options, folder):
    """None, or why the compiler refuses the case."""
    path = os.path.join(folder, case.name)
    tool = lambda name: os.path.join(options.tools, name)
    try:
        if case.kind == "golden":
            call([tool("moe-import"), os.path.join(options.golden, case.layer), f"--layer={case.index}", "--dtype=bf16", "--no-router", "-o", path + ".mlir"])
        else:
            with open(path + ".mlir", "w") as file:
                file.write(layer_text(case))
        call([tool("moe-opt"), path + ".mlir", f"--place={case.place}", f"--target={options.target}", "--compile-to=artifact", "-o", path + ".moe"])
    except NotCompiled as problem:
        return str(problem)
    finally:
        if os.path.exists(path + ".mlir"):
            os.remove(path + ".mlir")
    return None


def build(options):
    for ranks in options.gpus:
        folder = os.path.join(options.out, str(ranks))
        os.makedirs(folder, exist_ok=True)
        cases = golden_cases(ranks) + ([] if options.golden_only else timed_cases(ranks))
        if options.only:
            cases = [case for case in cases if re.search(options.only, case.name)]
        with ThreadPoolExecutor(options.jobs) as pool:
            problems = list(pool.map(lambda case: compile_case(case, options, folder), cases))
        refused = {case.name: problem for case, problem in zip(cases, problems) if problem}
        kept = [asdict(case) for case in cases if case.name not in refused]
        with open(os.path.join(folder, "cases.json"), "w") as file:
            json.dump({"target": options.target, "ranks": ranks, "cases": kept, "refused": refused}, file, indent=1)
        size = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
        print(f"{ranks} ranks: {len(kept)} artifacts, {size / 2**20:.1f} MiB" + (f"; {len(refused)} refused by the compiler:" if refused else ""))
        for name, problem in refused.items():
            print(f"  {name}: {problem.splitlines()[0]}")
    return 1 if not kept else 0


def load(folder, ranks):
    with open(os.path.join(folder, str(ranks), "cases.json")) as file:
        plan = json.load(file)
    return plan, [Case(**fields) for fields in plan["cases"]]
