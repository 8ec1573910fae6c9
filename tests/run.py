#!/usr/bin/env python3
"""Run the tests of one build folder: run.py BUILD [label…] [-- ctest options].

ctest runs them and shows progress; its report is then read back, so that the last line can say how many passed,
failed and were skipped, with every reason for a skip above it.  Tests that are no business of each other's run side
by side, on all CPUs; machines, and threads against each other, run alone.

VMM_TEST_DIGEST names a file to which a short account of each failure is added.
"""
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path


SIDE_BY_SIDE = ("unit", "lint", "fuzz", "emulated")
DIGEST_HEAD = 12
DIGEST_TAIL = 26


def parse(arguments):
    """The build folder, the labels and the options for ctest."""
    build, *rest = arguments
    options = []
    if "--" in rest:
        place = rest.index("--")
        rest, options = rest[:place], rest[place + 1 :]
    return build, rest, options


def selections(labels):
    """ctest's options for the tests with one of @labels (all when there are none), and how many of them at once."""
    jobs = os.environ.get("VMM_JOBS") or str(os.cpu_count())
    chosen = ["-L", pattern_of(labels)] if labels else []
    pattern = pattern_of(SIDE_BY_SIDE)
    return [([*chosen, "-L", pattern], jobs), ([*chosen, "-LE", pattern], "1")]


def pattern_of(labels):
    return f"^({'|'.join(labels)})$"


def run_ctest(build, selection, jobs, options, report):
    """Run the tests of a @selection, @jobs at a time, with a report to the file @report; ctest's exit status."""
    command = ["ctest", "--test-dir", build, "--output-on-failure", "--no-tests=ignore", "--output-junit", report]
    command += [*selection, "-j", jobs]
    return subprocess.run([*command, *options], check=False).returncode


def cases_of(report):
    """The test cases in the file @report; none when there is none."""
    return list(ElementTree.parse(report).getroot().iter("testcase")) if report.exists() else []


def reason_of(case):
    """Why a test was skipped: the last line it wrote, as is the tests' custom."""
    lines = [line.strip() for line in (case.findtext("system-out") or "").splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def digest_of(case):
    """A failure in at most forty lines: how its output begins and how it ends."""
    lines = (case.findtext("system-out") or "").rstrip().splitlines()
    left_out = len(lines) - DIGEST_HEAD - DIGEST_TAIL
    if left_out > 0:
        lines[DIGEST_HEAD:-DIGEST_TAIL] = [f"[... {left_out} lines]"]
    return "\n".join([f"--- {case.get('name')}, {float(case.get('time') or 0):.0f} s", *lines]) + "\n"


def write_digest(cases):
    """Add the failed @cases to the file that somebody wants to read later, if anybody does."""
    if os.environ.get("VMM_TEST_DIGEST"):
        with open(os.environ["VMM_TEST_DIGEST"], "a", encoding="utf-8") as out:
            out.writelines(digest_of(case) for case in cases)


def summarise(cases):
    """Print the skips with their reasons and the final line; the number of tests that failed."""
    passed = 0
    failures = []
    skips = []
    for case in cases:
        status = case.get("status")
        if status == "run":
            passed += 1
        elif status in ("notrun", "disabled"):
            skips.append((case.get("name"), reason_of(case)))
        else:
            failures.append(case)
    write_digest(failures)
    failed = len(failures)
    for name, reason in skips:
        print(f"skipped {name}: {reason}")
    for case in failures:
        print(f"failed {case.get('name')}")
    print(f"{passed} passed, {failed} failed" + (f", {len(skips)} skipped" if skips else ""), flush=True)
    return failed


def main():
    build, labels, options = parse(sys.argv[1:])
    cases = []
    status = 0
    with tempfile.TemporaryDirectory() as work:
        for number, (selection, jobs) in enumerate(selections(labels)):
            report = Path(work) / f"report{number}.xml"
            status = run_ctest(build, selection, jobs, options, report) or status
            cases += cases_of(report)
    failed = summarise(cases)
    return 1 if failed or status or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
