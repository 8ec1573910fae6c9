"""A running `vmm run`, looked at from outside: its threads, its memory, its open files."""
import contextlib
import os
import select
import subprocess
import time
from pathlib import Path

from support.scratch import die_with_parent

PATIENCE_S = 60


class Machine:
    """`vmm run` with @arguments, as a context; killed at its end if it still runs.

    Standard output is a pipe that output() and wait_for() read, standard error a file.
    """

    def __init__(self, vmm, arguments, work, stdin=subprocess.DEVNULL, prepare=die_with_parent):
        self.seen = b""
        self._errors = open(work / "stderr", "w+b")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [vmm, "run", *map(str, arguments)], stdin=stdin, stdout=subprocess.PIPE, stderr=self._errors, preexec_fn=prepare
        )
        self.proc = Path(f"/proc/{self.process.pid}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self._errors.close()

    def wait_for(self, wanted, seconds=PATIENCE_S):
        """Read standard output until @wanted is in it; False when it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while wanted not in self.seen:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return False
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return False
            self.seen += data
        return True

    def wait(self, seconds=PATIENCE_S):
        """The exit status, None when it does not end in time; what is left of standard output is read."""
        deadline = time.monotonic() + seconds
        while select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                break
            self.seen += data
        try:
            return self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None

    def stop(self, number):
        """Send a signal; then as wait()."""
        self.process.send_signal(number)
        return self.wait()

    def errors(self):
        """What standard error got so far."""
        self._errors.flush()
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def processes(self):
        """Its own folder in /proc, the zygote's, and those of its devices."""
        found = [self.proc]
        for proc in found:  # grows while it is walked
            for task in (proc / "task").iterdir():
                with contextlib.suppress(OSError):  # a thread that has just ended
                    found += [Path("/proc") / pid for pid in (task / "children").read_text().split()]
        return found

    def threads(self):
        """Thread ids by name, those of its devices too."""
        found = {}
        for proc in reversed(self.processes()):
            for task in (proc / "task").iterdir():
                with contextlib.suppress(OSError):
                    found[(task / "comm").read_text().strip()] = int(task.name)
        return found

    def wait_for_vcpus(self):
        """Return when every vCPU has its thread: the first runs before the last is there."""
        command = (self.proc / "cmdline").read_text().split("\0")
        count = int(command[command.index("-c") + 1].split(",")[0]) if "-c" in command else 1
        while f"vcpu{count - 1}" not in self.threads():
            time.sleep(0.01)

    def open_file(self, path):
        """The open(2) flags of the descriptor that is the file @path, here or in a device; None without one.

        The zygote, which comes before its devices, has one of its own, a witness (docs/isolation.md).
        """
        found = None
        for link in (link for proc in self.processes() for link in (proc / "fd").iterdir()):
            if os.path.realpath(link) != os.path.realpath(path):
                continue
            for line in (link.parent.parent / "fdinfo" / link.name).read_text().splitlines():
                if line.startswith("flags:") and not int(line.split()[1], 8) & os.O_PATH:
                    found = int(line.split()[1], 8)
        return found

    def ram_mappings(self):
        """The /proc/PID/smaps fields of each mapping of guest RAM: a list of dicts."""
        found, now = [], None
        for line in (self.proc / "smaps").read_text().splitlines():
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                now = {"address": words[0].split("-")[0]} if "/memfd:guest-ram" in line else None
                if now:
                    found.append(now)
            elif now is not None:
                now[words[0].rstrip(":")] = words[1:]
        return found

    def own_kib(self):
        """Its memory besides guest RAM, that of its devices included: KiB of PSS."""
        total, is_ram = 0, False
        for line in (line for proc in self.processes() for line in (proc / "smaps").read_text().splitlines()):
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                is_ram = "/memfd:guest-ram" in line
            elif words[0] == "Pss:" and not is_ram:
                total += int(words[1])
        return total

    def open_files(self):
        """How many descriptors it and its devices have."""
        return sum(len(list((proc / "fd").iterdir())) for proc in self.processes())
