"""Linux with fio does not notice that the process of its disk is killed again and again.

usage: python3 -m boot.device_kills VMM CPUS

As native.py's disk test, with O_DIRECT from two CPUs on. VMM_FIO_SECONDS says how long fio writes.
"""
import contextlib
import os
import random
import signal
import threading
from pathlib import Path

from boot.checks import Report, require_native_kernel
from boot.native import NativeGuest, test_disk
from support.scratch import run_main, scratch_folder

DISK = "block1"  # the second: what the root disk is killed for is in tests/jail
PAUSE_S = (0.05, 0.25)
MIN_KILLS = 5


def is_ours(pid):
    """Does the process @pid descend from this one?"""
    while pid > 1:
        if pid == os.getpid():
            return True
        status = (Path("/proc") / str(pid) / "stat").read_text()
        pid = int(status.rsplit(")", 1)[1].split()[1])
    return False


def find_disk():
    """The process of the disk; None while there is none."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "comm").read_text().strip() == DISK and is_ours(int(entry.name)):
                return int(entry.name)
    return None


class Killer(threading.Thread):
    """Kills the disk's process until it is told to end."""

    def __init__(self):
        super().__init__()
        self.kills = 0
        self.is_over = threading.Event()

    def run(self):
        while not self.is_over.wait(random.uniform(*PAUSE_S)):
            pid = find_disk()
            with contextlib.suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, signal.SIGKILL)
                    self.kills += 1


def main(arguments):
    vmm, cpus = arguments
    report = Report()
    with scratch_folder("device-kills") as work:
        guest = NativeGuest(vmm, require_native_kernel(), work)
        killer = Killer()
        killer.start()
        try:
            test_disk(guest, report, int(cpus))
        finally:
            killer.is_over.set()
            killer.join()
    few = [] if killer.kills >= MIN_KILLS else ["too few to mean anything"]
    report.case(f"{killer.kills} kills", few)
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
