"""recorded_skew.py GOLDEN FOLDER: records the routing of a golden layer in a run, plans with it, and holds the planned skew of 8 ranks against the
recorded counts; then drawn models of routing, the more uneven the slower."""
import json, os, subprocess, sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "reference"))
import numpy as np
import safetensors

golden, folder = sys.argv[1:]
source, artifact, routing, report = (os.path.join(folder, name) for name in ("layer.mlir", "layer.moe", "routing.safetensors", "plan.json"))


def call(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def plan(kind):
    call("moe-opt", source, f"--place=machine=cpu-8 tokens=4096 ep=8 dispatcher=all_to_all dedup=false routing={kind}", "--compile-to=placed", f"--report={report}", "-o", os.devnull)
    return json.load(open(report))["winner"]["layer"]


call("moe-import", f"{golden}/qwen3_moe", "--layer=0", "-o", source)
call("moe-opt", source, "--place=ranks=1", "--target=cpu", "--compile-to=artifact", "-o", artifact)
call("moe-run", artifact, "--weights", f"{golden}/qwen3_moe", "--input", f"x=@{golden}/qwen3_moe/golden.safetensors:layers.0.input", "--record-routing", routing)
ids = safetensors.read(routing)["layers.0.expert_ids"]
counts = np.bincount(ids.reshape(-1), minlength=16)
busiest = counts.reshape(8, 2).sum(axis=1).max() / counts.sum() * 4096 * ids.shape[1]
layer = plan(f"histogram:{routing}")
assert abs(layer["rows_max"] / busiest - 1) < 0.05, (layer["rows_max"], busiest)
skews = [plan(kind)["skew_us"] for kind in ("balanced", "uniform", "zipf:0.5", "power_law:1.2")]
assert skews[0] == 0 and skews == sorted(skews), skews
print("busiest rank as recorded")
