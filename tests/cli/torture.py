"""Everything at once: the built-in guest keeps four queues busy and resets them, we change size and limits.

usage: python3 -m cli.torture VMM GUEST

VMM_TORTURE_SECONDS says how long each way of opening the disk is tried (4).
"""
import os
import sys

from boot.checks import Report
from support.control import Meddler
from support.machine import Machine
from support.needs import SKIPPED, has_kvm
from support.scratch import run_main, scratch_folder

MIB = 1 << 20
SMALLEST, LARGEST = 8, 64  # MiB; the guest uses the first four
WAYS = ("", "direct", "packed", "packed,direct,workers=1", "poll=always", "poll=off,wce=off", "queue-size=8")


def torture(vmm, guest, work, way, seconds):
    """Problems of one run."""
    image = work / "disk"
    with open(image, "wb") as out:
        out.truncate(LARGEST * MIB)
    disk = ",".join(filter(None, (f"path={image}", "queues=4", way)))
    parameters = f"test=torture seconds={seconds} seed={int.from_bytes(os.urandom(4), 'big')} sizes=1 packed=1"
    arguments = ["--disable-sandbox", "-c", "2", "-s", work / "s", "--block", disk, "-p", parameters, guest]
    with Machine(vmm, arguments, work) as machine:
        if not machine.wait_for(b"info boot"):
            return [f"no guest runs: {machine.errors()}"]
        meddler = Meddler(work / "s", "block0", SMALLEST, LARGEST)
        machine.wait_for(b"info torture", seconds + 120)
        problems = meddler.stop()
        status = machine.wait()
        lines = machine.seen.decode(errors="replace").replace("\r", "").split("\n")
        print("   ", next((line for line in lines if line.startswith("info torture")), "no report"),
              f"resizes {meddler.resizes}, limits {meddler.limits}")  # fmt: skip
        if status != 0 or not any(line.startswith("ok torture") for line in lines):
            problems.append(f"status {status}: {lines} {machine.errors()}")
        if len(meddler.counts) != 4 or min(meddler.counts) < 10:
            problems.append(f"requests: {meddler.counts}")
        return problems


def main(arguments):
    vmm, guest = arguments
    if not has_kvm():
        return SKIPPED
    report = Report()
    seconds = int(os.environ.get("VMM_TORTURE_SECONDS", "4"))
    for way in WAYS:
        with scratch_folder("torture") as work:
            try:
                problems = torture(vmm, guest, work, way, seconds)
            except (AssertionError, OSError, ValueError) as problem:
                problems = [f"{type(problem).__name__}: {problem}"]
            report.case(way or "as it comes", problems)
        sys.stdout.flush()
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
