"""every_machine.py MOE_OPT SOURCE LAYER TEMPORARY: a plan on every machine in SOURCE/machines."""
import json, pathlib, subprocess, sys

tool, source, layer, temporary = sys.argv[1:]
names = sorted([p.stem for p in pathlib.Path(source, "machines").glob("*.json")] + ["h100-8x8"])
for name in names:
    report = temporary + ".json"
    subprocess.run([tool, layer, "--compile-to=placed", "--place=machine=%s tokens=4096" % name, "--report=" + report, "-o", "/dev/null"],
                   check=True, stderr=subprocess.DEVNULL)
    print(name, json.loads(pathlib.Path(report).read_text())["ranks"], "ranks")
