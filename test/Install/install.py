"""install.py --build FOLDER --work FOLDER --compiler CC --flags=FLAGS: installs the build, builds an outside project on it with find_package, and runs the C
and the ctypes example on the installed library."""
import argparse
import glob
import os
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sanitizers"))
from instrumented import able_to_load  # noqa: E402


def call(*command, **more):
    result = subprocess.run(command, text=True, capture_output=True, **more)
    if result.returncode != 0:
        sys.exit(f"exit {result.returncode} of {' '.join(command)}\n{result.stdout}{result.stderr}")
    return result.stdout


def expect(what, found, expected):
    if found != expected:
        sys.exit(f"{what} prints {found!r}, but {expected!r} is expected")


def main():
    parser = argparse.ArgumentParser()
    for flag in ("--build", "--work"):
        parser.add_argument(flag, required=True, type=os.path.abspath)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--flags", required=True, help="what the compiler needs to link what the build made")
    options = parser.parse_args()
    here = os.path.dirname(os.path.abspath(__file__))
    examples = os.path.join(here, "..", "..", "examples")
    shutil.rmtree(options.work, ignore_errors=True)
    prefix, outside, data = (os.path.join(options.work, name) for name in ("prefix", "outside", "data"))
    call("cmake", "--install", options.build, "--prefix", prefix)
    call("cmake", "-G", "Ninja", "-S", os.path.join(here, "outside"), "-B", outside, f"-DCMAKE_PREFIX_PATH={prefix}",
         f"-DCMAKE_C_COMPILER={options.compiler}", f"-DEXAMPLES={examples}", f"-DCMAKE_C_FLAGS=-Wall -Wextra -Werror {options.flags}")
    call("cmake", "--build", outside)
    call(os.path.join(options.build, "bin", "make-test-artifact"), data, "4")
    layer = [os.path.join(data, "layer.moe"), os.path.join(data, "checkpoint"), "6", "4", "scale"]
    # The bias and five experts: see make_test_artifact.cpp.
    expect("run_layer", call(os.path.join(outside, "run_layer"), *layer), "15 30 40 42.5\n")
    libraries = glob.glob(os.path.join(prefix, "**", "libmoert.so"), recursive=True)
    if len(libraries) != 1:
        sys.exit(f"one libmoert.so is expected below {prefix}, found {libraries}")
    expect("ctypes_layer.py", call(sys.executable, "-B", os.path.join(examples, "ctypes_layer.py"), libraries[0], *layer,
                                     env=able_to_load(libraries[0], options.compiler)),
           "15 30 40 42.5\n30 60 80 85\n45 90 120 127.5\n")
    # Errors come with the runtime's message.
    bad = subprocess.run([os.path.join(outside, "run_layer"), layer[0], "none", "6", "4", "scale"], text=True, capture_output=True)
    expect("run_layer without weights", (bad.returncode, bad.stderr), (1, "none: cannot read 'none': No such file or directory\n"))
    installed = os.path.join(prefix, "bin", "moe-run")
    call(installed, "inspect", layer[0])
    print("install: an outside project, C and ctypes ran on what was installed")


if __name__ == "__main__":
    main()
