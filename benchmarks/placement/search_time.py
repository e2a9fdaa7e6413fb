"""search_time.py [--ranks 1024] [--limit SECONDS]: processor time of one plan of a model with 58 MoE layers of 61 (DeepSeek-V3's sizes) over many ranks,
every layout of experts and of attention open. Finds the build or MOE_BIN. Exits non-zero above the limit."""
import argparse, json, os, resource, subprocess, sys, tempfile, time
from pathlib import Path

sys.dont_write_bytecode = True
import inputs
from score import find_tool

MODEL = {"hidden": 7168, "expert_width": 2048, "experts": 256, "top_k": 8, "shared_width": 2048, "moe_layers": 58, "dense_layers": 3, "dense_width": 18432,
         "heads": 128, "kv_heads": 128, "head_dim": 192, "vocab": 129280, "mla": {"q_lora": 1536, "kv_lora": 512, "qk_nope": 128, "qk_rope": 64, "v_head": 128}}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=1024)
    parser.add_argument("--limit", type=float, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        layer = inputs.write_layer(folder, "one", MODEL).read_text()
        module, config, report = folder / "model.mlir", inputs.write_config(folder, "one", MODEL), folder / "plan.json"
        module.write_text("".join(layer.replace("@layer", "@layer%d" % n) for n in range(MODEL["moe_layers"])))
        words = "machine=h100-8x%d phase=decode tokens=8192 context=4096 gemm=fp8" % (options.ranks // 8)
        begin = time.time()
        subprocess.run([find_tool(), module, "--place=" + words, "--compile-to=placed", "--model-terms=%s" % config, "--report=%s" % report, "--list-candidates",
                        "-o", os.devnull], check=True, stderr=subprocess.DEVNULL)
        real, used = time.time() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        candidates = len(json.loads(report.read_text())["candidates"])
    cpu = used.ru_utime + used.ru_stime
    print("%d ranks, %d MoE layers, %d candidates: %.2f s of processor time, %.2f s in all" % (options.ranks, MODEL["moe_layers"], candidates, cpu, real))
    sys.exit(cpu > options.limit)


if __name__ == "__main__":
    main()
