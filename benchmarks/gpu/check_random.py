"""Random layers of many widths on a GPU, compiled and run through libmoert's C interface, against float32.

    python3 benchmarks/gpu/check_random.py --build DIR --moe-opt build/release/bin/moe-opt      # anywhere
    python3 benchmarks/gpu/check_random.py DIR --library libmoert.so

Experts get 0, 1, 63 to 65, 127 to 129 and 1000 rows, or one gets all; each width is compiled by the built-in choice of kernels and by tables that force
one form each: both orientations, gathered rows or moved ones, skipping, tails; plain silu, and gpt_oss's clamped form with biases.
"""
import argparse
import itertools
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "examples"))
HIDDEN, INNER = (64, 192, 2048, 7168), (12, 96, 192, 768, 2048)
ROWS = (0, 1, 63, 64, 65, 0, 127, 128, 129, 1000)
EXPERTS = len(ROWS)
FORMS = {"builtin": None,
         "plain": {"tokens": 128, "weights": 128, "gather": True},
         "skip": {"tokens": 128, "weights": 128, "skip_dead": True},
         "swap": {"tokens": 32, "weights": 128, "swap": True, "gather": True},
         "tails": {"tokens": 192, "weights": 128, "swap": True, "tails": 8}}
MOST_ERROR = 1e-2  # of the largest output
ALPHA, LIMIT = 1.702, 7.0

TEMPLATE = """\
#gate_up = #moe.checkpoint<names = ["experts.{{e}}.gate.weight", "experts.{{e}}.up.weight"], file_shape = [{inner}, {hidden}],
                           map = affine_map<(e, p, i, h) -> (i, h)>, expert_dim = 0, part_dim = 1>
#down = #moe.checkpoint<names = ["experts.{{e}}.down.weight"], file_shape = [{hidden}, {inner}], map = affine_map<(e, h, i) -> (h, i)>, expert_dim = 0>
#up_bias = #moe.checkpoint<names = ["up.bias"], file_shape = [{experts}, 2, {inner}], map = affine_map<(e, p, i) -> (e, p, i)>>
#down_bias = #moe.checkpoint<names = ["down.bias"], file_shape = [{experts}, {hidden}], map = affine_map<(e, h) -> (e, h)>>
module attributes {{moe.phase = "input"}} {{
  func.func @layer(%x: tensor<?x{hidden}xbf16> {{moe.name = "x"}}, %ids: tensor<?x1xi32> {{moe.name = "expert_ids"}},
                   %weights: tensor<?x1xf32> {{moe.name = "expert_weights"}},
                   %up: tensor<{experts}x2x{inner}x{hidden}xbf16> {{moe.name = "up", moe.weight = #gate_up}},
                   %down: tensor<{experts}x{hidden}x{inner}xbf16> {{moe.name = "down", moe.weight = #down}}{bias_arguments})
      -> (tensor<?x{hidden}xbf16> {{moe.name = "y"}}) attributes {{moe.layer = 0 : i64}} {{
    %y = moe.experts %x, %ids, %weights, %up, %down{biases} activation(<{activation}>)
        : (tensor<?x{hidden}xbf16>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<{experts}x2x{inner}x{hidden}xbf16>, tensor<{experts}x{hidden}x{inner}xbf16>{bias_types})
        -> tensor<?x{hidden}xbf16>
    return %y : tensor<?x{hidden}xbf16>
  }}
}}
"""


def cases(only=""):
    for hidden, inner, (form, choice), clamped in itertools.product(HIDDEN, INNER, FORMS.items(), (False, True)):
        if not (clamped and form in ("skip", "plain")):  # the epilogue is one piece: an orientation each
            name = f"{hidden}x{inner}-{form}{'-clamped' if clamped else ''}"
            if only in name:
                yield name, hidden, inner, choice, clamped


def layer_text(hidden, inner, clamped):
    up, down = f"tensor<{EXPERTS}x2x{inner}xbf16>", f"tensor<{EXPERTS}x{hidden}xbf16>"
    bias = {"bias_arguments": "", "biases": "", "bias_types": "", "activation": "kind = silu"}
    if clamped:
        bias = {"bias_arguments": f', %up_bias: {up} {{moe.name = "up_bias", moe.weight = #up_bias}}, %down_bias: {down} {{moe.name = "down_bias", moe.weight = #down_bias}}',
                "biases": " up_bias(%up_bias) down_bias(%down_bias)", "bias_types": f", {up}, {down}",
                "activation": f"kind = silu, alpha = {ALPHA}, limit = {LIMIT}, up_offset = 1.0"}
    return TEMPLATE.format(hidden=hidden, inner=inner, experts=EXPERTS, **bias)


def pitch(columns):
    return -(-columns // 8) * 8


def table_text(hidden, inner, choice):
    tiles = [{"rows": rows, **choice} for rows in (1, 16, 250, 4000)]
    return json.dumps({"device": "no machine: one form for all rows", "matrices": [
        {"k": pitch(hidden), "n": 2 * pitch(inner), "paired": True, "tiles": tiles},
        {"k": pitch(inner), "n": pitch(hidden), "tiles": [{**tile, "gather": False} for tile in tiles]}]})


def build(options):
    os.makedirs(options.build, exist_ok=True)
    total = 0
    for name, hidden, inner, choice, clamped in cases(options.only):
        path = os.path.join(options.build, name)
        with open(path + ".mlir", "w") as file:
            file.write(layer_text(hidden, inner, clamped))
        words = []
        if choice:
            with open(path + ".json", "w") as file:
                file.write(table_text(hidden, inner, choice))
            words = [f"--kernel-table={path}.json"]
        run = subprocess.run([options.moe_opt, path + ".mlir", "--place=ranks=1", "--target=cuda", *words, "--compile-to=artifact", "-o", path + ".moe"],
                             stderr=subprocess.PIPE, text=True)
        if run.returncode:
            sys.exit(run.stderr)
        total += os.path.getsize(path + ".moe")
    print(f"{len(list(cases(options.only)))} artifacts in {options.build}, {total / 2**20:.1f} MiB")


def reference(x, ids, weights, up, down, up_bias, down_bias, clamped, torch):
    """float32 from the rounded weights; the hidden rows are rounded to bf16, as the layer stores them."""
    y = torch.zeros_like(x, dtype=torch.float32)
    for expert in range(EXPERTS):
        chosen = (ids[:, 0] == expert).nonzero()[:, 0]
        if not len(chosen):
            continue
        rows = x[chosen].float()
        gate, value = rows @ up[expert, 0].float().T, rows @ up[expert, 1].float().T
        if clamped:
            gate, value = gate + up_bias[expert, 0].float(), value + up_bias[expert, 1].float()
            gate, value = gate.clamp(max=LIMIT), value.clamp(-LIMIT, LIMIT)
            hidden = gate * torch.sigmoid(ALPHA * gate) * (value + 1)
        else:
            hidden = torch.nn.functional.silu(gate) * value
        out = hidden.bfloat16().float() @ down[expert].float().T
        if clamped:
            out = out + down_bias[expert].float()
        y[chosen] = out * weights[chosen]
    return y


def check(compiled, hidden, inner, clamped, torch):
    """Problems found, and the largest error."""
    make = torch.Generator("cuda").manual_seed(hidden * 10007 + inner)
    normal = lambda *shape: torch.randn(shape, device="cuda", generator=make)
    up, down = (normal(EXPERTS, 2, inner, hidden) / hidden ** 0.5).bfloat16(), (normal(EXPERTS, hidden, inner) / inner ** 0.5).bfloat16()
    given = {"up": up, "down": down}
    up_bias = down_bias = None
    if clamped:
        given["up_bias"], given["down_bias"] = up_bias, down_bias = normal(EXPERTS, 2, inner).bfloat16(), normal(EXPERTS, hidden).bfloat16()
    compiled.set_weights(**given)
    problems, worst = [], 0.0
    spread = torch.repeat_interleave(torch.arange(EXPERTS), torch.tensor(ROWS))
    spread = spread[torch.randperm(len(spread), generator=torch.Generator().manual_seed(inner))]
    for what, ids in (("spread", spread), ("one expert has all", torch.full((1500,), 7)), ("one token", torch.tensor([3]))):
        ids = ids.int().cuda()[:, None].contiguous()
        x, weights = normal(len(ids), hidden).bfloat16(), normal(len(ids), 1)
        y = torch.full((len(ids), hidden), float("nan"), device="cuda", dtype=torch.bfloat16)
        run = compiled.bind({"x": x, "expert_ids": ids, "expert_weights": weights}, {"y": y})
        run()
        compiled.wait()
        first = y.clone()
        want = reference(x, ids, weights, up, down, up_bias, down_bias, clamped, torch)
        error = ((y.float() - want).abs().max() / want.abs().max()).item()
        worst = error if not error <= worst else worst
        if not error < MOST_ERROR:
            problems.append(f"{what}: error {error:.1e}")
        run()
        compiled.wait()
        if not torch.equal(first, y):
            problems.append(f"{what}: other bits when repeated")
    return problems, worst


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--build", metavar="DIR")
    parser.add_argument("--moe-opt", default="moe-opt")
    parser.add_argument("--library", default="libmoert.so")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if options.build:
        return build(options)
    from torch_layer import CompiledLayer, no_device, torch
    if no_device():
        print(f"check_random: skipped, {no_device()}")
        return 0
    bad = done = 0
    for name, hidden, inner, _, clamped in cases(options.only):
        done += 1
        try:
            compiled = CompiledLayer(options.library, f"{options.folder}/{name}.moe", 2000)
            problems, worst = check(compiled, hidden, inner, clamped, torch)
            compiled.close()
        except RuntimeError as error:
            problems, worst = [str(error)[:300]], float("nan")
        print(f"{'BAD' if problems else 'ok ':4s}{name}: error {worst:.1e}", *problems, sep="\n    ", flush=True)
        bad += bool(problems)
    print(f"check_random: {done - bad} of {done} right")
    return 1 if bad or not done else 0


if __name__ == "__main__":
    sys.exit(main())
