"""run_ranks.py N COMMAND...: N processes of a command, told who they are by plain environment variables."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "benchmarks", "multi-gpu"))
import jobs  # noqa: E402

jobs.end_with_me()
try:
    print(jobs.run(sys.argv[2:], int(sys.argv[1]), "nccl", 280), end="")
except jobs.Failed as problem:
    sys.exit(str(problem))
