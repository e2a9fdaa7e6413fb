"""Checkpoints of any size that take no room: the headers are real, the tensors are holes in files, which read as zeros."""
import json
import os
import struct

SIZES = {"F32": 4, "BF16": 2, "F8_E4M3": 1}


def write_shard(path, tensors):
    """`tensors`: name -> (dtype, shape)."""
    header, at = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = SIZES[dtype]
        for extent in shape:
            size *= extent
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)


def write_checkpoint(folder, config, tensors, tensors_a_shard):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file, indent=1)
    names = list(tensors)
    shards = [names[i:i + tensors_a_shard] for i in range(0, len(names), tensors_a_shard)]
    index = {}
    for number, shard in enumerate(shards):
        name = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        write_shard(os.path.join(folder, name), {n: tensors[n] for n in shard})
        index.update(dict.fromkeys(shard, name))
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {}, "weight_map": index}, file)
    return len(shards)


def mixtral(layers, hidden, width, experts, top_k, dtype="BF16"):
    config = {"model_type": "mixtral", "hidden_size": hidden, "intermediate_size": width, "num_local_experts": experts, "num_experts_per_tok": top_k,
              "num_hidden_layers": layers, "hidden_act": "silu", "torch_dtype": {"BF16": "bfloat16", "F32": "float32"}[dtype]}
    tensors = {}
    for layer in range(layers):
        prefix = f"model.layers.{layer}.block_sparse_moe."
        tensors[prefix + "gate.weight"] = (dtype, [experts, hidden])
        for expert in range(experts):
            for name, shape in (("w1", [width, hidden]), ("w2", [hidden, width]), ("w3", [width, hidden])):
                tensors[f"{prefix}experts.{expert}.{name}.weight"] = (dtype, shape)
    return config, tensors


def deepseek_v3(layers=60, experts=256):
    """Names, types and shapes of DeepSeek-V3's experts: fp8 in blocks of 128 x 128, with a scale for each block."""
    hidden, width = 7168, 2048
    config = {"model_type": "deepseek_v3", "hidden_size": hidden, "intermediate_size": 18432, "moe_intermediate_size": width, "n_routed_experts": experts,
              "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
              "scoring_func": "sigmoid", "topk_method": "noaux_tc", "first_k_dense_replace": 0, "moe_layer_freq": 1, "num_hidden_layers": layers,
              "hidden_act": "silu", "torch_dtype": "bfloat16",
              "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}}
    tensors = {}
    for layer in range(layers):
        prefix = f"model.layers.{layer}.mlp."
        tensors[prefix + "gate.weight"] = ("BF16", [experts, hidden])
        tensors[prefix + "gate.e_score_correction_bias"] = ("F32", [experts])
        for expert in [f"experts.{i}" for i in range(experts)] + ["shared_experts"]:
            for name, shape in (("gate_proj", [width, hidden]), ("up_proj", [width, hidden]), ("down_proj", [hidden, width])):
                tensors[f"{prefix}{expert}.{name}.weight"] = ("F8_E4M3", shape)
                tensors[f"{prefix}{expert}.{name}.weight_scale_inv"] = ("F32", [extent // 128 for extent in shape])
    return config, tensors
