"""price_by_hand.py: the numbers of docs/Placement.md's worked example, from the sizes of Mixtral's layer and machines/h200-8.json alone."""
H, I, TOP_K, TOKENS, RANKS = 4096, 14336, 2, 4096, 8
PEAK, READ = 989e12 * 0.85, 4.8e12 * 0.89  # FLOP/s and byte/s that kernels reach
LAUNCH, GROUP, DEPTH_HALF, OVERLAP = 4.0, 0.087 / 2, 485, 1.5
LATENCY, LINK = 11.0, 450e9 * 0.67  # of an all_to_all


def product(rows, columns, depth, weights):
    """us: multipliers and memory overlap."""
    compute = 2 * rows * columns * (depth + DEPTH_HALF) / PEAK * 1e6
    memory = (2 * columns * depth * weights + 2 * rows * (H + I)) / READ * 1e6
    return LAUNCH + GROUP + (compute**OVERLAP + memory**OVERLAP) ** (1 / OVERLAP)


rows = TOKENS * TOP_K // RANKS  # of the one expert of a rank, routing balanced
sent = TOKENS // RANKS * TOP_K * (RANKS - 1) / RANKS * 2 * H  # bytes of a rank, one way
print("rows %d; weights read %.1f MB; sent %.2f MB, there and back" % (rows, 3 * H * I * 2 / 1e6, 2 * sent / 1e6))
print("experts %.1f us: up %.1f, down %.1f" % (product(rows, 2 * I, H, 1) + product(rows, H, I, 1), product(rows, 2 * I, H, 1), product(rows, H, I, 1)))
print("dispatch %.1f us, combine as much" % (LATENCY + sent / LINK * 1e6))
