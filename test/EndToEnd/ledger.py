"""ledger.py --tools BIN --golden FOLDER --work FOLDER [--quick]: the memory that a plan counts, held against the runtime and against artifacts.
For each golden family, layouts and dispatchers: a plan for `--target=cpu` is compiled and run; weights must be exactly the bytes that the session
loaded, weights with packing what it holds, and the layer's buffers within 3% of its arena. For `--target=cuda` the artifact's manifest says the
same (no device is needed). Exits non-zero and names each difference."""
import argparse
import json
import os
import shutil
import sys
import zipfile

sys.dont_write_bytecode = True
from chain import Chain, Failure  # noqa: E402
from families import Checkpoint  # noqa: E402
import layouts  # noqa: E402
import safetensors  # noqa: E402

FAMILIES = ["mixtral", "qwen3_moe", "qwen2_moe", "olmoe", "deepseek_v3", "gpt_oss"]
LINK = {"latency_us": 10, "efficiency": 0.5}
KINDS = ["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "dispatch", "point_to_point"]


def machine(path, per_node):
    """Eight processor ranks, `per_node` to a link domain."""
    own = {"source": "made up for this test", "date": "2026-11-28"}
    with open(path, "w") as file:
        json.dump({"schema": 1, "name": "ranks-of-%d" % per_node, "base": "cpu-8", "domain": {"devices": per_node}, "nodes": {"devices": per_node, "count": 8 // per_node},
                   "network": {"GBps": 1, "fabric": "ethernet"}, "collectives": {"network": {kind: LINK for kind in KINDS}}, "sources": {"network": own}}, file)
    return path


def plan(chain, source, words, target, artifact):
    report = chain.path(artifact + ".json")
    chain.call("moe-opt", source, f"--place={words}", f"--target={target}", "--compile-to=artifact", f"--report={report}", "-o", chain.path(artifact))
    with open(report) as file:
        return json.load(file)["winner"]


def expect(chain, what, planned, real, within=0.0):
    if abs(planned - real) > within * real:
        raise Failure(chain.story(f"{what}: {planned:.0f} bytes are planned, but it has {real}"))


def compare(chain, winner, slices, packed, arena):
    memory = winner["memory"]
    weights = memory["expert_weights"] + memory.get("other_layer_weights", 0)
    expect(chain, "loaded weights", weights, slices)
    expect(chain, "packed weights", weights + memory.get("packing", 0), packed)
    expect(chain, "arena", memory["layer_buffers"], arena, 0.03)


def check_cpu(options, family, index, words):
    folder = os.path.join(options.golden, family)
    chain = Chain(options.tools, os.path.join(options.work, "".join(c if c.isalnum() else "-" for c in f"{family}-{words}")))
    golden = os.path.join(folder, "golden.safetensors")
    tokens = len(safetensors.read(golden)[f"layers.{index}.input"])
    source = chain.import_layer(folder, index)
    winner = plan(chain, source, f"{words} tokens={tokens}", "cpu", "layer.moe")
    stats = chain.path("stats.json")
    chain.call("moe-run", chain.path("layer.moe"), "--weights", folder, "--input", f"x=@{golden}:layers.{index}.input", "--json", stats)
    with open(stats) as file:
        run = json.load(file)
    compare(chain, winner, run["slice_bytes"], run["packed_bytes"], run["arena_bytes"])
    shutil.rmtree(chain.folder)


def check_cuda(options, family, index, words):
    """The artifact's own account, at 4096 tokens: planned slots, scratch rows and what kernels pack."""
    folder = os.path.join(options.golden, family)
    chain = Chain(options.tools, os.path.join(options.work, "".join(c if c.isalnum() else "-" for c in f"cuda-{family}-{words}")))
    source = chain.path("layer.mlir")
    chain.call("moe-import", folder, f"--layer={index}", "--no-router", "--dtype=bf16", "-o", source)
    winner = plan(chain, source, f"{words} tokens=4096", "cuda", "layer.moe")
    with zipfile.ZipFile(chain.path("layer.moe")) as artifact:
        function = json.loads(artifact.read("manifest.json"))["functions"][0]
    form = function["arena"]
    arena = form["constant"] + form["per_token"] * 4096 + form["per_share"] * -(-4096 // form["shares"])
    memory = winner["memory"]
    packed = sum(entry["bytes"] if isinstance(entry, dict) else entry for entry in function["packed"])
    compare(chain, winner, memory["expert_weights"] + memory.get("other_layer_weights", 0), packed, arena)
    shutil.rmtree(chain.folder)


def jobs(options):
    machines = {n: machine(os.path.join(options.work, f"ranks-of-{n}.json"), n) for n in (8, 4)}
    for family in FAMILIES:
        index = Checkpoint(os.path.join(options.golden, family)).moe_layers()[0]
        sizes = layouts.Sizes.of(Checkpoint(os.path.join(options.golden, family)).layer(index))
        meshes = [(8, 1, 1)] if options.quick else [(8, 1, 1), (4, 2, 1), (2, 4, 1), (1, 8, 1), (4, 1, 2), (2, 2, 2), (1, 1, 8)]
        for ep, etp, edp in meshes:
            if ep > sizes.experts or sizes.width % etp:
                continue
            for per_node, dispatcher in ((8, "all_to_all"), (8, "all_to_all dedup=true"), (8, "all_gather"), (4, "two_level"), (4, "two_level dedup=true")):
                if "two_level" in dispatcher and not etp < 4 < ep * etp:
                    continue
                for boundary in ("split",) if options.quick else ("split", "replicated"):
                    words = f"machine={machines[per_node]} ep={ep} etp={etp} edp={edp} dispatcher={dispatcher} boundary={boundary}"
                    yield lambda f=family, i=index, w=words: check_cpu(options, f, i, w)
        for dispatcher in ("all_to_all dedup=false",) if options.quick else ("all_to_all dedup=false", "all_gather"):
            words = f"machine={machines[8]} ep=8 dispatcher={dispatcher}"
            if not options.quick or family in ("mixtral", "gpt_oss"):
                yield lambda f=family, i=index, w=words: check_cuda(options, f, i, w)


def main():
    parser = argparse.ArgumentParser()
    for flag in ("--tools", "--golden", "--work"):
        parser.add_argument(flag, required=True, type=os.path.abspath)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    os.makedirs(options.work, exist_ok=True)
    done, failures = 0, []
    for job in jobs(options):
        try:
            job()
        except Failure as failure:
            failures.append(str(failure))
        done += 1
    print(*failures, f"ledger: {done - len(failures)} of {done} plans hold", sep="\n")
    sys.exit(1 if failures or not done else 0)


if __name__ == "__main__":
    main()
