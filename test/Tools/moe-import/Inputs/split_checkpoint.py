"""split_checkpoint.py GOLDEN FOLDER: a golden checkpoint as two files and an index, tensors dealt out in turn."""
import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "..", "reference"))
import safetensors

golden, folder = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
shutil.copy(os.path.join(golden, "config.json"), folder)
tensors = safetensors.read(os.path.join(golden, "model.safetensors"))
files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
placed = {name: files[i % 2] for i, name in enumerate(tensors)}
for file in files:
    safetensors.write(os.path.join(folder, file), {name: tensor for name, tensor in tensors.items() if placed[name] == file})
with open(os.path.join(folder, "model.safetensors.index.json"), "w") as out:
    json.dump({"metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())}, "weight_map": placed}, out, indent=1)
