"""However a machine ends, it ends soon, the terminal is as before, and nothing is left behind.

usage: python3 -m cli.ends VMM GUEST

VMM_STOP_LOOPS says how many machines are stopped at a random moment (20), VMM_LEAK_LAPS how often the guest's reset
tests run in one machine (3).
"""
import contextlib
import fcntl
import os
import pty
import random
import resource
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from boot.checks import Report
from support.machine import Machine
from support.needs import SKIPPED, has_kvm
from support.scratch import die_with_parent, run_main, scratch_folder

MIB = 1 << 20
PATIENCE_S = 60
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# A sanitizer takes SIGSEGV for a finding: it reports and exits, each with a status of its own.
SANITIZER_STATUS = {b"__asan_init": 1, b"__tsan_init": 66}


class Terminal:
    """`vmm run` that owns a terminal, as a context; we sit at the far side."""

    def __init__(self, vmm, arguments):
        self.far, self.near = pty.openpty()
        self.before = termios.tcgetattr(self.near)
        self.seen = b""
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [vmm, "run", *map(str, arguments)],
            stdin=self.near, stdout=self.near, stderr=self.near, start_new_session=True, preexec_fn=self._take,
        )  # fmt: skip

    @staticmethod
    def _take():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        die_with_parent()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.far)
        os.close(self.near)

    def read_some(self, seconds):
        """What comes within @seconds is added to what was seen."""
        if select.select([self.far], [], [], seconds)[0]:
            self.seen += os.read(self.far, 65536)

    def wait_for(self, wanted):
        """AssertionError unless @wanted is shown."""
        deadline = time.monotonic() + PATIENCE_S
        while wanted not in self.seen:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"{wanted!r} is not in {self.seen!r}")
            self.read_some(0.1)

    def wait_until_raw(self):
        """AssertionError unless the terminal loses its echo."""
        deadline = time.monotonic() + PATIENCE_S
        while termios.tcgetattr(self.near)[3] & termios.ECHO:
            if time.monotonic() > deadline:
                raise AssertionError("the terminal is never raw")
            self.read_some(0.01)

    def type(self, keys):
        os.write(self.far, keys)

    def check_end(self, expect):
        """AssertionError unless it ends with the status @expect and the terminal is as before."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read_some(0.02)
        status = self.process.poll()
        if status != expect:
            raise AssertionError(f"exit status {status}, not {expect}: {self.seen!r}")
        if termios.tcgetattr(self.near) != self.before:
            raise AssertionError("the terminal is not as before")


def guest_ends(vmm, guest, _work):
    for action, expect in (("poweroff", 0), ("reset", 32), ("reset-i8042", 32), ("triplefault", 33)):
        with Terminal(vmm, ["-p", f"test={action}", guest]) as terminal:
            terminal.check_end(expect)


def status_of_fault(vmm):
    """How the program ends by SIGSEGV: by the signal, unless a sanitizer is built in."""
    program = Path(vmm).read_bytes()
    return next((status for mark, status in SANITIZER_STATUS.items() if mark in program), -signal.SIGSEGV)


def signals(vmm, guest, _work):
    """Those that stop the machine, and those that end any program."""
    fatal = [signal.SIGQUIT, signal.SIGABRT, signal.SIGSEGV, signal.SIGUSR1, signal.SIGALRM, signal.SIGXCPU]
    for number in (*STOPPING, *fatal):
        with Terminal(vmm, ["-p", "test=hang", guest]) as terminal:
            terminal.wait_until_raw()
            terminal.process.send_signal(number)
            expected = 0 if number in STOPPING else -number
            terminal.check_end(status_of_fault(vmm) if number == signal.SIGSEGV else expected)


def keys(vmm, guest, _work):
    """Ctrl-C and others belong to the guest; Ctrl-A x ends."""
    with Terminal(vmm, ["-p", "test=hang", guest]) as terminal:
        terminal.wait_until_raw()
        terminal.type(b"\x03\x1c\x1a\x04x\x01\x01x")
        time.sleep(0.3)
        if terminal.process.poll() is not None:
            raise AssertionError("ended by keys of the guest's")
        terminal.type(b"\x01")
        time.sleep(0.05)
        terminal.type(b"x")
        terminal.check_end(0)


def another_size(vmm, guest, _work):
    """The window of the terminal changes: the driver of the console behind it is told."""
    for sandbox in ("auto", "off"):
        ports = ["--serial", "type=stdout", "--console", "type=sink,stdin"]
        parameters = "test=console.new-size strict=1 columns=100"
        with Terminal(vmm, [f"--sandbox={sandbox}", *ports, "-p", parameters, guest]) as terminal:
            terminal.wait_for(b"awaits 100 columns")
            fcntl.ioctl(terminal.far, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
            terminal.check_end(0)


def hang_up(vmm, guest, _work):
    """The terminal goes away."""
    with Terminal(vmm, ["-p", "test=hang", guest]) as terminal:
        terminal.wait_until_raw()
        spare = os.open("/dev/null", os.O_RDWR)
        os.dup2(spare, terminal.far)
        os.close(spare)
        status = terminal.process.wait(PATIENCE_S)
        if status != 0:
            raise AssertionError(f"exit status {status}, not 0")


def in_the_background(vmm, guest, _work):
    """A job in the background leaves the terminal alone."""
    far, near = pty.openpty()
    before = termios.tcgetattr(near)
    script = f'set -m; "{vmm}" run -p test=list "{guest}" </dev/tty >/dev/null & wait $!; echo "status $?"'

    def take():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        die_with_parent()

    with subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=near, stdout=subprocess.PIPE, stderr=near, start_new_session=True, preexec_fn=take
    ) as shell:
        out, _ = shell.communicate(timeout=PATIENCE_S)
    is_same = termios.tcgetattr(near) == before
    os.close(far)
    os.close(near)
    if out != b"status 0\n" or not is_same:
        raise AssertionError(f"{out!r}, terminal as before: {is_same}")


def nohup(vmm, guest, work):
    """A hang-up that was ignored at the start stays ignored."""

    def prepare():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        die_with_parent()

    with Machine(vmm, ["-p", "test=hang", guest], work, prepare=prepare) as machine:
        machine.wait_for(b"\n")
        machine.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        if machine.process.poll() is not None:
            raise AssertionError("ended by an ignored SIGHUP")
        status = machine.stop(signal.SIGTERM)
        if status != 0:
            raise AssertionError(f"exit status {status}, not 0")


def file_size_limit(vmm, guest, work):
    """A limit on file sizes is an error for the guest's output, not the end of us."""
    limit = 65 * MIB
    with open(work / "log", "wb") as out:
        out.truncate(limit)

    def prepare():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        die_with_parent()

    options = ["-m", "64", "--serial", f"type=file,path={work}/log", "-p", "test=list", guest]
    with Machine(vmm, options, work, prepare=prepare) as machine:
        status = machine.wait()
        if status != 0:
            raise AssertionError(f"exit status {status}: {machine.errors()!r}")
    with Machine(vmm, ["-m", "66", guest], work, prepare=prepare) as machine:
        status, errors = machine.wait(), machine.errors()
        if status != 1 or "ulimit -f" not in errors:
            raise AssertionError(f"memory beyond the limit: exit status {status}: {errors!r}")


def stopped_at_random(vmm, guest, work):
    """Stopped at any moment, from before main() to after the end: no hang, no file, no process left."""
    disk = work / "disk"
    with open(disk, "wb") as out:
        out.truncate(16 * MIB)
    options = ["-c", "2", "--block", f"path={disk},queues=2", "--console", f"type=file,path={work}/console"]
    count = int(os.environ.get("VMM_STOP_LOOPS", "20"))
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    slowest_s = 0.0
    for number in range(count):
        with contextlib.suppress(FileNotFoundError):
            (work / "console").unlink()
        test = chance.choice(("hang", "load", "resets", "list"))
        after_s = chance.choice((0.0, 0.005, 0.02, 0.1, 0.5)) * chance.random() * 2
        how = chance.choice(STOPPING)
        what = f"seed {seed}, number {number}: test={test}, {how.name} after {after_s * 1000:.1f} ms"
        with Machine(vmm, [*options, "-p", f"test={test}", guest], work) as machine:
            time.sleep(after_s)
            started = time.monotonic()
            status = machine.stop(how)
            slowest_s = max(slowest_s, time.monotonic() - started)
            errors = machine.errors()
        # A signal before the handlers are there kills; a guest may have been done before it.
        if status not in (0, -how) or errors:
            raise AssertionError(f"{what}: exit status {status}: {errors}")
        if status == -how and (work / "console").exists():
            raise AssertionError(f"{what}: killed, and a file is left")
    print(f"    {count} machines, the slowest took {slowest_s * 1000:.0f} ms to stop")
    left = {path.name for path in work.iterdir()} - {"disk", "console", "stderr"}
    if left:
        raise AssertionError(f"left behind: {left}")


def nothing_leaks(vmm, guest, work):
    """Devices that are reset over and over take no more memory, descriptors or threads."""
    laps = int(os.environ.get("VMM_LEAK_LAPS", "3"))
    with open(work / "disk", "wb") as out:
        out.truncate(16 * MIB)
    options = ["-c", "2", "--block", f"path={work}/disk,queues=2", "-p", f"laps={laps} rounds=50", "-p", "test=resets"]
    seen = []
    with Machine(vmm, [*options, guest], work) as machine:
        for lap in range(1, laps + 1):
            if not machine.wait_for(f"lap {lap} done".encode()):
                raise AssertionError(f"lap {lap}: {machine.seen[-500:]!r}, {machine.errors()}")
            with contextlib.suppress(OSError):  # over already
                seen.append((machine.own_kib(), machine.open_files(), len(machine.threads())))
        if machine.wait() != 0:
            raise AssertionError(f"the guest failed: {machine.seen[-500:]!r}")
    print(f"    KiB, descriptors, threads: {seen[0]} after the first of {laps} laps, {seen[-2]} near the end")
    # a sanitizer keeps what is freed for a while
    room_kib = 1024 if status_of_fault(vmm) == -signal.SIGSEGV else 64 * 1024
    # a thread that measures what a wake-up costs, with its descriptors, comes and goes; a leak is one each round
    if any(late > first + room for first, late, room in zip(seen[0], seen[-2], (room_kib, 8, 4))):
        raise AssertionError(f"it grows: {seen}")


CASES = (
    guest_ends, signals, keys, another_size, hang_up, in_the_background, nohup, file_size_limit, stopped_at_random,
    nothing_leaks,
)  # fmt: skip


def main(arguments):
    vmm, guest, *wanted = arguments
    if not has_kvm():
        return SKIPPED
    report = Report()
    for case in CASES:
        if wanted and case.__name__ not in wanted:
            continue
        with scratch_folder("ends") as work:
            problems = []
            try:
                case(vmm, guest, work)
            except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
                problems = [f"{type(error).__name__}: {error}"]
            report.case(case.__name__, problems)
    sys.stdout.flush()
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
