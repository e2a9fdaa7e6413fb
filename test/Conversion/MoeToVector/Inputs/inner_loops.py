"""Checks the inner loops of kernels in assembly: those that multiply touch no stack, and ask for as many lines ahead as the name says, into the cache
that suits their rows: inner_loops.py ASSEMBLY KERNELS [first|second: the cache that few rows ask for]."""

import re
import sys


def loops(lines):
    """Bodies of the loops that end by a jump back to a label before it, innermost only."""
    labels = {}
    for number, line in enumerate(lines):
        label = re.match(r"(\.LBB\w+):", line)
        if label:
            labels[label.group(1)] = number
        jump = re.match(r"\s+j\w+\s+(\.LBB\w+)", line)
        if jump and labels.get(jump.group(1), number) < number:
            body = lines[labels[jump.group(1)]:number]
            if not any(re.match(r"\.LBB", other) for other in body[1:]):
                yield body


def main():
    path, expected, few = sys.argv[1], int(sys.argv[2]), "prefetcht1" if sys.argv[3:] == ["second"] else "prefetcht0"
    found, name, body = 0, None, []
    with open(path) as file:
        for line in file.read().splitlines():
            start = re.match(r"(moe_panel_\w+):", line)
            if start:
                name, body = start.group(1), []
            elif name and line.startswith(".Lfunc_end"):
                products = [loop for loop in loops(body) if any("vfmadd" in l or "vdpbf16" in l for l in loop)]
                assert products, f"{name}: has no inner loop that multiplies"
                frame = any(re.search(r"movq\s+%rsp, %rbp", l) for l in body)
                for loop in products:
                    stack = [l.strip() for l in loop if "%rsp" in l or (frame and "%rbp" in l)]
                    assert not stack, f"{name}: its inner loop touches the stack: {stack[0]}"
                    streams = int((re.search(r"_from(\d)", name) or [0, 1])[1])
                    rows, width = map(int, re.search(r"_(\d+)x(\d+)", name).groups())
                    lanes = 16 if width == 32 else 8
                    count = sum("vfmadd" in l or "vdpbf16" in l for l in loop)
                    assert count % (streams * rows * width // lanes) == 0, f"{name}: {count} products in a round of {rows} rows"
                    cache = few if rows < 6 else "prefetcht1"  # few rows wait for memory, many compute
                    lines = sum(cache in l for l in loop)
                    assert lines == sum("prefetch" in l for l in loop), f"{name}: asks for lines otherwise than by {cache}"
                    assert not any(re.match(r"\s+v?mov\w* +\S+, *[^%]", l) for l in loop), f"{name}: stores in its inner loop"
                    if "_wide_" in name:
                        assert sum("vpmovzxwd" in l for l in body) and not any("vpmovzxwd" in l for l in loop), f"{name}: widens rows in its inner loop"
                        assert sum("vbroadcastss" in l for l in loop) == 2 * rows * streams, f"{name}: does not broadcast each value once"
                    if "_f32_bf16_" in name:  # rows that stand widened
                        together = int((re.search(r"_with(\d)", name) or [0, 1])[1])
                        assert not any("vpmovzxwd" in l for l in body), f"{name}: widens rows"
                        assert sum("vbroadcastss" in l for l in loop) == 2 * rows * streams * together, f"{name}: does not broadcast each value once a panel"
                    ahead = int(re.search(r"_ahead(\d)", name).group(1))
                    assert lines % ahead == 0 and lines if ahead else lines == 0, f"{name}: {lines} lines ahead in a step"
                found += 1
                name = None
            elif name:
                body.append(line)
    assert found == expected, f"{found} kernels found, {expected} expected"
    print(f"{found} kernels hold")


main()
