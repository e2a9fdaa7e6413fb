"""write_routing.py FILE LAYER ROW...: a routing as `moe-run --record-routing` writes it; a row is a token's experts, such as 0,5."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "reference"))
import numpy as np  # noqa: E402
import safetensors  # noqa: E402

file, layer, *rows = sys.argv[1:]
safetensors.write(file, {f"layers.{layer}.expert_ids": np.array([[int(e) for e in row.split(",")] for row in rows], np.int32)})
