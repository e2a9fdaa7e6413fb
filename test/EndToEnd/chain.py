"""Runs the tools as a user would: import, compile, run. A failure carries the commands that repeat it."""
import os
import shlex
import subprocess
import sys

import numpy as np

for folder in ("reference", "sanitizers"):
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", folder))
import safetensors  # noqa: E402
from instrumented import scaled  # noqa: E402


class Failure(Exception):
    pass


def errors_of(text):
    """The lines that say what is wrong, without the programs that tools print beside them."""
    lines = [line for line in text.splitlines() if "error" in line or "differs" in line] or text.splitlines()[-3:]
    return "\n  ".join(line[:300] for line in lines[:5])


class Chain:
    """Commands run in one folder, which keeps their files."""

    def __init__(self, tools, folder, timeout=300):
        self.tools, self.folder, self.timeout = tools, folder, scaled(timeout)
        self.commands = []
        os.makedirs(folder, exist_ok=True)

    def call(self, tool, *arguments):
        command = [os.path.join(self.tools, tool), *arguments]
        self.commands.append(shlex.join(command))
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout)
        except subprocess.TimeoutExpired:
            raise Failure(self.story(f"no end after {self.timeout} s")) from None
        if result.returncode != 0:
            raise Failure(self.story(f"exit {result.returncode}: {errors_of(result.stderr + result.stdout)}"))
        return result.stdout

    def story(self, message):
        return message + "\n    " + "\n    ".join(self.commands)

    def path(self, name):
        return os.path.join(self.folder, name)

    def import_layer(self, checkpoint, layer):
        self.call("moe-import", checkpoint, f"--layer={layer}", "-o", self.path("layer.mlir"))
        return self.path("layer.mlir")

    def compile(self, source, place, artifact="layer.moe"):
        self.call("moe-opt", source, f"--place={place}", "--target=cpu", "--compile-to=artifact", "-o", self.path(artifact))
        return self.path(artifact)

    def run(self, artifact, checkpoint, x, tag, *more):
        """x: a source as --input takes it. Returns y and the recorded routing (ids, weights, counts)."""
        y, routing = self.path(f"y-{tag}.safetensors"), self.path(f"routing-{tag}.safetensors")
        self.call("moe-run", artifact, "--weights", checkpoint, "--input", f"x={x}", "--output", f"y={y}", "--record-routing", routing, *more)
        return safetensors.read(y)["y"], Routing(safetensors.read(routing))


class Routing:
    def __init__(self, tensors):
        fields = {name.rsplit(".", 1)[1]: tensor for name, tensor in tensors.items()}
        self.ids, self.weights, self.counts = (fields[key] for key in ("expert_ids", "expert_weights", "counts"))

    def check(self, chain, ids, weights, experts):
        """Each token's set of experts and their weights, whatever their order, and the counts that follow."""
        if self.ids.shape != ids.shape:
            raise Failure(chain.story(f"routing has shape {self.ids.shape}, but {ids.shape} is expected"))
        own, other = np.argsort(self.ids, axis=1), np.argsort(ids, axis=1)
        own_ids, other_ids = np.take_along_axis(self.ids, own, 1), np.take_along_axis(ids, other, 1)
        if not np.array_equal(own_ids, other_ids):
            token = np.flatnonzero((own_ids != other_ids).any(axis=1))[0]
            raise Failure(chain.story(f"token {token} goes to experts {own_ids[token]}, but {other_ids[token]} are expected"))
        check_close(chain, "expert_weights", np.take_along_axis(self.weights, own, 1), np.take_along_axis(weights, other, 1))
        counts = np.bincount(ids.reshape(-1), minlength=experts)
        if not np.array_equal(self.counts, counts):
            raise Failure(chain.story(f"counts are {self.counts}, but {counts} are expected"))


def check_close(chain, name, got, expected, rtol=1e-5):
    """As --rtol of moe-run; NaN only in the same places."""
    if got.shape != expected.shape:
        raise Failure(chain.story(f"{name} has shape {got.shape}, but {expected.shape} is expected"))
    if not np.array_equal(np.isnan(got), np.isnan(expected)):
        raise Failure(chain.story(f"{name} has NaN in rows {np.flatnonzero(np.isnan(got).any(axis=1))}, but in rows "
                                  f"{np.flatnonzero(np.isnan(expected).any(axis=1))} it is expected"))
    finite = ~np.isnan(expected)
    if not finite.any():
        return
    error, limit = np.abs(got - expected)[finite].max(), rtol * np.abs(expected)[finite].max()
    if not error <= limit:
        raise Failure(chain.story(f"{name} differs by {error:.2e}, but at most {limit:.2e} is expected"))


def check_same_bits(chain, what, got, expected):
    if got.tobytes() != expected.tobytes():
        raise Failure(chain.story(f"{what}: other bits than before"))
