"""Compiles the layers of the benchmark to artifacts; no GPU is needed.

    python3 benchmarks/gpu/artifacts.py --out DIR [--moe-opt build/release/bin/moe-opt] [--layers A,B] [--fp8] [words for moe-opt]

A layer is what one rank holds: experts given as its own numbers and their weights, without a router. DIR gets LAYER.mlir and LAYER.moe, and
artifacts.json with the size of each and the seconds that it took. With --fp8 weights are e4m3 in blocks of 128 x 128.
"""
import argparse
import json
import os
import subprocess
import sys
import time

from plan_table import LAYERS

TEMPLATE = """\
// {name}: {experts} experts on this rank, {k} a token.
#gate_up = #moe.checkpoint<names = ["experts.{{e}}.gate.weight", "experts.{{e}}.up.weight"], file_shape = [{inner}, {hidden}],
                           map = affine_map<(e, p, i, h) -> (i, h)>, expert_dim = 0, part_dim = 1>
#down = #moe.checkpoint<names = ["experts.{{e}}.down.weight"], file_shape = [{hidden}, {inner}], map = affine_map<(e, h, i) -> (h, i)>, expert_dim = 0>
module attributes {{moe.phase = "input"}} {{
  func.func @layer(%x: tensor<?x{hidden}xbf16> {{moe.name = "x"}}, %ids: tensor<?x{k}xi32> {{moe.name = "expert_ids"}},
                   %weights: tensor<?x{k}xf32> {{moe.name = "expert_weights"}},
                   %up: tensor<{experts}x2x{inner}x{hidden}xbf16> {{moe.name = "up", moe.weight = #gate_up}},
                   %down: tensor<{experts}x{hidden}x{inner}xbf16> {{moe.name = "down", moe.weight = #down}})
      -> (tensor<?x{hidden}xbf16> {{moe.name = "y"}}) attributes {{moe.layer = 0 : i64}} {{
    %y = moe.experts %x, %ids, %weights, %up, %down activation(<kind = silu>)
        : (tensor<?x{hidden}xbf16>, tensor<?x{k}xi32>, tensor<?x{k}xf32>, tensor<{experts}x2x{inner}x{hidden}xbf16>, tensor<{experts}x{hidden}x{inner}xbf16>)
        -> tensor<?x{hidden}xbf16>
    return %y : tensor<?x{hidden}xbf16>
  }}
}}
"""


FP8_TEMPLATE = """\
// {name}: {experts} experts on this rank, {k} a token, weights in e4m3.
#gate_up = #moe.checkpoint<names = ["experts.{{e}}.gate.weight", "experts.{{e}}.up.weight"], file_shape = [{inner}, {hidden}],
                           map = affine_map<(e, p, i, h) -> (i, h)>, expert_dim = 0, part_dim = 1>
#down = #moe.checkpoint<names = ["experts.{{e}}.down.weight"], file_shape = [{hidden}, {inner}], map = affine_map<(e, h, i) -> (h, i)>, expert_dim = 0>
#gate_up_scale = #moe.checkpoint<names = ["experts.{{e}}.gate.weight_scale_inv", "experts.{{e}}.up.weight_scale_inv"],
                                 file_shape = [{inner_blocks}, {hidden_blocks}], map = affine_map<(e, p, i, h) -> (i, h)>, expert_dim = 0, part_dim = 1>
#down_scale = #moe.checkpoint<names = ["experts.{{e}}.down.weight_scale_inv"], file_shape = [{hidden_blocks}, {inner_blocks}],
                              map = affine_map<(e, h, i) -> (h, i)>, expert_dim = 0>
!x = tensor<?x{hidden}xbf16>
!ids = tensor<?x{k}xi32>
!weights = tensor<?x{k}xf32>
!up = tensor<{experts}x2x{inner}x{hidden}xf8E4M3FN>
!down = tensor<{experts}x{hidden}x{inner}xf8E4M3FN>
!up_scale = tensor<{experts}x2x{inner_blocks}x{hidden_blocks}xf32>
!down_scale = tensor<{experts}x{hidden_blocks}x{inner_blocks}xf32>
module attributes {{moe.phase = "input"}} {{
  func.func @layer(%x: !x {{moe.name = "x"}}, %ids: !ids {{moe.name = "expert_ids"}}, %weights: !weights {{moe.name = "expert_weights"}},
                   %up: !up {{moe.name = "up", moe.weight = #gate_up}}, %down: !down {{moe.name = "down", moe.weight = #down}},
                   %up_scale: !up_scale {{moe.name = "up_scale", moe.weight = #gate_up_scale}},
                   %down_scale: !down_scale {{moe.name = "down_scale", moe.weight = #down_scale}})
      -> (!x {{moe.name = "y"}}) attributes {{moe.layer = 0 : i64}} {{
    %y = moe.experts %x, %ids, %weights, %up, %down scales(%up_scale, %down_scale) activation(<kind = silu>)
        {{weight_format = #moe<weight_format fp8_block>}} : (!x, !ids, !weights, !up, !down, !up_scale, !down_scale) -> !x
    return %y : !x
  }}
}}
"""


def layer_text(name, fp8=False):
    experts, k, hidden, inner = LAYERS[name]
    return (FP8_TEMPLATE if fp8 else TEMPLATE).format(name=name, experts=experts, k=k, hidden=hidden, inner=inner, hidden_blocks=-(-hidden // 128),
                                                      inner_blocks=-(-inner // 128))


def build(folder, moe_opt, words=(), layers=LAYERS, fp8=False):
    os.makedirs(folder, exist_ok=True)
    made = {}
    for name in layers:
        source, artifact = (os.path.join(folder, name + ending) for ending in (".mlir", ".moe"))
        with open(source, "w") as file:
            file.write(layer_text(name, fp8))
        begin = time.monotonic()
        run = subprocess.run([moe_opt, source, "--place=ranks=1", "--target=cuda", "--compile-to=artifact", "-o", artifact, *words],
                             stderr=subprocess.PIPE, text=True)
        if run.returncode:
            sys.exit(run.stderr)
        made[name] = {"bytes": os.path.getsize(artifact), "seconds": round(time.monotonic() - begin, 2)}
        print(f"{name}: {made[name]['bytes'] / 2**20:.2f} MiB, {made[name]['seconds']:.2f} s", flush=True)
        for line in run.stderr.splitlines():
            if "tiles follow" in line:
                print("  " + line.split("remark: ")[-1])
    with open(os.path.join(folder, "artifacts.json"), "w") as file:
        json.dump(made, file, indent=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--moe-opt", default="moe-opt")
    parser.add_argument("--layers", default=",".join(LAYERS))
    parser.add_argument("--fp8", action="store_true")
    options, words = parser.parse_known_args()
    build(options.out, options.moe_opt, words, options.layers.split(","), options.fp8)


if __name__ == "__main__":
    main()
