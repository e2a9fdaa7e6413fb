"""What tests in Python know of programs that may be built with sanitizers."""
import os
import subprocess

SANITIZERS = {"asan": b"__asan_init", "tsan": b"__tsan_init"}


def scaled(seconds):
    """A limit of time, for programs that may be slower than they are for users (MOE_TEST_TIME_SCALE in CMakePresets.json)."""
    return seconds * float(os.environ.get("MOE_TEST_TIME_SCALE", "1"))


def sanitizer(program):
    """The sanitizer of a program or library: asan, tsan or None."""
    with open(program, "rb") as file:
        content = file.read()
    return next((name for name, word in SANITIZERS.items() if word in content), None)


def with_options(name, options):
    """The variable that gives a sanitizer more options than it has here."""
    variable = name.upper() + "_OPTIONS"
    return {variable: ":".join(filter(None, [os.environ.get(variable), options]))}


def able_to_load(library, compiler):
    """An environment for a program that loads a library without being instrumented itself: what the library needs of its sanitizer is there first.
    Leaks are not looked for: an interpreter keeps things to its end."""
    name = sanitizer(library)
    if not name:
        return dict(os.environ)
    runtime = subprocess.run([compiler, f"-print-file-name=libclang_rt.{name}-x86_64.so"], check=True, capture_output=True, text=True).stdout.strip()
    return {**os.environ, **with_options("asan", "detect_leaks=0"), "LD_PRELOAD": runtime}
