"""measure.py --tools BIN [--work FOLDER] [--json FILE] [--quick]: how long the index of a large checkpoint takes to import, and how much memory the
processes of a job hold. Prints a table; exits with 1 where a limit is passed. --quick: a smaller layer for the memory, whose limit is not held against it."""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import checkpoints  # noqa: E402

IMPORT_SECONDS = 10
MORE_THAN_HELD = 0.05


def run(command, folder, **more):
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, **more)
    if done.returncode:
        sys.exit(f"measure: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def measure_import(tools, folder):
    config, tensors = checkpoints.deepseek_v3()
    shards = checkpoints.write_checkpoint(os.path.join(folder, "large"), config, tensors, tensors_a_shard=600)
    times = []
    for _ in range(3):
        begin = time.time()
        run([os.path.join(tools, "moe-import"), "large", "-o", "large.mlir"], folder)
        times.append(time.time() - begin)
    result = {"layers": config["num_hidden_layers"], "experts": config["n_routed_experts"], "tensors": len(tensors), "shards": shards,
              "seconds": sorted(times)[1], "limit": IMPORT_SECONDS, "holds": sorted(times)[1] < IMPORT_SECONDS}
    print(f"import of {result['layers']} layers of {result['experts']} experts ({result['tensors']} tensors in {shards} files): "
          f"{result['seconds']:.2f} s, at most {IMPORT_SECONDS} s are allowed")
    return result


def write_input(path, tokens, hidden):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({tokens}, {hidden}), }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\x00\x00\x80\x3f" * (tokens * hidden))


def measure_memory(tools, folder, quick):
    hidden, width, experts = (512, 512, 16) if quick else (2048, 2048, 128)
    checkpoints.write_checkpoint(os.path.join(folder, "model"), *checkpoints.mixtral(1, hidden, width, experts, 2), tensors_a_shard=64)
    tokens = 256
    write_input(os.path.join(folder, "x.npy"), tokens, hidden)
    run([os.path.join(tools, "moe-import"), "model", "-o", "layer.mlir"], folder)
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1")
    results = []
    print(f"{'launcher':<10} {'place':<22} {'rank':>4} {'slices MB':>10} {'packed MB':>10} {'arena MB':>9} {'resident MB':>12} {'more':>7} {'peak MB':>9}")
    for words in ("ranks=4 ep=4", "ranks=4 ep=2 etp=2"):
        run([os.path.join(tools, "moe-opt"), "layer.mlir", f"--place={words}", "--compile-to=artifact", "-o", "layer.moe"], folder)
        for launcher in ("openmpi", "mpich"):
            if not shutil.which(f"mpirun.{launcher}"):
                continue
            run([f"mpirun.{launcher}", "-n", "4", os.path.join(tools, "moe-run"), "layer.moe", "--weights", "model", "--input", "x=@x.npy", "--threads=1",
                 "--json=stats.json"], folder, env=environment)
            with open(os.path.join(folder, "stats.json")) as file:
                stats = json.load(file)
            held = stats["slice_bytes"] + stats["arena_bytes"]
            for rank, (resident, peak) in enumerate(zip(stats["resident_bytes"], stats["peak_resident_bytes"])):
                more = resident / held - 1
                results.append({"launcher": launcher, "place": words, "rank": rank, "slice_bytes": stats["slice_bytes"], "packed_bytes": stats["packed_bytes"],
                                "arena_bytes": stats["arena_bytes"], "resident_bytes": resident, "peak_resident_bytes": peak, "limit": MORE_THAN_HELD,
                                "holds": more <= MORE_THAN_HELD})
                print(f"{launcher:<10} {words:<22} {rank:>4} {stats['slice_bytes'] / 1e6:>10.1f} {stats['packed_bytes'] / 1e6:>10.1f} "
                      f"{stats['arena_bytes'] / 1e6:>9.1f} {resident / 1e6:>12.1f} {more:>+7.1%} {peak / 1e6:>9.1f}")
    return results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", required=True, type=os.path.abspath)
    parser.add_argument("--work", type=os.path.abspath)
    parser.add_argument("--json")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        results = {"import": measure_import(options.tools, folder), "memory": measure_memory(options.tools, folder, options.quick)}
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)
    held = results["memory"] if not options.quick else []
    sys.exit(0 if all(result["holds"] for result in [results["import"], *held]) else 1)


if __name__ == "__main__":
    main()
