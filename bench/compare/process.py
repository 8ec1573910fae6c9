"""A measured process: its CPU time, its threads, its end."""
import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from support.scratch import die_with_parent

SANDBOXES = {"vmm": "require", "vmm no sandbox": "off"}  # peers of ours: what they get as --sandbox
SCHED_CLOCK = 2  # CPUCLOCK_SCHED of the kernel's numbering of process clocks


class Measured:
    """A process that is measured from outside and killed at the end."""

    def __init__(self, command, errors, **pipes):
        self.command = command
        self.errors = errors
        with open(errors, "wb") as to:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                command, stderr=to, preexec_fn=die_with_parent, **{"stdin": subprocess.DEVNULL, "stdout": to, **pipes}
            )
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def failure(self, what):
        """An exception that says @what went wrong, with what the process said itself."""
        said = Path(self.errors).read_text(encoding="utf-8", errors="replace").strip()[-400:]
        return RuntimeError(f"{Path(self.command[0]).name}: {what}" + (f": {said}" if said else ""))

    def processes(self):
        """It and all that descend from it: devices may run in processes of their own."""
        found = [self.pid]
        for pid in found:  # grows meanwhile
            for task in Path(f"/proc/{pid}/task").glob("*"):
                with contextlib.suppress(OSError):
                    found += map(int, (task / "children").read_text().split())
        return found

    def cpu_ns(self):
        """CPU time of all its processes' threads, the kernel's io_uring workers and those that ended included."""
        return sum(time.clock_gettime_ns(~pid << 3 | SCHED_CLOCK) for pid in self.processes())

    def outside_ns(self):
        """CPU time of the threads that are there and run no vCPU.

        schedstat of a running thread lags by up to a tick: these sleep when it is read, vCPUs do not.
        """
        total = 0
        for task in (task for pid in self.processes() for task in Path(f"/proc/{pid}/task").glob("*")):
            with contextlib.suppress(OSError):  # a kernel worker may end meanwhile
                name = (task / "comm").read_text().strip()
                if not name.startswith("vcpu") and not name.endswith("/KVM"):
                    total += int((task / "schedstat").read_text().split()[0])
        return total


class Counting:
    """perf counting trace points of some processes between begin() and end(); nothing where there is no perf."""

    def __init__(self, pids, events):
        self.perf = None
        if not shutil.which("perf"):
            return
        self.asked, to_perf = os.pipe()
        from_perf, self.answer = os.pipe()
        command = ["perf", "stat", "-x,", "-D", "-1", "--control", f"fd:{self.asked},{self.answer}", "-e", ",".join(events)]
        self.perf = subprocess.Popen(  # pylint: disable=consider-using-with
            [*command, "-p", ",".join(map(str, pids))], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, pass_fds=(self.asked, self.answer),
        )  # fmt: skip
        os.close(self.asked)
        os.close(self.answer)
        self.to_perf, self.from_perf = os.fdopen(to_perf, "wb", 0), os.fdopen(from_perf, "rb", 0)

    def _tell(self, word):
        """perf answers when it has done what it is told, or is gone because it may not count."""
        with contextlib.suppress(BrokenPipeError):
            self.to_perf.write(word)
            self.from_perf.read(5)

    def begin(self):
        if self.perf:
            self._tell(b"enable\n")

    def end(self):
        """Counts by event."""
        if not self.perf:
            return {}
        self._tell(b"disable\n")
        self.perf.send_signal(signal.SIGINT)
        text = self.perf.communicate(timeout=20)[1]
        self.to_perf.close()
        self.from_perf.close()
        rows = [line.split(",") for line in text.splitlines() if line.count(",") > 3]
        return {row[2]: int(row[0]) for row in rows if row[0].isdigit()}
