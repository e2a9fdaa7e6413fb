"""golden.py --tools BIN --golden FOLDER --work FOLDER [--quick]: golden layers on 2, 4 and 8 processes under each MPI, with the same artifact
and the same bits as the ranks of one process. --quick: one family, and two layouts for each number of processes."""
import argparse
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "EndToEnd"))
from chain import Chain  # noqa: E402
import layouts  # noqa: E402
from matrix import FAMILIES, Case  # noqa: E402
from jobs import Failed, Job, launchers  # noqa: E402


def check(options, case, layout):
    chain = case.chain("processes " + layout.words())
    artifact = chain.compile(chain.import_layer(case.folder, case.index), layout.words())
    x, y = (f"@{case.golden_file}:layers.{case.index}.{name}" for name in ("input", "output"))
    common = [os.path.join(options.tools, "moe-run"), artifact, "--weights", case.folder, "--input", f"x={x}", "--threads", "1"]
    Job([*common, "--output", f"y={chain.path('local.safetensors')}"], chain.folder).expect(0)
    for name, (launcher, _) in launchers().items():
        mine = chain.path(f"{name}.safetensors")
        Job([launcher, "-n", str(layout.ranks), *common, "--output", f"y={mine}", "--expect", f"y={y}"],
            chain.folder).expect(0, f"{layout.ranks} ranks of 1 threads")
        with open(mine, "rb") as file, open(chain.path("local.safetensors"), "rb") as expected:
            if file.read() != expected.read():
                raise Failed(f"{name}: other bits than in one process: {artifact}")


def main():
    parser = argparse.ArgumentParser()
    for flag in ("--tools", "--golden", "--work"):
        parser.add_argument(flag, required=True, type=os.path.abspath)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if not launchers():
        print("golden: no MPI is installed")
        sys.exit(1)
    done = failed = 0
    for family in ["deepseek_v3"] if options.quick else FAMILIES:
        case = Case(options, family, layer_of(options, family))
        for ranks in (2, 4, 8):
            usable = [layout for layout in layouts.every_layout(case.sizes) if layout.ranks == ranks]
            few = [layouts.Layout(1, ranks, 1), layouts.Layout(1, ranks // 2, 2, "all_gather", "replicated")]
            for layout in few if options.quick else usable:
                done += 1
                try:
                    check(options, case, layout)
                except Failed as failure:
                    failed += 1
                    print(f"FAILED {family} {layout.words()}: {failure}")
    print(f"golden: {done - failed} of {done} layouts gave the same bits under {', '.join(launchers())}")
    sys.exit(1 if failed or not done else 0)


def layer_of(options, family):
    from families import Checkpoint
    return Checkpoint(os.path.join(options.golden, family)).moe_layers()[0]


if __name__ == "__main__":
    main()
