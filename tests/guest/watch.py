"""Who burns CPU time while a guest sleeps.

The guest says "pause" before it sleeps for a moment and "resume" behind it. In between, the processes of its machine
have nothing to do. watch() measures the share of the pause they spent anyway, where it managed to look twice inside
of it; a name for each is the one in the guest's next line "ok NAME" or "FAIL NAME".
"""
import os
import select
import subprocess
import time
from pathlib import Path

SETTLE_S = 0.006  # what was begun before may end
LOOK_S = 0.008  # how long to look then; the pause is longer
SPINNING = 0.5  # a share above this is somebody who does not stop; a busy host makes shares smaller, not larger


def children(pid):
    """The processes that @pid made, and theirs."""
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *children(int(child))]
    except OSError:
        pass  # it ended meanwhile
    return found


def cpu_seconds(pids):
    """CPU time of these processes, to the nanosecond."""
    total = 0.0
    for pid in pids:
        try:
            total += time.clock_gettime((~pid << 3) | 2)  # the clock of another process, clock_getcpuclockid(3)
        except OSError:
            pass  # it ended meanwhile
    return total


class Lines:
    """Standard output of a process, line by line, with a look at whether more has come."""

    def __init__(self, stream):
        self.descriptor, self.buffer = stream.fileno(), b""

    def has_more(self, seconds):
        """Something came within @seconds, or the end."""
        return b"\n" in self.buffer or bool(select.select([self.descriptor], [], [], seconds)[0])

    def read(self, deadline):
        """The next line without its end; None at the end. TimeoutError after @deadline."""
        while b"\n" not in self.buffer:
            if not select.select([self.descriptor], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            data = os.read(self.descriptor, 65536)
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")


def look(lines, pid):
    """The share of the time that is spent while nothing should be; None where the pause was over too soon."""
    if lines.has_more(SETTLE_S):
        return None
    pids = [pid, *children(pid)]
    begin, before = time.monotonic(), cpu_seconds(pids)
    if lines.has_more(LOOK_S):
        return None
    share = (cpu_seconds(pids) - before) / (time.monotonic() - begin)
    return None if lines.has_more(0) else share  # it may have gone on just before the second look


def watch(process, seconds):
    """Read what @process (with a pipe as standard output) says until it ends: its lines, and shares by name."""
    lines, said, shares, share = Lines(process.stdout), [], {}, None
    deadline = time.monotonic() + seconds
    while (line := lines.read(deadline)) is not None:
        said.append(line)
        if line == "pause":
            share = look(lines, process.pid)
        elif line.startswith(("ok ", "FAIL ")) and share is not None:
            shares[line.split()[1].rstrip(":")], share = share, None
    try:
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as late:
        raise TimeoutError from late
    return said, shares
