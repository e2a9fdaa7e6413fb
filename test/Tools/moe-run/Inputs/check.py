"""Prints what a routing file and a statistics file hold."""
import json
import struct
import sys

with open(sys.argv[1], "rb") as file:
    size, = struct.unpack("<Q", file.read(8))
    header = json.loads(file.read(size))
    data = file.read()
for name in "expert_ids", "expert_weights", "counts":
    entry = header["layers.3." + name]
    begin, end = entry["data_offsets"]
    values = list(struct.unpack("<5q", data[begin:end])) if name == "counts" else ""
    print(name, entry["dtype"], entry["shape"], values)
with open(sys.argv[2]) as file:
    stats = json.load(file)
(resident,), (peak,) = stats["resident_bytes"], stats["peak_resident_bytes"]
assert stats["arena_bytes"] + stats["packed_bytes"] < resident <= peak < 1 << 34, (resident, peak)
print("stats", stats["function"], stats["ranks"], "ranks", stats["threads"], "threads", stats["tokens"], "tokens",
      len(stats["seconds"]), "runs", len(stats["counters"]), "counters")
