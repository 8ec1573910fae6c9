#!/usr/bin/env python3
"""Run the tests of one build folder: run.py BUILD [label…] [-- ctest options].

ctest runs them and shows progress; its report is then read back, so that the last line can say how many passed,
failed and were skipped, with every reason for a skip above it.
"""
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def parse(arguments):
    """The build folder, the labels and the options for ctest."""
    build, *rest = arguments
    options = []
    if "--" in rest:
        place = rest.index("--")
        rest, options = rest[:place], rest[place + 1 :]
    return build, rest, options


def run_ctest(build, labels, options, report):
    """Run ctest, its report to the file @report; its exit status."""
    command = ["ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error", "--output-junit", report]
    if labels:
        command += ["-L", f"^({'|'.join(labels)})$"]
    return subprocess.run([*command, *options], check=False).returncode


def reason_of(case):
    """Why a test was skipped: the last line it wrote, as is the tests' custom."""
    lines = [line.strip() for line in (case.findtext("system-out") or "").splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def summarise(report):
    """Print the skips with their reasons and the final line; the number of tests that failed."""
    passed = failed = 0
    skips = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        status = case.get("status")
        if status == "run":
            passed += 1
        elif status in ("notrun", "disabled"):
            skips.append((case.get("name"), reason_of(case)))
        else:
            failed += 1
    for name, reason in skips:
        print(f"skipped {name}: {reason}")
    print(f"{passed} passed, {failed} failed" + (f", {len(skips)} skipped" if skips else ""), flush=True)
    return failed


def main():
    build, labels, options = parse(sys.argv[1:])
    os.environ.setdefault("CTEST_PARALLEL_LEVEL", "1")
    with tempfile.TemporaryDirectory() as work:
        report = Path(work) / "report.xml"
        status = run_ctest(build, labels, options, report)
        if not report.exists():
            print("0 passed, 1 failed")
            return status or 1
        failed = summarise(report)
    return 1 if failed or status else 0


if __name__ == "__main__":
    sys.exit(main())
