"""From a points file to the planner's inputs: a machine file, a layer, a config.json, and words of --place."""
import json, math
from pathlib import Path

MACHINES = Path(__file__).resolve().parents[2] / "machines"
# What is unknown is the widest type in which every layout fits: they were measured, so they did.
GEMM = {"bf16": ["bf16"], "unknown": ["bf16", "fp8", "fp4"], "fp8": ["fp8"], "mxfp8": ["fp8"], "nvfp4": ["fp4"], "mxfp4": ["fp4"]}
# Where routing is real or unknown: uniform random in training, whose losses keep experts balanced; mildly skewed in inference.
ROUTING = {"balanced": "balanced", "dropped_cf1": "balanced"}


def routing_of(point):
    if point["routing"].startswith("power_law_"):
        return "power_law:" + point["routing"].removeprefix("power_law_")
    return ROUTING.get(point["routing"]) or ("uniform" if point["phase"] == "train" else "zipf:0.4")


def known_machines():
    return [json.loads(p.read_text()) for p in sorted(MACHINES.glob("*.json"))]


def fabric_of(name, machine):
    return "efa" if "efa" in (name + " " + machine["source"]).lower() else "infiniband"


def nearest(machine, fabric):
    """The known machine whose kernels and links are likeliest to be alike: the same device, else the nearest peak and link."""
    def distance(other):
        device = other["device"]
        far = abs(math.log(device["peak_TFLOPs"]["bf16"] / machine["peak_bf16_TFLOPs"])) + abs(math.log(device["memory_TBps"] / machine["hbm_TBps"]))
        far += abs(math.log(other["domain"]["GBps"] / machine["intra_GBps_per_gpu_unidir"]))
        return (device["name"] != machine["gpu"], other.get("network", {}).get("fabric", fabric) != fabric, far, other["name"])
    return min(known_machines(), key=distance)


def write_machine(folder, name, machine):
    path = folder / ("machine-%s.json" % name)
    if path.exists():
        return path
    fabric = fabric_of(name, machine)
    base = nearest(machine, fabric)
    source = {"source": machine["source"], "date": "as the points file"}
    peaks = {"bf16": machine["peak_bf16_TFLOPs"], "fp8": machine.get("peak_fp8_TFLOPs"), "fp4": machine.get("peak_fp4_TFLOPs")}
    kernels = dict(base["kernels"]["matmul"])
    for narrow, wide in (("fp8", "bf16"), ("fp4", "fp8")):  # a rate that the base has not comes from the next wider type
        kernels.setdefault(narrow, kernels.get(wide))
    out = {"schema": 1, "name": name, "base": base["name"],
           "device": {"name": machine["gpu"], "memory_GB": machine["hbm_GB"], "memory_TBps": machine["hbm_TBps"], "peak_TFLOPs": peaks},
           "domain": {"devices": machine["link_domain"], "GBps": machine["intra_GBps_per_gpu_unidir"]},
           "nodes": {"devices": machine["gpus_per_node"], "count": machine["nodes"]},
           "kernels": {"matmul": {t: k for t, k in kernels.items() if k}},
           "sources": {"device": source, "domain": source, "nodes": source}}
    if not machine["inter_GBps_per_gpu_unidir"]:  # no point crosses a domain
        out["domain"]["devices"] = max(machine["link_domain"], machine["gpus_per_node"] * machine["nodes"])
    else:
        out["network"] = {"GBps": machine["inter_GBps_per_gpu_unidir"], "fabric": fabric}
        out["sources"]["network"] = source
        like = next(m for m in known_machines() if m.get("network", {}).get("fabric") == fabric)
        out["collectives"] = {"network": like["collectives"]["network"]}
    path.write_text(json.dumps(out, indent=1))
    return path


def write_layer(folder, name, model):
    """The routed layer and its shared expert as `input` IR."""
    path = folder / ("layer-%s.mlir" % name)
    if path.exists():
        return path
    h, i, e, k = model["hidden"], model["expert_width"], model["experts"], model["top_k"]
    parts = model.get("expert_matrices", 3) - 1
    activation = "<kind = silu>" if parts == 2 else "<kind = relu, gated = false>"
    t = dict(x="tensor<?x%dxbf16>" % h, gate="tensor<%dx%dxbf16>" % (e, h), up="tensor<%dx%dx%dx%dxbf16>" % (e, parts, i, h),
             down="tensor<%dx%dx%dxbf16>" % (e, h, i), w="tensor<?x%dxf32>" % k, ids="tensor<?x%dxi32>" % k)
    arguments = ['%%%s: %s%s' % (n, t[n], ' {moe.name = "x"}' if n == "x" else "") for n in ("x", "gate", "up", "down")]
    body = ["  %%w, %%ids = moe.route %%x, %%gate router(<top_k = %d>) : (%s, %s) -> (%s, %s)" % (k, t["x"], t["gate"], t["w"], t["ids"]),
            "  %%y = moe.experts %%x, %%ids, %%w, %%up, %%down activation(%s) : (%s, %s, %s, %s, %s) -> %s"
            % (activation, t["x"], t["ids"], t["w"], t["up"], t["down"], t["x"])]
    result = "%y"
    if model["shared_width"]:
        s = model["shared_width"]
        t.update(sup="tensor<2x%dx%dxbf16>" % (s, h), sdown="tensor<%dx%dxbf16>" % (h, s))
        arguments += ["%%sup: %s" % t["sup"], "%%sdown: %s" % t["sdown"]]
        body += ["  %%s = moe.shared_expert %%x, %%sup, %%sdown activation(<kind = silu>) : (%s, %s, %s) -> %s" % (t["x"], t["sup"], t["sdown"], t["x"]),
                 "  %%z = arith.addf %%y, %%s : %s" % t["x"]]
        result = "%z"
    path.write_text("func.func @layer(%s) -> (%s {moe.name = \"y\"}) {\n%s\n  return %s : %s\n}\n" %
                    (", ".join(arguments), t["x"], "\n".join(body), result, t["x"]))
    return path


def wants_model(point, model):
    return point["phase"] not in ("compute", "layer") and model.get("heads") is not None


def write_config(folder, name, model):
    if model.get("heads") is None:
        return None
    path = folder / ("config-%s.json" % name)
    if path.exists():
        return path
    config = {"hidden_size": model["hidden"], "num_hidden_layers": model["moe_layers"] + model["dense_layers"], "num_attention_heads": model["heads"],
              "num_key_value_heads": model["kv_heads"], "head_dim": model["head_dim"], "intermediate_size": model["dense_width"] or 0,
              "first_k_dense_replace": model["dense_layers"], "vocab_size": model["vocab"] or 0}
    if model.get("mla"):
        m = model["mla"]
        config.update(q_lora_rank=m["q_lora"], kv_lora_rank=m["kv_lora"], qk_rope_head_dim=m["qk_rope"], qk_nope_head_dim=m["qk_nope"], v_head_dim=m["v_head"])
    path.write_text(json.dumps(config))
    return path


def layout_words(point, par):
    w = ["ep=%d" % par["ep"], "etp=%d" % par["etp"], "edp=%d" % par["edp"]]
    alone = par["ep"] == 1 and par["etp"] == 1
    if point["phase"] == "compute" and not alone:
        w.append("dispatcher=all_gather")
    elif not alone and par["ep"] > 1 and par["dispatcher"] in ("all_to_all", "deepep"):
        w += ["dispatcher=all_to_all", "dedup=" + ("true" if par["dispatcher"] == "deepep" else "false")]
    elif not alone and par["dispatcher"] == "all_gather":
        w.append("dispatcher=all_gather")
    return w


def words(point, layout, model, machine, machine_file, gemm):
    """Alternatives of one layout: pairs of a part of the work and the words that price it."""
    par, w = layout["par"], dict(point["workload"], **(layout.get("workload") or {}))
    phase, ranks = point["phase"], point["ranks"]
    common = ["machine=%s" % machine_file, "ranks=%d" % ranks, "routing=" + routing_of(point), "gemm=" + gemm] + layout_words(point, par)
    common.append("receive=expected")  # what was measured allocates as rows come
    if par["overlap"] is not None:
        common.append("overlap=" + ("true" if par["overlap"] else "false"))
    if phase in ("compute", "layer"):
        return [(phase, " ".join(common + ["phase=prefill", "boundary=split", "tokens=%d" % tokens_of(point, w)]))]
    common += ["attn_tp=%d" % par["attn_tp"], "attn_dp=%d" % par["attn_dp"], "cp=%d" % par["cp"], "pp=%d" % par["pp"]]
    # Not known in training: the optimizer is split, as every framework can.
    common.append("sharding=" + (par["sharding"] or ("zero1" if phase == "train" else "none")))
    if phase == "train":
        common += ["phase=train", "seq=%d" % (w.get("seq") or 4096), "micro_batch=%d" % (w.get("micro_batch") or 1)]
        if w.get("global_batch"):
            common.append("global_batch=%d" % w["global_batch"])
        if par["vpp"]:
            common.append("vpp=%d" % par["vpp"])
        if w.get("recompute"):
            common.append("recompute=true")
        return alternatives(common, par, "step")
    result = []
    asked, written = w.get("input_len") or 2048, w.get("output_len") or 0
    if phase in ("prefill", "serve"):
        tokens = tokens_of(point, w) if phase == "prefill" else concurrency(w) * asked
        result += alternatives(common + ["phase=prefill", "seq=%d" % asked, "tokens=%d" % tokens], par, "prefill")
    if phase in ("decode", "serve"):
        tokens = tokens_of(point, w) if phase == "decode" else concurrency(w)
        result += alternatives(common + ["phase=decode", "context=%d" % (asked + written // 2), "tokens=%d" % tokens], par, "decode")
    return result



def alternatives(common, par, part):
    """Where the dispatcher is not known it is left open; a copy for each rank may take two levels across domains."""
    plain = " ".join(common)
    return [(part, plain)] + ([(part, plain.replace("dispatcher=all_to_all", "dispatcher=two_level"))] if par["dispatcher"] == "deepep" else [])


def concurrency(w):
    return max(1, int(w.get("concurrency") or w.get("request_rate") or 32))


def tokens_of(point, w):
    if w.get("tokens_per_step"):
        return w["tokens_per_step"]
    if w.get("tokens_per_rank"):
        return w["tokens_per_rank"] * point["ranks"]
    if w.get("concurrency"):
        return w["concurrency"] * ((w.get("input_len") or 2048) if point["phase"] == "prefill" else 1)
    return 64 * point["ranks"] if point["phase"] == "decode" else 4096


def seconds_of(point, part, candidate):
    if part == "compute":  # of the most loaded rank, no communication
        terms = candidate["layer"]["terms"]
        return terms.get("experts", 0) + terms.get("permute", 0)
    return candidate["time_us"]


def time_of(point, parts, candidates):
    """us; `inf` when refused, None when not expressed."""
    best = {}
    for (part, _), candidate in zip(parts, candidates):
        if candidate is None:
            continue
        us = seconds_of(point, part, candidate) if candidate["legal"] else math.inf
        best[part] = min(best.get(part, math.inf), us)
    wanted = {part for part, _ in parts}
    if set(best) != wanted:
        return None
    written = point["workload"].get("output_len") or 256
    return sum(us * (written if part == "decode" and len(wanted) > 1 else 1) for part, us in best.items())
