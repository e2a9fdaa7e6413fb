# Files are tests by their ending; tools are found in the build and in LLVM's folder.
import os
import shutil
import lit.formats

config.name = "moe-mlir"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "golden"]
config.test_source_root = os.path.join(config.moe_source, "test")
config.test_exec_root = os.path.join(config.moe_build, "test")
path = [os.path.join(config.moe_build, "bin"), config.llvm_tools, os.environ["PATH"]]
config.environment["PATH"] = os.pathsep.join(path)
config.environment["PYTHONDONTWRITEBYTECODE"] = "1"
config.substitutions.append(("%golden", os.path.join(config.moe_build, "test", "golden")))
config.substitutions.append(("%python", "/usr/bin/python3"))
config.substitutions.append(("%moe_bin", os.path.join(config.moe_build, "bin")))
config.substitutions.append(("%source", config.moe_source))
config.substitutions.append(("%build", config.moe_build))
# Limits of time, more of it where programs are slower.
config.environment["MOE_TEST_TIME_SCALE"] = config.time_scale
for seconds in (5, 10):
    config.substitutions.append((f"%{{seconds:{seconds}}}", str(seconds * int(config.time_scale))))
if config.sanitizer:
    config.available_features.add("sanitizer")
if any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
    config.available_features.add("chromium")
if shutil.which("mpirun.openmpi"):
    config.available_features.add("mpirun")
with open("/proc/cpuinfo") as file:
    processor = dict(map(str.strip, line.split(":", 1)) for line in file if ":" in line)
flags = processor.get("flags", "").split()
if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_bf16"} <= set(flags):
    config.available_features.add("avx512bf16")
if (processor.get("vendor_id"), processor.get("cpu family")) == ("GenuineIntel", "6") and processor.get("model") in ("143", "207"):
    config.available_features.add("sapphirerapids")
