"""models.py MODEL LAYER CONFIG: one layer of a public model as `input` IR, and its config.json."""
import json, pathlib, sys

# H, I, E, k, shared width, layers, dense layers, dense width, heads, kv heads, head size, vocabulary
SIZES = {
    "mixtral-8x7b": (4096, 14336, 8, 2, 0, 32, 0, 0, 32, 8, 128, 32000),
    "qwen3-235b": (4096, 1536, 128, 8, 0, 94, 0, 12288, 64, 4, 128, 151936),
    "deepseek-v3": (7168, 2048, 256, 8, 2048, 61, 3, 18432, 128, 128, 192, 129280),
}
model, layer, config = sys.argv[1:]
h, i, e, k, s, layers, dense, width, heads, kv, head, vocab = SIZES[model]
x, w, ids = "tensor<?x%dxbf16>" % h, "tensor<?x%dxf32>" % k, "tensor<?x%dxi32>" % k
gate, up, down = "tensor<%dx%dxbf16>" % (e, h), "tensor<%dx2x%dx%dxbf16>" % (e, i, h), "tensor<%dx%dx%dxbf16>" % (e, h, i)
# DeepSeek-V3 chooses from 4 of 8 groups of experts.
router = "top_k = %d" % k + (", score = sigmoid, n_group = 8, topk_group = 4, group_score = top2_sum" if model == "deepseek-v3" else "")
text = ["func.func @layer(%%x: %s {moe.name = \"x\"}, %%gate: %s, %%up: %s, %%down: %s%s) -> %s {" %
        (x, gate, up, down, ", %%sup: tensor<2x%dx%dxbf16>, %%sdown: tensor<%dx%dxbf16>" % (s, h, h, s) if s else "", x),
        "  %%w, %%ids = moe.route %%x, %%gate router(<%s>) : (%s, %s) -> (%s, %s)" % (router, x, gate, w, ids),
        "  %%y = moe.experts %%x, %%ids, %%w, %%up, %%down activation(<kind = silu>) : (%s, %s, %s, %s, %s) -> %s" % (x, ids, w, up, down, x)]
if s:
    text += ["  %%s = moe.shared_expert %%x, %%sup, %%sdown activation(<kind = silu>) : (%s, tensor<2x%dx%dxbf16>, tensor<%dx%dxbf16>) -> %s" % (x, s, h, h, s, x),
             "  %%z = arith.addf %%y, %%s : %s" % x]
text += ["  return %%%s : %s" % ("z" if s else "y", x), "}", ""]
pathlib.Path(layer).write_text("\n".join(text))
out = {"hidden_size": h, "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": head,
       "intermediate_size": width, "first_k_dense_replace": dense, "vocab_size": vocab}
if model == "deepseek-v3":
    out.update(q_lora_rank=1536, kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128)
pathlib.Path(config).write_text(json.dumps(out))
