"""Prints the plan of all fp8 kernels that adapter_fp8.py chooses from (for build_kernels.py).

    python3 benchmarks/gpu/plan_fp8.py > fp8table.txt
"""
from plan_table import LAYERS, plan_support

# Tags that begin with s are swapped, for few rows, those with t have tails: their products stay bf16.
TILES = {f"s{n}": f"swap=1 tile-weights=128 tile-tokens={n}" for n in (16, 32, 64)}
TILES |= {"m256": "", "m256k": "skip-dead=1", "m128": "tile-weights=128"}
TILES |= {"r256": "rescale=1", "r256k": "rescale=1 skip-dead=1", "r128": "rescale=1 tile-weights=128"}
TAILS = {f"t{w}x{t}": f"swap=1 rescale=1 tile-weights={w} tile-tokens={t} tails=16" for w, t in ((128, 256), (256, 160), (256, 192))}
TILES |= TAILS | {tag + "o": tile + " in-turn=1" for tag, tile in TAILS.items()}


def is_blocked(hidden, inner):
    return hidden % 128 == 0 and inner % 128 == 0


def plan(layers=LAYERS):
    lines = []
    for layer, (experts, k, hidden, inner) in layers.items():
        add = lambda step, text: lines.append(f"{layer}.{step} {text}")
        plan_support(add, experts, k, hidden)
        add("quantx", f"quantize-rows columns={hidden}")
        add("quanth", f"quantize-rows columns={inner} indexed=0")
        blocked = " blocked-weights=1" if is_blocked(hidden, inner) else ""
        for tag, tile in TILES.items():
            up = f"grouped-matmul experts={experts} k={hidden} n={2 * inner} fp8=1 epilogue=swiglu {tile}{blocked}"
            if tag[0] in "st":
                if tag[0] == "s" or 2 * inner % int(tag[1:4]) == 0:
                    add("up-" + tag, up)
            elif "128" not in tag:
                add("up-" + tag, up + " quantize=1")
            add("down-" + tag, f"grouped-matmul experts={experts} k={inner} n={hidden} fp8=1 {tile}{blocked}")
    return lines


if __name__ == "__main__":
    print("\n".join(plan()))
