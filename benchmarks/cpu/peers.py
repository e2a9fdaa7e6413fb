"""What users would run instead: transformers' own experts, a loop over oneDNN's packed products, and compiled code."""
import torch
import torch.nn.functional as F
import transformers.integrations.moe as experts_of_transformers

LAYERS = {"mix": (8, 2, 2048, 7168), "qwen": (128, 8, 2048, 768)}  # experts, experts a token, hidden, inner


def make_block(layer, dtype):
    """transformers' block of experts with random weights."""
    experts, k, hidden, inner = LAYERS[layer]
    if layer == "mix":
        from transformers import MixtralConfig
        from transformers.models.mixtral.modeling_mixtral import MixtralExperts as Experts
        config = MixtralConfig(hidden_size=hidden, intermediate_size=inner, num_local_experts=experts, num_experts_per_tok=k)
    else:
        from transformers import Qwen3MoeConfig
        from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts as Experts
        config = Qwen3MoeConfig(hidden_size=hidden, moe_intermediate_size=inner, num_experts=experts, num_experts_per_tok=k)
    torch.set_default_dtype(dtype)
    block = Experts(config).eval()
    torch.set_default_dtype(torch.float32)
    # A prime number of values, repeated, so that no two rows are alike.
    values = (torch.randn(4194301) * 0.02).to(dtype)
    for weights in block.parameters():
        flat = weights.data.view(-1)
        for begin in range(0, len(flat), len(values)):
            part = flat[begin:begin + len(values)]
            part.copy_(values[:len(part)])
    return block, config


class Peers:
    def __init__(self, layer, dtype):
        self.layer, self.dtype = layer, dtype
        self.experts, self.k, self.hidden, self.inner = LAYERS[layer]
        self.block, self.config = make_block(layer, dtype)
        self.up, self.down = self.block.gate_up_proj.data, self.block.down_proj.data

    def as_transformers(self, implementation):
        def call(x, ids, weights):
            self.config._experts_implementation = implementation
            return self.block(x, ids, weights)
        return call

    def packed(self):
        """For each expert with tokens one product by weights that oneDNN packed before."""
        pack = torch.ops.mkldnn._reorder_linear_weight
        ups, downs = ([pack(w[e], None) for e in range(self.experts)] for w in (self.up, self.down))
        product = torch.ops.mkldnn._linear_pointwise

        def call(x, ids, weights):
            order = torch.argsort(ids.flatten(), stable=True)
            counts = torch.bincount(ids.flatten(), minlength=self.experts).tolist()
            rows, results = x[order // self.k], torch.empty(len(order), self.hidden, dtype=x.dtype)
            begin = 0
            for e, count in enumerate(counts):
                if count == 0:
                    continue
                end = begin + count
                h = product(rows[begin:end], ups[e], None, "none", [], "")
                h = F.silu(h[:, :self.inner]).mul_(h[:, self.inner:])
                results[begin:end] = product(h, downs[e], None, "none", [], "")
                begin = end
            results.mul_(weights.flatten()[order].unsqueeze(-1))
            y = torch.empty_like(results)
            y[order] = results
            return y.view(len(x), self.k, self.hidden).sum(1)
        return call

    def compiled(self):
        def call(x, ids, weights):
            return experts_of_transformers.batched_mm_experts_forward(self.block, x, ids, weights)
        return torch.compile(call, dynamic=False)

    def inputs(self, tokens):
        x = torch.randn(tokens, self.hidden).to(self.dtype)
        weights, ids = torch.softmax(torch.randn(tokens, self.experts), -1).topk(self.k, -1)
        return x, ids, (weights / weights.sum(-1, keepdim=True)).to(self.dtype)

    def contenders(self):
        """name -> (function, the most bytes of gathered weights for which it is run)"""
        calls = {"eager": (self.as_transformers("eager"), float("inf")), "grouped_mm": (self.as_transformers("grouped_mm"), float("inf")),
                 "batched_mm": (self.as_transformers("batched_mm"), 2e9), "compiled": (self.compiled(), 6e9)}
        # oneDNN refuses bf16 on a processor with AVX2 alone.
        if self.dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported():
            calls["packed"] = (self.packed(), float("inf"))
        return calls
