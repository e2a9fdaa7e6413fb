"""dispatch_bytes.py --tools BIN --golden FOLDER --work FOLDER: what dedup and two levels save on models of the sizes that matter (their numbers of
experts, groups and ranks; small rows), counted by the communicator of a run, predicted by the compiler for that routing, and priced by a plan for
any. Prints each share of plain dispatch's bytes; exits non-zero where one is not what uniform routing gives."""
import argparse
import json
import os
import sys

sys.dont_write_bytecode = True
from chain import Chain, Failure, check_close  # noqa: E402
import numpy as np  # noqa: E402
import payload  # noqa: E402
import safetensors  # noqa: E402

HIDDEN, WIDTH = 64, 16


def config(golden, family, **changes):
    with open(os.path.join(golden, family, "config.json")) as file:
        return json.load(file) | {"hidden_size": HIDDEN, "moe_intermediate_size": WIDTH, "num_hidden_layers": 1, "num_experts_per_tok": 8} | changes


def unit_rows(random, rows):
    """No expert is more popular than another for its length."""
    gate = random.standard_normal((rows, HIDDEN))
    return (gate / np.linalg.norm(gate, axis=1, keepdims=True)).astype(np.float32)


class Model:
    """A layer of one model, its checkpoint, and a run of it on some layouts."""

    def __init__(self, options, name, config, experts, tokens, ids=None):
        """`ids`: the routing; without it, the model's own router chooses."""
        own_router = ids is None
        self.folder = os.path.join(options.work, name)
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(self.folder, "config.json"), "w") as file:
            json.dump(config, file)
        random = np.random.default_rng(7)
        tensors = {"model.layers.0.mlp.gate.weight": unit_rows(random, experts)}
        if "n_group" in config:
            tensors["model.layers.0.mlp.gate.e_score_correction_bias"] = np.zeros(experts, np.float32)
        stems = [f"experts.{e}" for e in range(experts)] + ["shared_experts"] * ("n_shared_experts" in config)
        for stem in stems:
            for part, shape in (("gate_proj", (WIDTH, HIDDEN)), ("up_proj", (WIDTH, HIDDEN)), ("down_proj", (HIDDEN, WIDTH))):
                tensors[f"model.layers.0.mlp.{stem}.{part}.weight"] = 0.1 * random.standard_normal(shape).astype(np.float32)
        safetensors.write(os.path.join(self.folder, "model.safetensors"), tensors)
        inputs = {"x": random.standard_normal((tokens, HIDDEN)).astype(np.float32)}
        if not own_router:
            inputs["expert_ids"] = ids.astype(np.int32)
            inputs["expert_weights"] = random.random((tokens, 8)).astype(np.float32)
        self.inputs = []
        for name, value in inputs.items():
            path = os.path.join(self.folder, f"{name}.npy")
            np.save(path, value)
            self.inputs += ["--input", f"{name}=@{path}"]
        self.routing = os.path.join(self.folder, "routing.safetensors")
        if not own_router:
            safetensors.write(self.routing, {"layers.0.expert_ids": inputs["expert_ids"]})
        self.own_router, self.tools, self.y = own_router, options.tools, None

    def run(self, words):
        """The calls of a run, checked against the prediction; y against that of the first layout."""
        chain = Chain(self.tools, os.path.join(self.folder, words.replace(" ", "_")))
        source, artifact, stats, out = (chain.path(name) for name in ("layer.mlir", "layer.moe", "stats.json", "y.safetensors"))
        chain.call("moe-import", self.folder, *([] if self.own_router else ["--no-router"]), "-o", source)
        chain.compile(source, words)
        record = ["--record-routing", self.routing] if self.own_router else []
        chain.call("moe-run", artifact, "--weights", self.folder, *self.inputs, *record, "--json", stats, "--output", f"y={out}")
        y = safetensors.read(out)["y"]
        self.y = y if self.y is None else self.y
        check_close(chain, "y", y, self.y)
        payload.check(chain, source, words, "layer0", self.routing, stats)
        return payload.counted(stats)["calls"]


def sent(calls, key):
    """Bytes that each rank sends of rows, ids and weights."""
    return np.sum([call[key] for call in calls if call["payload"] != "counts"], axis=0)


def check_price(model, calls, machine, tokens, words, between=False):
    """What a plan takes a rank to send, its experts busier than others but its tokens as good as any, against what ranks sent."""
    chain = Chain(model.tools, os.path.join(model.folder, "plan"))
    source, report = chain.path("layer.mlir"), chain.path("plan.json")
    chain.call("moe-import", model.folder, "-o", source)  # with the router, whose limit counts
    chain.call("moe-opt", source, f"--place=machine={machine} tokens={tokens} {words}", "--compile-to=placed", f"--report={report}", "-o", os.devnull)
    with open(report) as file:
        layer = json.load(file)["winner"]["layer"]
    between_nodes = sent(calls, "bytes_between_nodes")
    counted = between_nodes if between else sent(calls, "bytes_sent") - between_nodes
    planned = layer["network_bytes" if between else "domain_bytes"]
    print(f"{words}: {planned:.0f} bytes a rank are priced, {counted.mean():.0f} in the mean and {counted.max()} of the busiest were counted", flush=True)
    if not 0.97 * counted.mean() <= planned <= 1.03 * counted.max():
        raise Failure(chain.story(f"{words}: {planned} bytes are priced, but {counted.mean()} to {counted.max()} were counted"))


def share(name, value, least, most):
    print(f"{name}: {value:.3f} of plain dispatch's, {least} to {most} expected", flush=True)
    if not least <= value <= most:
        raise Failure(f"{name}: {value:.4f} is not within {least} to {most}")


def qwen3(options):
    ids = np.argsort(np.random.default_rng(1).random((2048, 128)), axis=1)[:, :8]
    model = Model(options, "qwen3", config(options.golden, "qwen3_moe", num_experts=128, num_local_experts=128), 128, 2048, ids)
    runs = [model.run(words) for words in ("ranks=8", "ranks=8 dedup=true")]
    for calls, dedup in zip(runs, ("false", "true")):
        check_price(model, calls, "cpu-8", 2048, f"ep=8 dispatcher=all_to_all dedup={dedup}")
    plain, dedup = (payload.by_payload(calls) for calls in runs)
    share("rows of Qwen3-235B-like, EP8 dedup", dedup["rows"] / plain["rows"], 0.657, 0.677)
    if plain.keys() != {"rows", "counts"} or dedup.keys() != {"rows", "counts", "ids", "weights"}:
        raise Failure(f"plain sends {sorted(plain)}, dedup {sorted(dedup)}")


def deepseek(options):
    sizes = config(options.golden, "deepseek_v3", n_routed_experts=256, n_group=8, topk_group=4, first_k_dense_replace=0, num_nextn_predict_layers=0)
    # Eight experts of four groups, all alike: 3.63 nodes, of which 3.18 are others.
    random, ids = np.random.default_rng(2), []
    for _ in range(1024):
        groups = random.permutation(8)[:4]
        ids.append(random.permutation((32 * groups[:, None] + np.arange(32)).reshape(-1))[:8])
    # The router itself prefers groups by their two best experts, which then are chosen: almost four nodes, 3.5 of them others.
    for name, ids, least, most in (("uniform", np.array(ids), 0.444, 0.47), ("its router", None, 0.47, 0.5)):
        model = Model(options, f"deepseek-{name.split()[-1]}", sizes, 256, 1024, ids)
        runs = [model.run(words) for words in ("ranks=64 nodes=8", "ranks=64 nodes=8 dispatcher=two_level dedup=true")]
        for calls, words in zip(runs, ("dispatcher=all_to_all dedup=false", "dispatcher=two_level dedup=true")):
            if ids is not None:  # the limit, without the router's preference within it
                check_price(model, calls, "h100-8x8", 1024, f"ep=64 {words}", between=True)
        plain, two = (payload.by_payload(calls, "bytes_between_nodes") for calls in runs)
        share(f"rows between nodes of DeepSeek-V3-like, {name}, 8 x 8 two_level", two["rows"] / plain["rows"], least, most)


def main():
    parser = argparse.ArgumentParser()
    for flag in ("--tools", "--golden", "--work"):
        parser.add_argument(flag, required=True, type=os.path.abspath)
    options = parser.parse_args()
    try:
        qwen3(options)
        deepseek(options)
    except Failure as failure:
        sys.exit(f"dispatch_bytes: {failure}")


if __name__ == "__main__":
    main()
