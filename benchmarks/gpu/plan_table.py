"""Prints the plan of all kernels that the table of whole layers chooses from (for build_kernels.py).

    python3 benchmarks/gpu/plan_table.py > table.txt
"""
# experts, top-k, hidden, inner: the layers of a rank that the marks stand for
LAYERS = {
    "mixtral-8x7b": (8, 2, 4096, 14336),
    "qwen3-30b-a3b": (128, 8, 2048, 768),
    "qwen3-235b-ep8": (16, 1, 4096, 1536),
    "deepseek-v3-ep8": (32, 1, 7168, 2048),
    "deepseek-v3-ep64": (4, 1, 7168, 2048),
    "qwen3-235b-tp8": (128, 8, 4096, 192),
    "deepseek-v3-tp8": (256, 8, 7168, 256),
}
TILES = {f"s{n}": f"swap=1 tile-weights=128 tile-tokens={n}" for n in (16, 32, 64, 128, 256)}
TILES |= {"m256": "", "m256k": "skip-dead=1", "m192": "tile-weights=192", "m128": "tile-weights=128"}
# weights x tokens at most, with tails
TAILS = {f"t{w}x{t}": f"swap=1 tile-weights={w} tile-tokens={t} tails={step}"
         for w, t, step in ((128, 256, 16), (256, 144, 8), (256, 160, 8), (256, 192, 16), (384, 128, 16))}
TILES |= TAILS
# whose CTAs draw tiles from a counter
DRAWN = {tag + "d": f"{TILES[tag]} split=1" for tag in ("s16", "s32", "m256k")}
TILES |= DRAWN
GATHERED = ("s32", "s32d", "m256", "m192", "m256k", "m256kd", *TAILS)


def fits(tag, n):
    """Whether a tile is worth trying for n weight rows."""
    if tag in TAILS:
        return n % int(tag[1:4]) == 0 and (tag != "t384x128" or n % 256 != 0)
    width = {"m192": 192, "m128": 128}.get(tag)
    return width is None or (n % width == 0 and n <= 768)


def plan_support(add, experts, k, hidden):
    """What stands around the products of every layer."""
    for step in ("sort", "count", "place"):
        add(step, f"token-sort experts={experts} top-k={k}" + ("" if step == "sort" else f" stage={step}"))
    add("combine", f"combine columns={hidden} top-k={k}")


def plan(layers=LAYERS):
    lines = []
    for layer, (experts, k, hidden, inner) in layers.items():
        add = lambda step, text: lines.append(f"{layer}.{step} {text}")
        plan_support(add, experts, k, hidden)
        add("permute", f"combine columns={hidden} top-k=1 weights=0")
        for most in (1, 16):
            if layer != "deepseek-v3-ep64":
                add(f"few{most}", f"few-rows experts={experts} hidden={hidden} inner={inner} top-k={k} "
                                  f"max-tokens={most}")
        for tag, tile in TILES.items():
            up = f"grouped-matmul experts={experts} k={hidden} n={2 * inner} epilogue=swiglu {tile}"
            if fits(tag, 2 * inner):
                add("up-" + tag, up)
                if tag in GATHERED:
                    add("upg-" + tag, up + " gather=1")
            if fits(tag, hidden):
                add("down-" + tag, f"grouped-matmul experts={experts} k={inner} n={hidden} {tile}")
    return lines


if __name__ == "__main__":
    print("\n".join(plan()))
