"""Layers of the golden families, read from their own names and config fields."""
import json
import os

import numpy as np

import safetensors
from rules import Activation, Experts, Layer, Router


class Checkpoint:
    def __init__(self, folder):
        with open(os.path.join(folder, "config.json")) as file:
            self.config = json.load(file)
        self.tensors = safetensors.read(os.path.join(folder, "model.safetensors"))
        self.family = self.config["model_type"]

    def moe_layers(self):
        first = self.config.get("first_k_dense_replace", 0)
        return list(range(first, self.config["num_hidden_layers"]))

    def layer(self, index):
        readers = {"mixtral": mixtral, "qwen2_moe": qwen, "qwen3_moe": qwen, "olmoe": qwen, "deepseek_v3": deepseek,
                   "gpt_oss": gpt_oss}
        return readers[self.family](self.config, self.tensors, f"model.layers.{index}.")


def experts_of(config):
    return config.get("num_local_experts") or config.get("num_experts") or config.get("n_routed_experts")


def per_expert(config, tensors, prefix, gate, up, down):
    numbers = range(experts_of(config))
    return Experts(
        up=np.stack([np.stack([tensors[f"{prefix}{e}.{part}.weight"] for part in (gate, up)]) for e in numbers]),
        down=np.stack([tensors[f"{prefix}{e}.{down}.weight"] for e in numbers]))


def shared(tensors, prefix):
    return Experts(up=np.stack([tensors[prefix + "gate_proj.weight"], tensors[prefix + "up_proj.weight"]])[None],
                   down=tensors[prefix + "down_proj.weight"][None])


def mixtral(config, tensors, prefix):
    block = prefix + "block_sparse_moe."
    return Layer(router=Router(config["num_experts_per_tok"], normalize=True), gate=tensors[block + "gate.weight"],
                 experts=per_expert(config, tensors, block + "experts.", "w1", "w3", "w2"))


def qwen(config, tensors, prefix):
    block = prefix + "mlp."
    layer = Layer(router=Router(config["num_experts_per_tok"], normalize=config["norm_topk_prob"]),
                  gate=tensors[block + "gate.weight"],
                  experts=per_expert(config, tensors, block + "experts.", "gate_proj", "up_proj", "down_proj"))
    if config["model_type"] == "qwen2_moe":
        layer.shared = shared(tensors, block + "shared_expert.")
        layer.shared_gate = tensors[block + "shared_expert_gate.weight"]
    return layer


def deepseek(config, tensors, prefix):
    block = prefix + "mlp."
    router = Router(config["num_experts_per_tok"], score="sigmoid", groups=config["n_group"],
                    kept_groups=config["topk_group"], group_score="top2_sum", normalize=config["norm_topk_prob"],
                    epsilon=1e-20, scale=config["routed_scaling_factor"])
    return Layer(router=router, gate=tensors[block + "gate.weight"],
                 selection_bias=tensors[block + "gate.e_score_correction_bias"],
                 experts=per_expert(config, tensors, block + "experts.", "gate_proj", "up_proj", "down_proj"),
                 shared=shared(tensors, block + "shared_experts."))


def gpt_oss(config, tensors, prefix):
    block = prefix + "mlp."
    fused = tensors[block + "experts.gate_up_proj"]  # [E, H, 2I], columns alternate
    bias = tensors[block + "experts.gate_up_proj_bias"]
    experts = Experts(up=np.stack([fused[:, :, 0::2], fused[:, :, 1::2]], axis=1).transpose(0, 1, 3, 2),
                      down=tensors[block + "experts.down_proj"].transpose(0, 2, 1),
                      up_bias=np.stack([bias[:, 0::2], bias[:, 1::2]], axis=1),
                      down_bias=tensors[block + "experts.down_proj_bias"])
    return Layer(router=Router(config["num_experts_per_tok"], after_top_k=True), gate=tensors[block + "router.weight"],
                 gate_bias=tensors[block + "router.bias"], experts=experts,
                 activation=Activation(alpha=1.702, limit=7.0, up_offset=1.0))
