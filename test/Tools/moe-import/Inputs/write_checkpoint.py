"""write_checkpoint.py GOLDEN FOLDER EDIT: copies a golden checkpoint's config.json and rewrites its model.safetensors in one way. EDIT is
Python that may change `header` (a dictionary), `text` (the header's bytes, made from it unless set) and `data` (what follows)."""
import json
import os
import shutil
import struct
import sys

golden, folder, edit = sys.argv[1:]
with open(os.path.join(golden, "model.safetensors"), "rb") as file:
    whole = file.read()
length = struct.unpack("<Q", whole[:8])[0]
scope = {"header": json.loads(whole[8:8 + length]), "text": None, "data": whole[8 + length:], "length": None, "json": json}
exec(edit, scope)
text = scope["text"] if scope["text"] is not None else json.dumps(scope["header"]).encode()
length = scope["length"] if scope["length"] is not None else len(text)
os.makedirs(folder, exist_ok=True)
shutil.copy(os.path.join(golden, "config.json"), folder)
with open(os.path.join(folder, "model.safetensors"), "wb") as file:
    file.write(struct.pack("<Q", length) + text + scope["data"])
