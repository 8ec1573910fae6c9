"""A host that has too little: descriptors, address space, threads; without io_uring; without a usable /dev/kvm.

usage: python3 -m faults.limits VMM GUEST

Each limit is tried with every value from almost nothing to enough. Every run must end by itself and say in one line
what was missing; where it can do without, the guest runs. All of it is done twice: with devices in the main process, and
with each in a process of its own, where what several lack is said once.
"""
import os
import resource
import sys

from faults.ends import Setting, run
from support.hosts import refuse
from support.needs import SKIPPED, has_kvm
from support.scratch import run_main, scratch_folder

MIB = 1 << 20
LOADER_FAILED = 127  # exit status of a program that could not be loaded


def limited(what, value):
    """A child with a limit."""
    return lambda: resource.setrlimit(what, (value, value))


class Checks:
    """Runs, and a line for each that ends badly."""

    def __init__(self, setting, options):
        self.setting, self.options, self.failed, self.ends = setting, options, 0, {}
        self.sandbox = "--disable-sandbox" not in options

    def command(self, *arguments, options=(), **others):
        """A command of the setting with our options."""
        return self.setting.command(*arguments, vmm_options=(*self.options, *options), **others)

    def check(self, what, command, prepare=None, ends=(0, 1, 2), wanted=None):
        """Run @command; its end must be one of @ends, and @wanted in what it complains."""
        before = self.setting.files()
        end = run(command, prepare)
        self.ends[end.status] = self.ends.get(end.status, 0) + 1
        if end.status == LOADER_FAILED and "error while loading shared libraries" in end.err:
            return end  # it never came to be
        problems = end.problems(ends, before, self.setting.files(), several=self.sandbox)
        if wanted and wanted not in end.err:
            problems.append(f"no word of {wanted!r}: {end.err.strip()}")
        if problems:
            self.failed += 1
            print(f"FAIL {what} {self.options}: {problems}\n{end.err[-2000:]}", flush=True)
        elif os.environ.get("VMM_FAULTS_SHOW"):
            print(f"ok {what} {self.options}: {end.status} {end.err.strip()}", flush=True)
        return end

    def until_enough(self, what, limit, values):
        """Raise a limit until the guest runs; it must at the last of @values."""
        for value in values:
            if self.check(f"{what} {value}", self.command(), limited(limit, value)).status == 0:
                return
        self.failed += 1
        print(f"FAIL {what} {self.options}: even {values[-1]} is not enough", flush=True)


def too_little(checks):
    """Descriptors one by one, address space in steps, no locked memory."""
    checks.until_enough("descriptors", resource.RLIMIT_NOFILE, range(3, 200))
    checks.until_enough("address space", resource.RLIMIT_AS, range(24 * MIB, 600 * MIB, 12 * MIB))
    checks.check("locked memory 0", checks.command(), limited(resource.RLIMIT_MEMLOCK, 0))
    checks.check("more guest memory than there is", checks.command(mem=1 << 40), ends=(2,))


def without_io_uring(checks):
    """Then the pool of threads does the work, and the guest's disk still works."""
    for name, error in (("EPERM", 1), ("ENOSYS", 38), ("ENOMEM", 12)):
        prepare = refuse(("io_uring_setup", 0, error))
        checks.check(f"io_uring_setup: {name}", checks.command("blk.sizes-direct"), prepare, ends=(0,))
        # it is told, once, to whoever asks for more words
        end = checks.check(f"io_uring_setup: {name}, -v", checks.command(options=("-v",)), prepare, ends=(0,))
        told = [line for line in end.err.splitlines() if "threads do the I/O" in line]
        if len(told) != 1 or ("ulimit -l" in told[0]) != (name == "ENOMEM"):
            checks.failed += 1
            print(f"FAIL io_uring_setup: {name}: said of it: {told}", flush=True)


def without_kvm(checks):
    """No device, no such device, one that is something else, one that we may not open."""
    checks.check("no /dev/kvm", checks.command(options=("--kvm-device", "/dev/none")), ends=(1, 2), wanted="/dev/none")
    checks.check("/dev/null", checks.command(options=("--kvm-device", "/dev/null")), ends=(1, 2), wanted="/dev/null")
    if os.geteuid() == 0:
        forbidden = checks.setting.folder / "kvm"
        forbidden.write_bytes(b"")
        forbidden.chmod(0o600)
        for path in (checks.setting.folder, forbidden.parent.parent):
            path.chmod(path.stat().st_mode | 0o11)

        def nobody():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)

        options = (*checks.options, "--kvm-device", str(forbidden))
        command = [checks.setting.vmm, "run", *options, "--serial", "type=stdout", checks.setting.guest]
        checks.check("a /dev/kvm of somebody else's", command, nobody, ends=(1, 2), wanted="ermission denied")


def main(arguments):
    vmm, guest = arguments
    if not has_kvm():
        return SKIPPED
    failed = 0
    for options in (("--disable-sandbox",), ()):
        with scratch_folder("limits") as folder:
            checks = Checks(Setting(vmm, guest, folder), options)
            too_little(checks)
            without_io_uring(checks)
            without_kvm(checks)
        print(f"{options}: runs by exit status {checks.ends}; {checks.failed} ended badly")
        failed += checks.failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    run_main(main)
