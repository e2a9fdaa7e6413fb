"""run_ranks.py N COMMAND...: N processes of a command, told who they are by plain environment variables."""
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(here, "..", "..", "..", "benchmarks", "multi-gpu"), os.path.join(here, "..", "..", "sanitizers")]
import jobs  # noqa: E402
from instrumented import scaled  # noqa: E402

jobs.end_with_me()
try:
    print(jobs.run(sys.argv[2:], int(sys.argv[1]), "nccl", scaled(280)), end="")
except jobs.Failed as problem:
    sys.exit(str(problem))
