"""deep_json.py FOLDER: JSON that nests deeper than any stack, and JSON with a key twice, as files of each kind."""
import os
import struct
import sys

deep, twice = b'{"a":' * 1000000, b'{"a": 1, "\\u0061": 2}'
for name, text in (("deep", deep), ("twice", twice)):
    os.makedirs(os.path.join(sys.argv[1], name), exist_ok=True)
    for path in (f"{name}.json", f"{name}/config.json"):
        with open(os.path.join(sys.argv[1], path), "wb") as file:
            file.write(text)
    with open(os.path.join(sys.argv[1], f"{name}.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b" ")
