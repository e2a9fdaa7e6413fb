"""Inputs and float32 references of grouped matmuls."""
import torch


def interleave(gate, up):
    """Weight rows (or bias) of gate and up in alternating blocks of eight, per expert."""
    experts, rows = gate.shape[:2]
    shape = (experts, rows // 8, 8) + gate.shape[2:]
    both = torch.stack([gate.reshape(shape), up.reshape(shape)], 2)
    return both.reshape((experts, 2 * rows) + gate.shape[2:])


def in_blocks(matrix):
    """Rows x columns as blocks of 8 rows x 64 columns, in a tensor of the same shape."""
    rows, columns = matrix.shape
    return matrix.view(rows // 8, 8, columns // 64, 64).transpose(1, 2).reshape(rows, columns)


def multinomial_sizes(rows, experts, seed):
    """Uneven experts: p = softmax(0.4 randn)."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.softmax(0.4 * torch.randn(experts, generator=generator), 0)
    draws = torch.multinomial(p, rows, True, generator=generator)
    return torch.bincount(draws, minlength=experts).tolist()


class Problem:
    """y[r] = scale[r] * epilogue(x[index[r]] w[e]^T + bias[e])."""

    def __init__(self, sizes, n, k, tokens=None, seed=1):
        torch.manual_seed(seed)
        rows, experts = sum(sizes), len(sizes)
        bf16 = {"device": "cuda", "dtype": torch.bfloat16}
        self.sizes, self.n, self.k = sizes, n, k
        self.tokens = torch.randn(tokens or max(rows // 2, 1), k, **bf16)
        self.index = torch.randint(0, len(self.tokens), (max(rows, 1),), device="cuda",
                                   dtype=torch.int32)
        self.x = self.tokens[self.index.long()]
        self.w = torch.randn(experts * n, k, **bf16) * k ** -0.5
        self.scale = torch.rand(max(rows, 1), device="cuda") + 0.5
        self.bias = torch.randn(experts * n, device="cuda")
        self.places = torch.randperm(max(rows, 1), device="cuda").int()
        self.factors = torch.randn(max(rows, 1), device="cuda")
        self.offsets = torch.tensor([0, *torch.tensor(sizes).cumsum(0).tolist()],
                                    dtype=torch.int32, device="cuda")

    def arguments(self, kernel_settings, y):
        gathered = kernel_settings.get("gather") == "1"
        w = in_blocks(self.w) if kernel_settings.get("blocked-weights") == "1" else self.w
        return {"x": self.tokens if gathered else self.x, "index": self.index, "w": w, "y": y,
                "offsets": self.offsets, "bias": self.bias, "scale": self.scale, "places": self.places, "factors": self.factors, **self.split_room(kernel_settings)}

    def split_room(self, settings):
        """Memory for a kernel with `split`: its state, zero, and parts, not a number until they are written."""
        if "split" not in settings:
            return {}
        slices, last = int(settings["split"]), int(settings.get("split-tiles", 128))
        tile = int(settings.get("tile-tokens", 128)) * int(settings.get("tile-weights", 256))
        return {"state": torch.zeros(32 + 2 * last, device="cuda", dtype=torch.int32),
                "parts": torch.full((max(last * slices * tile, 1) if slices > 1 else 1,), float("nan"), device="cuda")}

    def columns(self, settings):
        return self.n if settings.get("epilogue", "none") == "none" else self.n // 2

    def reference(self, settings, expert, begin, end):
        """Rows begin .. end - 1 (of all), which belong to `expert`, in float32."""
        n = self.n
        y = self.x[begin:end].float() @ self.w[expert * n:(expert + 1) * n].float().t()
        if settings.get("bias") == "1":
            y += self.bias[expert * n:(expert + 1) * n]
        epilogue = settings.get("epilogue", "none")
        if epilogue != "none":
            pairs = y.view(len(y), -1, 2, 8)
            gate, up = pairs[:, :, 0], pairs[:, :, 1]
            if epilogue == "swiglu":
                y = torch.nn.functional.silu(gate) * up
            else:
                gate, up = gate.clamp(max=7.0), up.clamp(-7.0, 7.0)
                y = (up + 1) * gate * torch.sigmoid(1.702 * gate)
            y = y.reshape(end - begin, -1)
        if settings.get("row-scale") == "1":
            y = y * self.scale[begin:end, None]
        if settings.get("scatter-factors") == "1":
            y = y * self.factors[self.places[begin:end].long(), None]
        return y

    def error(self, settings, y, limit=None):
        """||y - reference|| / ||reference||, the worst expert; NaN where y has any.  With a limit
        only the first and last rows of every expert are looked at."""
        worst, begin = 0.0, 0
        for expert, size in enumerate(self.sizes):
            part = min(size, limit or size)
            for lower in sorted({begin, begin + size - part}) if size else []:
                want = self.reference(settings, expert, lower, lower + part)
                have = y[lower:lower + part].float()
                error = ((have - want).norm() / want.norm()).item()
                if not error <= worst:
                    worst = error
            begin += size
        return worst
