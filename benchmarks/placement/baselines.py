"""Rules that a planner has to beat. Each gives a layout a number; the least is chosen."""
BYTES = {"bf16": 2, "unknown": 2, "fp8": 1, "mxfp8": 1, "nvfp4": 0.5, "mxfp4": 0.5}


def ep_max(point, layout, data):
    """The largest EP whose EP x ETP group lies inside a link domain, else the smallest EP."""
    par = layout["par"]
    inside = par["ep"] * par["etp"] <= data["machines"][point["machine"]]["link_domain"]
    return (-1.0 * par["ep"]) if inside else (1.0 * par["ep"])


def tp_max(point, layout, data):
    """The largest ETP, then the largest attention TP."""
    return -(layout["par"]["etp"] * 1e6 + layout["par"]["attn_tp"])


def tokens_of(point, layout):
    w = dict(point["workload"], **(layout.get("workload") or {}))
    par = layout["par"]
    if w.get("tokens_per_step"):
        return w["tokens_per_step"]
    if w.get("tokens_per_rank"):
        return w["tokens_per_rank"] * point["ranks"]
    if point["phase"] == "train":
        return (w.get("seq") or 4096) * (w.get("micro_batch") or 1) * par["attn_dp"]
    if w.get("concurrency"):
        return w["concurrency"] * ((w.get("input_len") or 1) if point["phase"] == "prefill" else 1)
    return 64 * point["ranks"]


def volume(point, layout, data):
    """Bytes that a rank sends for a layer's forward pass (FIELD rules: EP k/n of TP's, never above; gather and scatter where k > n)."""
    par, model = layout["par"], data["models"][point["model"]]
    stage = point["ranks"] // par["pp"]
    local = tokens_of(point, layout) / stage
    h, k, ep, etp = model["hidden"] * 2, model["top_k"], par["ep"], par["etp"]
    if par["dispatcher"] == "all_gather" or (ep == 1 and etp > 1):
        n = ep * etp
        return 2 * local * n * h * (n - 1) / n
    copies = k
    if par["dispatcher"] in ("deepep", None) and ep > 1:
        missed = 1.0
        size = model["experts"] / ep
        for i in range(k):
            missed *= max(0.0, (model["experts"] - size - i) / (model["experts"] - i))
        copies = ep * (1 - missed)
    sent = 2 * local * copies * h * (ep - 1) / ep
    return sent + 2 * local * copies * h * (etp - 1) + (1e-3 * (par["attn_tp"] - 1) if point["phase"] == "train" else 0)


def roofline(point, layout, data):
    """max(FLOPs / peak, bytes / HBM bandwidth) + payload / link bandwidth, peak figures."""
    par, model, machine = layout["par"], data["models"][point["model"]], data["machines"][point["machine"]]
    peak = {"bf16": "peak_bf16_TFLOPs", "unknown": "peak_bf16_TFLOPs", "fp8": "peak_fp8_TFLOPs", "mxfp8": "peak_fp8_TFLOPs",
            "nvfp4": "peak_fp4_TFLOPs", "mxfp4": "peak_fp4_TFLOPs"}[point["dtype"]]
    rate = (machine.get(peak) or machine["peak_bf16_TFLOPs"]) * 1e12
    stage = point["ranks"] // par["pp"]
    tokens = tokens_of(point, layout)
    matrices = model.get("expert_matrices", 3)
    expert = matrices * model["hidden"] * model["expert_width"]
    flops = 2 * expert * model["top_k"] * tokens / stage
    touched = min(model["experts"], tokens / par["edp"] * model["top_k"]) / par["ep"]
    weights = max(1.0, touched) * expert / par["etp"] * BYTES[point["dtype"]]
    group = par["ep"] * par["etp"]
    inside = group <= machine["link_domain"] or not machine["inter_GBps_per_gpu_unidir"]
    link = machine["intra_GBps_per_gpu_unidir"] if inside else machine["inter_GBps_per_gpu_unidir"]
    payload = 0 if point["phase"] == "compute" else volume(point, layout, data)
    return max(flops / rate, weights / (machine["hbm_TBps"] * 1e12)) + payload / (link * 1e9)


RULES = {"ep-max": ep_max, "tp-max": tp_max, "roofline": roofline, "volume": volume}
