"""run_blocks.py FILE.md GOLDEN FOLDER: runs every sh block of a document, in order, in FOLDER; fails where a command fails."""

import re
import subprocess
import sys

document, golden, folder = sys.argv[1:]
blocks = re.findall(r"^```sh\n(.*?)^```", open(document).read(), re.S | re.M)
if not blocks:
    sys.exit(f"run_blocks.py: {document} has no sh block")
for block in blocks:
    script = "set -eu\n" + block.replace("%golden", golden)
    if subprocess.run(["bash", "-c", script], cwd=folder).returncode:
        sys.exit(f"run_blocks.py: this block of {document} fails:\n{block}")
