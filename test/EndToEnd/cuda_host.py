"""cuda_host.py GOLDEN FAMILY LAYER FOLDER WORDS...: compiles a golden layer for a device and runs its host program on all ranks, with kernels that are
modelled in NumPy and memory that is the host's, poisoned. No GPU is needed; what is shown is everything but the kernels' own code.

The words `no-router`, `tokens=N,...`, `table=FILE`, `variants` (each variant in turn) and `fp8` (experts in blocks of 128 x 128, against the CPU's result in
f32) are options, the others a placement.
"""

import ctypes
import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "reference"))
import rules  # noqa: E402
import safetensors  # noqa: E402
from device_model import decode_double, from_bf16, launch, memory, to_bf16  # noqa: E402
from quantizers import FP8, fp8_checkpoints, write_checkpoint  # noqa: E402

P, I32, I64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
ENTRIES = [("team_barrier", []), ("fail", [I32, I64, I64])]
ENTRIES += [(name, [I32, I32, P, P, I64]) for name in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")]
ENTRIES += [(name, [I32, I32, I64, P, P, P, I64]) for name in ("all_gather_v", "reduce_scatter_v")]
ENTRIES += [("all_to_all_v", [I32, I32, I64, P, P, P, P, I64]), ("send", [I32, I32, I32, P, I64]), ("recv", [I32, I32, I32, P, I64])]
ENTRIES += [("launch", [I32, I64, P]), ("tensor_map", [I32, P]), ("copy", [P, P, I64]), ("fill", [P, I32, I64]), ("read", [P, P, I64])]
ENTRIES += [("mark", [I32]), ("variant", [I32, P])]
DTYPES = {"f32": np.float32, "bf16": np.uint16, "i32": np.int32, "f8E4M3FN": np.uint8}
NUMBERS = [np.float32, np.uint16, np.int32]


class TensorMap(ctypes.Structure):
    _fields_ = [("dtype", I32), ("rank", I32), ("base", I64), ("dims", I64 * 5), ("strides", I64 * 4), ("box", I32 * 5), ("swizzle", I32)]


class Context(ctypes.Structure):
    _fields_ = [("entries", P), ("coordinates", P), ("status", P), ("total_tokens", I64)]


def select_by(match, logits, bias):
    router = rules.Router(int(match["k"]), match["score"], bool(match["after"]), int(match["groups"]), int(match["kept"]),
                          ("none", "max", "top2_sum")[int(match["group_score"])], bool(match["normalized"]), decode_double(match["epsilon"]),
                          decode_double(match["scale"]))
    return rules.route_token(router, logits, bias)


class Rank:
    def __init__(self, number, world, manifest, function, library, max_tokens):
        self.number, self.world, self.manifest, self.function = number, world, manifest, function
        self.maps = [None] * function["tensor_maps"]
        self.launches, self.reads, self.problem = [], 0, None
        self.variants = [0] * len(function.get("variants", []))
        types = [ctypes.CFUNCTYPE(I32, P, *arguments) for _, arguments in ENTRIES]
        self.callbacks = [kind(self.guarded(name)) for kind, (name, _) in zip(types, ENTRIES)]
        self.table = (P * len(ENTRIES))(*[ctypes.cast(c, P).value for c in self.callbacks])
        mesh = manifest["mesh"]["shape"]
        self.coordinates = np.array(np.unravel_index(number, mesh), np.int64)
        self.status = np.zeros(1, np.int32)
        self.context = Context(ctypes.addressof(self.table), self.coordinates.ctypes.data, self.status.ctypes.data, 0)
        self.call = lambda name, *arguments: getattr(library, name)(ctypes.byref(self.context), *arguments)
        arena = function["arena"]
        size = arena["constant"] + arena["per_token"] * max_tokens + arena["per_share"] * -(-max_tokens // arena["shares"])
        self.arena = np.full(size + 4096, 0xFF, np.uint8)  # every bf16 and f32 in it is NaN
        self.packed = [np.full(p["bytes"], 0xFF, np.uint8) for p in function["packed"]]
        self.size, self.max_tokens = size, max_tokens

    def guarded(self, name):
        def call(_, *arguments):
            try:
                getattr(self, "do_" + name)(*arguments)
                return 0
            except Exception as problem:  # nothing may leave through compiled code
                self.problem = self.problem or f"{name}: {problem!r}"
                self.world.abort()
                return 1
        return call

    def pointers(self, arrays):
        return (P * max(len(arrays), 1))(*[a.ctypes.data for a in arrays])

    def prepare(self, weights):
        function, packed = self.function, self.pointers(self.packed)
        status = self.call(function["bind"], I64(self.max_tokens), packed, P(self.arena.ctypes.data))
        status = status or self.call(function["prepare"], I32(0), I32(1), self.pointers(weights), packed)
        assert status == 0, self.problem
        assert None not in self.maps, "a slot of tensor maps is not filled"

    def run(self, inputs, outputs, total):
        self.context.total_tokens = total
        status = self.call(self.function["run"], I32(0), I32(1), I64(len(inputs[0])), I64(self.max_tokens), self.pointers(inputs),
                           self.pointers(outputs), self.pointers(self.packed), P(self.arena.ctypes.data))
        if status == 0 and (self.arena[self.size:] != 0xFF).any():
            self.problem = "the arena is written past its end"
        if status != 0 or self.status[0] != 0:
            self.problem = self.problem or f"status {status}, device status {self.status[0]}"

    # Entry points
    def do_team_barrier(self):
        pass

    def do_fail(self, reason, found, limit):
        raise RuntimeError(f"the program fails with {reason}: {found}, {limit}")

    def do_launch(self, number, grid, arguments):
        kernel = self.manifest["kernels"][number]
        self.launches.append(kernel["name"])
        assert (kernel["name"] == kernel["function"]) == bool(kernel["early"])
        assert grid >= -1
        addresses = memory(arguments, len(kernel["params"]), np.uint64)
        values = [int(memory(int(at), 1, np.uint64 if kind == "ptr" else np.int32)[0]) for at, kind in zip(addresses, kernel["params"])]
        launch(kernel["function"], grid, values, self.maps, select_by)

    def do_tensor_map(self, slot, address):
        new = TensorMap.from_buffer_copy((ctypes.c_char * ctypes.sizeof(TensorMap)).from_address(address))
        assert self.maps[slot] is None and new.base % 16 == 0 and new.dtype == 1 and new.swizzle == 2 * new.box[0]
        assert all(stride % 16 == 0 for stride in new.strides[:new.rank - 1])
        assert new.box[0] <= 256 and new.box[1] <= 256 and new.swizzle in (32, 64, 128)
        first = new.base + (new.box[1] * new.strides[0] if new.rank == 3 else 0)
        begin = self.arena.ctypes.data
        inside = any(b.ctypes.data <= first < b.ctypes.data + b.nbytes for b in self.packed) or begin <= first < begin + self.size
        assert inside, "a tensor map begins outside of the arena and the packed weights"
        self.maps[slot] = new

    def do_copy(self, target, source, size):
        memory(target, size, np.uint8)[:] = memory(source, size, np.uint8)

    def do_variant(self, choice, number):
        memory(number, 1, np.int32)[:] = self.variants[choice]

    def do_read(self, host, source, size):
        self.reads += 1
        self.do_copy(host, source, size)

    def exchange(self, group, show):
        """What every member of the group shows, and this rank's place among them."""
        axes, shape = self.manifest["groups"][group], self.manifest["mesh"]["shape"]
        place = lambda rank, which: [np.unravel_index(rank, shape)[axis] for axis in which]
        others = [axis for axis in range(len(shape)) if axis not in axes]
        members = [r for r in range(len(self.world.ranks)) if place(r, others) == place(self.number, others)]
        members.sort(key=lambda r: place(r, axes))
        self.shown = show
        self.world.meet()
        seen = [self.world.ranks[r].shown for r in members]
        return seen, members.index(self.number)

    def do_all_gather(self, group, dtype, send, recv, count):
        seen, _ = self.exchange(group, memory(send, count, NUMBERS[dtype]).copy())
        memory(recv, count * len(seen), NUMBERS[dtype])[:] = np.concatenate(seen)
        self.world.meet()

    def do_all_to_all(self, group, dtype, send, recv, count):
        size = len(self.exchange(group, None)[0])
        self.world.meet()
        seen, me = self.exchange(group, memory(send, count * size, NUMBERS[dtype]).copy().reshape(size, count))
        memory(recv, count * size, NUMBERS[dtype])[:] = np.concatenate([s[me] for s in seen])
        self.world.meet()

    def segments(self, counts, inner, size):
        return memory(counts, size * inner, np.int32).reshape(size, inner).sum(1)

    def do_all_gather_v(self, group, dtype, row, send, recv, counts, inner):
        size = len(self.exchange(group, None)[0])
        self.world.meet()
        rows = self.segments(counts, inner, size)
        seen, me = self.exchange(group, None)
        self.world.meet()
        seen, me = self.exchange(group, memory(send, rows[me] * row, NUMBERS[dtype]).copy())
        assert [len(s) for s in seen] == [r * row for r in rows], "counts that disagree"
        memory(recv, rows.sum() * row, NUMBERS[dtype])[:] = np.concatenate(seen)
        self.world.meet()

    def do_reduce_scatter_v(self, group, dtype, row, send, recv, counts, inner):
        size = len(self.exchange(group, None)[0])
        self.world.meet()
        rows = self.segments(counts, inner, size)
        ends = np.cumsum(rows) * row
        seen, me = self.exchange(group, memory(send, ends[-1], NUMBERS[dtype]).copy())
        assert any(s["dtype"] == ("f32", "bf16")[dtype] for s in self.manifest["sums"]), "no kernel for the sums"
        total = np.zeros(rows[me] * row, np.float32)
        for part in seen:
            part = part[ends[me] - rows[me] * row:ends[me]]
            total += from_bf16(part) if dtype == 1 else part
        memory(recv, len(total), NUMBERS[dtype])[:] = to_bf16(total) if dtype == 1 else total
        self.world.meet()

    def do_all_to_all_v(self, group, dtype, row, send, send_counts, recv, recv_counts, inner):
        size = len(self.exchange(group, None)[0])
        self.world.meet()
        rows = self.segments(send_counts, inner, size)
        sent = memory(send, rows.sum() * row, NUMBERS[dtype]).copy()
        seen, me = self.exchange(group, np.split(sent, np.cumsum(rows)[:-1] * row))
        arrived = [s[me] for s in seen]
        assert [len(a) for a in arrived] == list(self.segments(recv_counts, inner, size) * row), "counts that disagree"
        memory(recv, sum(map(len, arrived)), NUMBERS[dtype])[:] = np.concatenate(arrived)
        self.world.meet()


class World:
    """The ranks of one run, as threads; every collective is a meeting of all."""

    def __init__(self, artifact, max_tokens):
        archive = zipfile.ZipFile(artifact)
        self.manifest = json.loads(archive.read("manifest.json"))
        assert self.manifest["target"] == {"kind": "cuda", "cpu": "x86-64", "arch": "sm_90a"}
        program = Path(str(artifact) + ".so")
        program.write_bytes(archive.read("program.so"))
        for kernel in self.manifest["kernels"]:
            assert archive.read(kernel["entry"])
        self.library = ctypes.CDLL(str(program))
        self.function = self.manifest["functions"][0]
        self.barrier = threading.Barrier(self.manifest["world_size"])
        self.ranks = [Rank(r, self, self.manifest, self.function, self.library, max_tokens) for r in range(self.manifest["world_size"])]

    def meet(self):
        self.barrier.wait(60)

    def abort(self):
        self.barrier.abort()

    def share(self, rank, axes, total):
        shape, number, parts = self.manifest["mesh"]["shape"], 0, 1
        for axis in axes:
            number, parts = number * shape[axis] + int(rank.coordinates[axis]), parts * shape[axis]
        start = total // parts * number + min(number, total % parts)
        return slice(start, start + total // parts + (number < total % parts))

    def weights(self, rank, tensors):
        slices = []
        for weight in self.function["weights"]:
            source = next(s for s in weight["sources"] if all(n.replace("{e}", "0") in tensors for n in s["names"]))
            shape = weight["shape"]
            whole = np.zeros(shape, np.float32)
            for index in np.ndindex(*[shape[d] if d in (source["expert_dim"], source["part_dim"]) else 1 for d in range(len(shape))]):
                expert = index[source["expert_dim"]] if source["expert_dim"] >= 0 else 0
                part = index[source["part_dim"]] if source["part_dim"] >= 0 else 0
                tensor = np.ascontiguousarray(tensors[source["names"][part].replace("{e}", str(expert))], np.float32).reshape(-1)
                free = [d for d in range(len(shape)) if d not in (source["expert_dim"], source["part_dim"])]
                offset = source["offset"] + sum(i * s for i, s in zip(index, source["strides"]))
                view = np.lib.stride_tricks.as_strided(tensor[offset:], [shape[d] for d in free], [4 * source["strides"][d] for d in free])
                whole[tuple(index[d] if d not in free else slice(None) for d in range(len(shape)))] = view
            for split in weight["split"]:
                parts = int(np.prod([self.manifest["mesh"]["shape"][a] for a in split["axes"]]))
                if split["by"] == "slots":
                    slots = self.function["slots"]
                    empty = np.zeros_like(whole[:1])
                    whole = np.concatenate([whole[s:s + 1] if s >= 0 else empty for s in slots])
                part = self.share(rank, split["axes"], whole.shape[split["dim"]])
                assert (part.stop - part.start) * parts == whole.shape[split["dim"]]
                whole = np.take(whole, range(part.start, part.stop), split["dim"])
            if any(rank.coordinates[axis] for axis in weight["first_only"]):
                whole = np.zeros_like(whole)
            assert list(whole.shape) == weight["local_shape"]
            slices.append(to_bf16(whole) if weight["dtype"] == "bf16" else np.ascontiguousarray(whole, DTYPES[weight["dtype"]]))
        return slices

    def each(self, body):
        threads = [threading.Thread(target=body, args=(rank,)) for rank in self.ranks]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        problems = [f"rank {rank.number}: {rank.problem}" for rank in self.ranks if rank.problem]
        if problems:
            raise SystemExit("\n".join(sorted(problems, key=lambda p: "Broken" in p)))

    def run(self, values, total):
        results = {}

        def body(rank):
            inputs = [np.ascontiguousarray(values[i["name"]][self.share(rank, i["split"], total)]) for i in self.function["inputs"]]
            outputs = [np.zeros((len(inputs[0]), *o["shape"][1:]), DTYPES[o["dtype"]]) for o in self.function["outputs"]]
            rank.run(inputs, outputs, total)
            for spec, output in zip(self.function["outputs"], outputs):
                results[rank.number, spec["name"]] = output

        self.each(body)
        whole = {}
        for spec in self.function["outputs"]:
            result = np.zeros((total, *spec["shape"][1:]), DTYPES[spec["dtype"]])
            for rank in self.ranks:
                result[self.share(rank, spec["split"], total)] = results[rank.number, spec["name"]]
            whole[spec["name"]] = result
        return whole


def check(got, golden, tokens):
    """Error of the tokens whose experts are transformers', relative to the largest output, and how many the others are."""
    expected = golden["output"][:tokens]
    agree = np.ones(tokens, bool)
    if "expert_ids" in got:
        agree = (np.sort(got["expert_ids"], 1) == np.sort(golden["expert_ids"][:tokens], 1)).all(1)
    error = np.abs(from_bf16(got["y"]) - expected)[agree].max(initial=0) / max(np.abs(expected).max(initial=0), 1e-30)
    return error, int((~agree).sum())


def quantized_model(model, folder, layer, golden):
    """A checkpoint with experts in fp8, and the CPU's f32 result of the layer in the place of transformers'."""
    with open(f"{model}/config.json") as file:
        config = {**json.load(file), "quantization_config": FP8}
    tensors, _, stored = fp8_checkpoints(safetensors.read(f"{model}/model.safetensors"))
    write_checkpoint(folder / "checkpoint", config, tensors, stored)
    run = lambda *words: subprocess.run(words, check=True, capture_output=True)
    run("moe-import", folder / "checkpoint", f"--layer={layer}", "--dtype=f32", "--no-router", "-o", folder / "f32.mlir")
    run("moe-opt", folder / "f32.mlir", "--place=ranks=1", "--compile-to=artifact", "-o", folder / "f32.moe")
    inputs = []
    for name, value in (("x", golden["input"]), ("expert_ids", golden["expert_ids"].astype(np.int32)),
                        ("expert_weights", golden["expert_weights"].astype(np.float32))):
        np.save(folder / f"{name}.npy", value)
        inputs += ["--input", f"{name}=@{folder}/{name}.npy"]
    run("moe-run", folder / "f32.moe", "--weights", folder / "checkpoint", *inputs, "--output", f"y={folder}/y.safetensors")
    golden["output"] = next(iter(safetensors.read(f"{folder}/y.safetensors").values()))
    return folder / "checkpoint", tensors


def main():
    golden_folder, family, layer, folder, *words = sys.argv[1:]
    flags = ["--no-router"] if "no-router" in words else []
    sizes = [int(n) for w in words if w.startswith("tokens=") for n in w[7:].split(",")] or [0, 1, 13, 80]
    table = [f"--kernel-table={w[6:]}" for w in words if w.startswith("table=")] + ["--variants=all"] * ("variants" in words)
    place = " ".join(w for w in words if w not in ("no-router", "fp8", "variants") and not w.startswith(("tokens=", "table=")))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = f"{golden_folder}/{family}"
    prefix = f"layers.{layer}."
    golden = {name.removeprefix(prefix): value for name, value in safetensors.read(f"{model}/golden.safetensors").items() if name.startswith(prefix)}
    limit, tensors = 2e-2, safetensors.read(f"{model}/model.safetensors")
    if "fp8" in words:
        limit = 8e-2
        model, tensors = quantized_model(model, folder, layer, golden)
    subprocess.run(["moe-import", model, f"--layer={layer}", "--dtype=bf16", *flags, "-o", folder / "layer.mlir"], check=True, stderr=subprocess.DEVNULL)
    made = subprocess.run(["moe-opt", folder / "layer.mlir", f"--place={place}", "--target=cuda", *table, "--compile-to=artifact", "-o", folder / "layer.moe"],
                          capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(made.stderr)
    world = World(folder / "layer.moe", max(sizes + [1]))
    world.each(lambda rank: rank.prepare(world.weights(rank, tensors)))
    values = {"x": to_bf16(golden["input"]), "expert_ids": golden["expert_ids"].astype(np.int32),
              "expert_weights": golden["expert_weights"].astype(np.float32)}
    choices = world.function.get("variants", [])
    chosen = [[0] * len(choices)]
    for number, choice in enumerate(choices):
        # What a layer's products do shows where they have kernels of their own.
        separate = [1 if "few" in other else 0 for other in choices]
        chosen += [separate[:number] + [variant + 1] + separate[number + 1:] for variant in range(len(choice.get("few", choice.get("tiles"))))]
    for tokens, world.ranks[0].variants in [(tokens, variants) for variants in chosen for tokens in sizes]:
        repeats = -(-tokens // 80)
        tiled = {name: np.concatenate([value] * max(repeats, 1))[:tokens] for name, value in {**values, **golden}.items() if value.shape[0] == 80}
        error, others = check(world.run(tiled, tokens), {name: tiled[name] for name in ("output", "expert_ids")}, tokens)
        if error > limit or others > max(0.1 * tokens, 1):
            raise SystemExit(f"{family} with {tokens} tokens, {place}: error {error}, {others} tokens with other experts")
        print(f"{family} {place}: {tokens} tokens, error {error:.1e}, {others} with other experts", *[f"variants {world.ranks[0].variants}"] * bool(choices))
    print("launches:", " ".join(dict.fromkeys(world.ranks[0].launches)))
    print(f"reads: {world.ranks[0].reads}")


if __name__ == "__main__":
    main()
