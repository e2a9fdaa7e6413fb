"""cuda_forms.py FOLDER EXPERTS,K,HIDDEN,INNER...: random layers of e4m3 whose two weights are stored in different forms, or in one; their host programs run on
modelled kernels (cuda_host.py), for one token and for many, against float32. Goldens have no layer with blocks of 128 columns.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "benchmarks" / "gpu"))
from artifacts import FP8_TEMPLATE  # noqa: E402
from cuda_host import World  # noqa: E402
from device_model import E4M3, from_bf16, sigmoid, to_bf16  # noqa: E402

TOKENS = 1, 20
LIMIT = 0.1  # of the largest output; a weight read in the wrong form is off by more than half of it


def random_weight(draw, experts, parts, rows, columns):
    """Codes, scales of very different size, and what they stand for."""
    blocks = -(-rows // 128), -(-columns // 128)
    codes = draw.integers(0, 0x70, (experts, parts, rows, columns), np.uint8) | draw.integers(0, 2, (experts, parts, rows, columns), np.uint8) << 7
    scales = (np.exp(draw.normal(size=(experts, parts, *blocks))) / 64 / columns ** 0.5).astype(np.float32)
    return codes, scales, E4M3[codes] * np.repeat(np.repeat(scales, 128, 2), 128, 3)[:, :, :rows, :columns]


def reference(x, ids, weights, up, down):
    y = np.zeros_like(x)
    for token, chosen in enumerate(ids):
        for expert, weight in zip(chosen, weights[token]):
            gate, value = up[expert, 0] @ x[token], up[expert, 1] @ x[token]
            y[token] += weight * (down[expert, 0] @ (gate * sigmoid(gate) * value))
    return y


def run(folder, experts, k, hidden, inner):
    name = f"{experts}-{k}-{hidden}-{inner}"
    source, artifact = folder / f"{name}.mlir", folder / f"{name}.moe"
    source.write_text(FP8_TEMPLATE.format(name=name, experts=experts, k=k, hidden=hidden, inner=inner, hidden_blocks=-(-hidden // 128), inner_blocks=-(-inner // 128)))
    made = subprocess.run(["moe-opt", source, "--place=ranks=1", "--target=cuda", "--compile-to=artifact", "-o", artifact], capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(made.stderr)
    draw = np.random.default_rng(hidden + inner)
    up_codes, up_scale, up = random_weight(draw, experts, 2, inner, hidden)
    down_codes, down_scale, down = random_weight(draw, experts, 1, hidden, inner)
    given = {"up": up_codes, "up_scale": up_scale, "down": down_codes[:, 0], "down_scale": down_scale[:, 0]}
    world = World(artifact, max(TOKENS))
    world.each(lambda rank: rank.prepare([np.ascontiguousarray(given[weight["name"]]) for weight in world.function["weights"]]))
    for tokens in TOKENS:
        x = to_bf16(draw.normal(size=(tokens, hidden)))
        ids = np.stack([draw.permutation(experts)[:k] for _ in range(tokens)]).astype(np.int32)
        weights = draw.uniform(0.2, 1, (tokens, k)).astype(np.float32)
        world.ranks[0].launches.clear()
        y = from_bf16(world.run({"x": x, "expert_ids": ids, "expert_weights": weights}, tokens)["y"])
        want = reference(from_bf16(x), ids, weights, up, down)
        error = np.abs(y - want).max() / np.abs(want).max()
        print(f"{name}: {tokens} tokens, error {error:.1e}, {' '.join(world.ranks[0].launches)}")
        if not error < LIMIT:
            raise SystemExit(f"{name}: error {error:.1e}, at most {LIMIT:.0e} is expected")


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for sizes in sys.argv[2:]:
        run(folder, *map(int, sizes.split(",")))


if __name__ == "__main__":
    main()
