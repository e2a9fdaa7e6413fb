"""Inputs and float32 references of grouped matmuls of e4m3 with block scales."""
import torch

from problems import in_blocks, interleave

E4M3 = torch.float8_e4m3fn
LARGEST = 448.0


def up_to_blocks(matrix):
    """A matrix with rows and columns padded with zeros to multiples of 128."""
    rows, columns = matrix.shape
    return torch.nn.functional.pad(matrix, (0, -columns % 128, 0, -rows % 128))


def quantize_rows(x):
    """(codes [rows, k], scales [k / 128, rows]) of the rows' blocks of 128 columns."""
    rows, k = x.shape
    blocks = torch.nn.functional.pad(x.float(), (0, -k % 128)).view(rows, -1, 128)
    scales = blocks.abs().amax(2).clamp(min=1e-30) / LARGEST
    codes = (blocks / scales[:, :, None]).view(rows, -1)[:, :k].to(E4M3)
    return codes.contiguous(), scales.t().contiguous()


def dequantize_rows(codes, scales):
    wide = scales.t().repeat_interleave(128, 1)[:, :codes.shape[1]]
    return codes.float() * wide


def quantize_matrix(w):
    """(codes [n, k], scales [n / 128, k / 128]) of blocks of 128 x 128."""
    n, k = w.shape
    padded = up_to_blocks(w.float())
    blocks = padded.view(padded.shape[0] // 128, 128, padded.shape[1] // 128, 128)
    scales = blocks.abs().amax((1, 3)).clamp(min=1e-12) / LARGEST
    codes = (blocks / scales[:, None, :, None]).view(padded.shape)[:n, :k].to(E4M3)
    return codes.contiguous(), scales


def quantize_weights(matrices):
    """Codes and scales of [experts, parts, n, k]."""
    experts, parts, n, k = matrices.shape
    pairs = [quantize_matrix(matrix) for matrix in matrices.reshape(-1, n, k)]
    codes = torch.stack([code.view(torch.int8) for code, _ in pairs]).view(E4M3)
    scales = torch.stack([scale for _, scale in pairs])
    return codes.view(experts, parts, n, k), scales.view(experts, parts, *scales.shape[1:])


def dequantize_matrix(codes, scales):
    wide = scales.repeat_interleave(128, 0).repeat_interleave(128, 1)
    return codes.float() * wide[:codes.shape[0], :codes.shape[1]]


def as_pairs(codes):
    """How tensor maps see e4m3: two of them as one element."""
    return codes.view(torch.int8).view(torch.bfloat16)


def pack_weights(codes, blocked):
    """Codes [experts, parts, rows, k] as the kernels read them."""
    pairs = as_pairs(codes)
    if codes.shape[1] == 2:
        packed = interleave(pairs[:, 0], pairs[:, 1]).reshape(-1, pairs.shape[3])
    else:
        packed = pairs.reshape(-1, pairs.shape[3])
    return in_blocks(packed) if blocked else packed.contiguous()


class ScaledProblem:
    """y[r] = epilogue(x[r] w[e]^T), operands with scales of very different size from block to block."""

    def __init__(self, sizes, n, k, paired, seed=1, uneven=True):
        torch.manual_seed(seed)
        rows, experts, parts = sum(sizes), len(sizes), 2 if paired else 1
        self.sizes, self.n, self.k, self.paired, self.parts = sizes, n, k, paired, parts
        self.scale_rows = rows + 5  # the buffer may have more rows than are used
        x = torch.randn(rows, k, device="cuda")
        if uneven:
            x *= torch.exp(torch.randn(rows, -(-k // 128), device="cuda")).repeat_interleave(128, 1)[:, :k]
        self.bf16 = x.to(torch.bfloat16)
        self.x, scales = quantize_rows(self.bf16)
        self.x_scale = torch.full((len(scales), self.scale_rows), float("nan"), device="cuda")
        self.x_scale[:, :rows] = scales
        codes, scales = [], []
        for _ in range(experts * parts):
            w = torch.randn(n // parts, k, device="cuda") * k ** -0.5
            if uneven:
                spread = torch.exp(torch.randn(-(-n // parts // 128), -(-k // 128), device="cuda"))
                w *= spread.repeat_interleave(128, 0).repeat_interleave(128, 1)[:n // parts, :k]
            code, scale = quantize_matrix(w)
            codes.append(code)
            scales.append(scale)
        self.codes = torch.stack(codes).view(experts, parts, n // parts, k)
        self.w_scale = torch.stack(scales).view(experts, parts, *scales[0].shape)
        self.packed = {}
        self.places = torch.randperm(max(rows, 1), device="cuda").int()
        self.factors = torch.rand(max(rows, 1), device="cuda") + 0.5
        self.offsets = torch.tensor([0, *torch.tensor(sizes).cumsum(0).tolist()], dtype=torch.int32, device="cuda")

    def columns(self):
        return self.n // self.parts

    def arguments(self, settings, y, y_scale=None):
        blocked = settings.get("blocked-weights") == "1"
        if blocked not in self.packed:
            self.packed[blocked] = pack_weights(self.codes, blocked)
        quantized = settings.get("quantize") == "1"
        x, x_scale = self.x, self.x_scale
        if settings.get("gather") == "1":  # rows in the order of the experts stand in another one
            x, x_scale = torch.empty_like(x), x_scale.clone()
            x.view(torch.int8)[self.places.long()] = self.x.view(torch.int8)
            x_scale[:, self.places.long()] = self.x_scale[:, :len(x)]
        return {"x": as_pairs(x), "index": self.places, "w": self.packed[blocked], "y": as_pairs(y) if quantized else y, "offsets": self.offsets,
                "x_scale": x_scale, "w_scale": self.w_scale, "y_scale": y_scale, "scale_rows": self.scale_rows,
                "places": self.places, "factors": self.factors}

    def in_order(self, settings, y):
        """A scattered output in the order of the experts, without its factors."""
        if settings.get("scatter") != "1":
            return y
        places = self.places[:len(y)].long()
        return y[places].float() / (self.factors[places, None] if settings.get("scatter-factors") == "1" else 1)

    def reference(self, expert, begin, end):
        x = dequantize_rows(self.x[begin:end], self.x_scale[:, begin:end])
        parts = [x @ dequantize_matrix(self.codes[expert, p], self.w_scale[expert, p]).t() for p in range(self.parts)]
        return torch.nn.functional.silu(parts[0]) * parts[1] if self.paired else parts[0]

    def error(self, y, limit=None):
        """||y - reference|| / ||reference||, the worst expert; NaN where y has any.  With a limit only the first and last rows
        of every expert are looked at."""
        worst, begin = 0.0, 0
        for expert, size in enumerate(self.sizes):
            part = min(size, limit or size)
            for lower in sorted({begin, begin + size - part}) if size else []:
                want = self.reference(expert, lower, lower + part)
                error = ((y[lower:lower + part].float() - want).norm() / want.norm()).item()
                if not error <= worst:
                    worst = error
            begin += size
        return worst
