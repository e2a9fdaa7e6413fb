"""cpu_object.py GOLDEN FOLDER: symbols of compiled programs with every kind of router, activation and bias."""
import subprocess
import sys

golden, folder = sys.argv[1:]
CASES = [("mixtral", 0, "f32", "x86-64-v3"), ("qwen2_moe", 0, "bf16", "x86-64-v3"), ("deepseek_v3", 1, "bf16", "x86-64-v4"),
         ("gpt_oss", 0, "f32", "x86-64-v4"), ("qwen3_moe", 0, "bf16", "native"), ("gpt_oss", 0, "bf16", "native")]


def symbols(path, kind):
    """Names in the dynamic symbol table."""
    command = ["llvm-nm", "--dynamic", f"--{kind}-only", "--just-symbol-name", path]
    return sorted(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


for family, layer, dtype, cpu in CASES:
    subprocess.run(["moe-import", f"{golden}/{family}", f"--layer={layer}", f"--dtype={dtype}", "-o", f"{folder}/layer.mlir"], check=True,
                   stderr=subprocess.DEVNULL)
    subprocess.run(["moe-opt", f"{folder}/layer.mlir", "--place=ranks=2 ep=2", f"--cpu={cpu}", "--compile-to=artifact", "-o",
                    f"{folder}/layer.moe"], check=True, stderr=subprocess.DEVNULL)
    with open(f"{folder}/layer.moe", "rb") as file:
        artifact = file.read()
    begin = artifact.find(b"\x7fELF")
    assert begin >= 0, f"{family}: no shared object in the artifact"
    with open(f"{folder}/program.so", "wb") as file:
        file.write(artifact[begin:])
    name, imports, exports = f"{family} {dtype} {cpu}", symbols(f"{folder}/program.so", "undefined"), symbols(f"{folder}/program.so", "defined")
    assert not imports, f"{name}: imports {imports}"
    assert exports == [f"layer{layer}", f"layer{layer}_prepare"], f"{name}: exports {exports}"
