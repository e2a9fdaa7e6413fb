"""open_report.py REPORT PROFILE: opens REPORT in headless Chromium and counts charts, messages of its console and network requests."""
import json, pathlib, re, shutil, subprocess, sys

report, profile = map(pathlib.Path, sys.argv[1:])
shutil.rmtree(profile, ignore_errors=True)
log = profile.with_suffix(".netlog")
browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
done = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
                       "--user-data-dir=%s" % profile, "--log-net-log=%s" % log, "--enable-logging=stderr", "--v=0",
                       "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", report.resolve().as_uri()],
                      capture_output=True, text=True, timeout=120)
assert done.returncode == 0, done.stderr
print("charts:", done.stdout.count("<svg"))
print("console:", len(re.findall(r"CONSOLE", done.stderr)))
events = log.read_text().rstrip().rstrip(",")
pages = re.findall(r'"url":"(https?://[^"]*)"', events)
own = [u for u in pages if not re.search(r"google|gstatic|gvt1|chromium", u)]  # the browser's own housekeeping
print("requests:", len(own))
