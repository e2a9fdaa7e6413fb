"""roundtrip.py GOLDEN FOLDER: moe-opt --verify-roundtrip at each phase of each golden family, all its MoE layers in one module."""

import os
import subprocess
import sys

golden, folder = sys.argv[1:]
families = sorted(name for name in os.listdir(golden) if os.path.isdir(os.path.join(golden, name)) and
                  os.path.exists(os.path.join(golden, name, "config.json")))
if len(families) != 6:
    sys.exit(f"roundtrip.py: {golden} holds {families}, but six families are expected")
for family in families:
    model = f"{folder}/{family}.mlir"
    subprocess.run(["moe-import", f"{golden}/{family}", "-o", model], check=True)
    for dispatcher in ("all_to_all", "all_gather"):
        for phase in ("input", "placed", "sharded", "scheduled", "lowered"):
            run = subprocess.run(["moe-opt", model, f"--place=ranks=8 ep=4 etp=2 dispatcher={dispatcher}", f"--compile-to={phase}",
                                  "--verify-roundtrip", "-o", "/dev/null"], stderr=subprocess.PIPE, text=True)
            if run.returncode:
                sys.exit(f"roundtrip.py: {family}, {dispatcher}, {phase}:\n{run.stderr}")
