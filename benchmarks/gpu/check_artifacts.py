"""Runs compiled golden layers on a GPU, through libmoert's C interface and through moe-run, against transformers' results.

    python3 benchmarks/gpu/check_artifacts.py --build DIR --golden build/release/test/golden --bin build/release/bin      # anywhere
    python3 benchmarks/gpu/check_artifacts.py DIR --golden GOLDEN --library libmoert.so [--moe-run moe-run]

Every family with its own router and with transformers' routing given, by the built-in table of kernels and by one that brings out all forms; numbers of tokens that take every path.
With a router that gets its tokens in f32, as transformers' did, every token has exactly the experts that it has there, and their weights to 1e-5.
Results are equal to the bit when repeated and when replayed from a CUDA graph; bad expert numbers are reported, and the session lives on.
"""
import argparse
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "examples"))
FAMILIES = {"mixtral": (0, 1), "qwen2_moe": (0, 1), "qwen3_moe": (0, 1), "deepseek_v3": (1, 2), "gpt_oss": (0, 1), "olmoe": (0, 1)}
TABLE = os.path.join(HERE, "..", "..", "test", "EndToEnd", "Inputs", "kernels.json")
FORMS = ("router", "given", "forced", "router32")
TOKENS = (0, 1, 2, 13, 16, 17, 80, 700)
MOST_ERROR = 2e-2  # of the largest output


def cases(forms):
    for family, layers in FAMILIES.items():
        for layer in layers:
            for form in forms:
                yield family, layer, form, f"{family}-{layer}-{form}"


def with_f32_router(full, half):
    """The program `half`, in bf16, with the router of `full`, in f32, on an input x32 of its own; both are the same layer's."""
    route = re.search(r"^ *%0:2 = (moe\.route .*)$", full, re.M).group(1)
    signatures = [re.search(r"func\.func @\w+\((.*)\) -> \(", text).group(1) for text in (full, half)]
    arguments, ours = (re.split(r", (?=%arg\d+: )", text) for text in signatures)
    for i, argument in enumerate(arguments[1:], 1):
        if re.search(argument.split(":")[0] + r"\b", route):
            ours[i] = argument
    ours.insert(1, arguments[0].replace("%arg0", "%x32").replace('"x"', '"x32"'))
    half = half.replace(signatures[1], ", ".join(ours))
    return re.sub(r"^( *%0:2 = )moe\.route .*$", lambda match: match.group(1) + re.sub(r"%arg0\b", "%x32", route), half, flags=re.M)


def build(options):
    os.makedirs(options.build, exist_ok=True)
    tool = lambda name: os.path.join(options.bin, name)
    for family, layer, form, name in cases(options.forms):
        path = os.path.join(options.build, name)
        flags = ["--no-router"] if form in ("given", "forced") else []
        table = [f"--kernel-table={TABLE}"] if form == "forced" else []

        def call(*command):
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                sys.exit(run.stderr)
            return run.stdout

        source = [tool("moe-import"), f"{options.golden}/{family}", f"--layer={layer}"]
        text = call(*source, "--dtype=bf16", *flags)
        if form == "router32":
            text = with_f32_router(call(*source), text)
        with open(path + ".mlir", "w") as file:
            file.write(text)
        call(tool("moe-opt"), path + ".mlir", "--place=ranks=1", "--target=cuda", *table, "--compile-to=artifact", "-o", path + ".moe")
    print(f"{len(list(cases(options.forms)))} artifacts in {options.build}")


def compare(got, golden, torch):
    """Error of the tokens whose experts are transformers', relative to the largest output, and how many the others are."""
    want = golden["output"].float().cuda()
    agree = torch.ones(len(want), dtype=torch.bool, device="cuda")
    if "expert_ids" in got:
        agree = (got["expert_ids"].sort(1).values == golden["expert_ids"].cuda().sort(1).values).all(1)
    if not len(want):
        return 0.0, 0
    error = (got["y"].float() - want).abs()
    return (error[agree].max() / want.abs().max()).item(), int((~agree).sum())


def check_case(compiled, golden, torch):
    """Problems found, and the largest error."""
    types = {"f32": torch.float32, "bf16": torch.bfloat16, "i32": torch.int32}
    names = {"x": "input", "x32": "input", "expert_ids": "expert_ids", "expert_weights": "expert_weights"}
    problems, worst, flipped = [], 0.0, 0
    for tokens in TOKENS:
        tiled = {key: torch.cat([value] * max(-(-tokens // len(value)), 1))[:tokens] for key, value in golden.items()}
        inputs = {spec["name"]: tiled[names[spec["name"]]].to(types[spec["dtype"]]).cuda().contiguous() for spec in compiled.function["inputs"]}
        first = compiled(**inputs)
        compiled.wait()
        error, others = compare(first, tiled, torch)
        worst, flipped = max(worst, error), flipped + others
        exact = "x32" in inputs
        if exact and tokens:
            order, wanted = first["expert_ids"].sort(1).indices, tiled["expert_ids"].cuda().sort(1).indices
            off = (first["expert_weights"].gather(1, order) - tiled["expert_weights"].cuda().gather(1, wanted)).abs().max().item()
            if not off < 1e-5:
                problems.append(f"{tokens} tokens: weights differ by {off:.1e}")
        if not error < MOST_ERROR or others > (0 if exact else max(0.1 * tokens, 1)):
            problems.append(f"{tokens} tokens: error {error:.1e}, {others} with other experts")
        outputs = {name: torch.zeros_like(value) for name, value in first.items()}
        run = compiled.bind(inputs, outputs)
        graph = torch.cuda.CUDAGraph()
        if tokens:
            with torch.cuda.graph(graph):
                run()
        for how in (run, graph.replay if tokens else run):
            for value in outputs.values():
                value.zero_()
            how()
            compiled.wait()
            torch.cuda.synchronize()
            if not all(torch.equal(outputs[name], first[name]) for name in first):
                problems.append(f"{tokens} tokens: other bits when {'repeated' if how is run else 'replayed'}")
    if "expert_ids" in inputs:
        wrong = {**inputs, "expert_ids": torch.full_like(inputs["expert_ids"], 9999)}
        try:
            compiled(**wrong)
            compiled.wait()
            problems.append("bad expert numbers are not reported")
        except RuntimeError as complaint:
            print("    as it should:", complaint)
        again = compiled(**inputs)
        compiled.wait()
        if not torch.equal(again["y"], first["y"]):
            problems.append("other bits after bad expert numbers")
    return problems, worst, flipped


def run_tool(options, family, layer, name):
    """The same through moe-run, with transformers' routing."""
    source = f"@{options.golden}/{family}/golden.safetensors:layers.{layer}."
    given = [("x", "input"), ("expert_ids", "expert_ids"), ("expert_weights", "expert_weights")]
    command = [options.moe_run, f"{options.folder}/{name}.moe", "--device=cuda", "--weights", f"{options.golden}/{family}", "--repeat", "3",
               *[word for to, what in given for word in ("--input", f"{to}={source}{what}")], "--expect", f"y={source}output", "--rtol", str(MOST_ERROR)]
    run = subprocess.run(command, capture_output=True, text=True)
    return [] if run.returncode == 0 else [f"moe-run: {run.stderr.strip()[-300:]}"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--build", metavar="DIR")
    parser.add_argument("--bin", default=".")
    parser.add_argument("--golden", required=True)
    parser.add_argument("--library", default="libmoert.so")
    parser.add_argument("--moe-run")
    parser.add_argument("--forms", type=lambda text: text.split(","), default=FORMS, help="of " + ", ".join(FORMS))
    options = parser.parse_args()
    if options.build:
        return build(options)
    from torch_layer import CompiledLayer, no_device, torch
    if no_device():
        print(f"check_artifacts: skipped, {no_device()}")
        return 0
    from safetensors.torch import load_file
    bad = 0
    for family, layer, form, name in cases(options.forms):
        prefix = f"layers.{layer}."
        golden = {key.removeprefix(prefix): value for key, value in load_file(f"{options.golden}/{family}/golden.safetensors").items()
                  if key.startswith(prefix)}
        try:
            compiled = CompiledLayer(options.library, f"{options.folder}/{name}.moe", max(TOKENS))
            compiled.load_weights(f"{options.golden}/{family}")
            problems, worst, flipped = check_case(compiled, golden, torch)
            compiled.close()
        except RuntimeError as error:
            problems, worst, flipped = [str(error)[:300]], float("nan"), 0
        if form == "given" and options.moe_run:
            problems += run_tool(options, family, layer, name)
        print(f"{'BAD' if problems else 'ok ':4s}{name}: error {worst:.1e}, {flipped} tokens with other experts", *problems, sep="\n    ", flush=True)
        bad += bool(problems)
    print(f"{bad} of {len(list(cases(options.forms)))} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
