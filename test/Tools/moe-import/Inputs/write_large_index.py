"""write_large_index.py FOLDER: config.json and an index of a model of 61 layers, 58 of them with 256 experts. No tensors."""
import json
import os
import sys

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
config = {"model_type": "deepseek_v3", "torch_dtype": "bfloat16", "hidden_size": 7168, "moe_intermediate_size": 2048, "n_routed_experts": 256,
          "num_experts_per_tok": 8, "num_hidden_layers": 61, "first_k_dense_replace": 3, "n_shared_experts": 1, "n_group": 8, "topk_group": 4,
          "norm_topk_prob": True, "routed_scaling_factor": 2.5, "hidden_act": "silu", "scoring_func": "sigmoid", "topk_method": "noaux_tc",
          "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}}
names = []
for layer in range(3, 61):
    block = f"model.layers.{layer}.mlp."
    names += [block + "gate.weight", block + "gate.e_score_correction_bias"]
    for expert in [f"experts.{e}." for e in range(256)] + ["shared_experts."]:
        for part in ("gate_proj", "up_proj", "down_proj"):
            names += [f"{block}{expert}{part}.weight", f"{block}{expert}{part}.weight_scale_inv"]
with open(os.path.join(folder, "config.json"), "w") as out:
    json.dump(config, out)
with open(os.path.join(folder, "model.safetensors.index.json"), "w") as out:
    json.dump({"weight_map": {name: f"model-{i // 600:05}.safetensors" for i, name in enumerate(names)}}, out)
