"""A `vmm run` that meets a fault of the host, and what must be true of its end: it comes by itself, with exit status 0,
1 or 2, with one clear line unless it is 0, and leaves nothing behind.

The zygote has a session of its own, and the devices below it share that one. So what belongs to a run is found by
descent: orphans come to us (PR_SET_CHILD_SUBREAPER), and there is one run at a time.
"""
import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

from support.scratch import die_with_parent

PATIENCE_S = 60
ENDS = (0, 1, 2)
PR_SET_CHILD_SUBREAPER = 36
# In a line: a process died of a mistake, or did what its list of system calls does not have.
CRASHES = ("BUG", "assert", "by signal", "not on its list", "Sanitizer", "runtime error")


def adopt_orphans():
    """Orphans among our descendants become our children, so that descent finds all that a run has left."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def read_processes():
    """All processes: pid to (state, parent, session)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        found[int(entry.name)] = (fields[0], int(fields[1]), int(fields[3]))
    return found


def run_processes(session):
    """The processes of the run that began @session that are no zombies: its session, and all that descend from us."""
    processes = read_processes()
    ours = {os.getpid()}
    while more := {pid for pid, (_, parent, _) in processes.items() if parent in ours} - ours:
        ours |= more
    for pid in ours:
        if pid != session and processes.get(pid, ("", 0, 0))[:2] == ("Z", os.getpid()):
            os.waitpid(pid, os.WNOHANG)  # an orphan we adopted; subprocess waits for the others
    belongs = {pid for pid, (_, _, its) in processes.items() if its == session} | ours - {os.getpid()}
    return sorted(pid for pid in belongs if pid in processes and processes[pid][0] != "Z")


def wait_until_gone(session, seconds=10):
    """The processes of the run of @session that are still there after @seconds."""
    deadline = time.monotonic() + seconds
    while (left := run_processes(session)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def kill_run(session):
    """End whatever a run has left."""
    for pid in run_processes(session):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def tells_crash(line):
    """Whether @line says that a process crashed or did what it may not."""
    return any(sign in line for sign in CRASHES)


class End:
    """How a command ended: exit status (None: it had to be killed), what it said, what it left."""

    def __init__(self, status, out, err, left):
        self.status, self.left = status, left
        self.out, self.err = out.decode(errors="replace"), err.decode(errors="replace")

    @staticmethod
    def clear(lines, several):
        """Whether there is a line, each is vmm's, and none is said twice; more than one only if @several."""
        ours = bool(lines) and all(line.startswith("vmm: ") for line in lines)
        return ours and len(set(lines)) == len(lines) and (several or len(lines) == 1)

    def problems(self, ends=ENDS, before=None, after=None, several=False):
        """What is wrong with it: a list of lines. @before and @after: the files in its folder. @several: its
        processes may say what they lack, but nothing twice."""
        found = []
        lines = [line for line in self.err.splitlines() if line.strip()]
        if self.status is None:
            found.append("it does not end")
        elif self.status not in ends:
            found.append(f"exit status {self.status}")
        elif self.status in (1, 2) and not self.clear(lines, several):
            found.append(f"not {'only clear lines' if several else 'one clear line'}: {lines[:5]}")
        if any(tells_crash(line) for line in lines):
            found.append("a process crashed, or a sanitizer complains")
        if self.left:
            found.append(f"processes left: {self.left}")
        if before != after:
            found.append(f"files before {before}, after {after}")
        return found


def run(command, prepare=None, seconds=PATIENCE_S):
    """Run @command in a session of its own, @prepare() in the child before; how it ended."""

    def child():
        die_with_parent()
        if prepare:
            prepare()

    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, preexec_fn=child,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=seconds)
            status = process.returncode
        except subprocess.TimeoutExpired:
            kill_run(process.pid)
            out, err = process.communicate()
            status = None
        left = wait_until_gone(process.pid)
        kill_run(process.pid)
    return End(status, out, err, left)


def run_below_strace(options, command):
    """Run @command with calls made to fail by @options of strace, whose own words are left out of how it ended."""
    end = run(["strace", "-f", "-qqq", "-o", "/dev/null", *options, *command])
    end.err = "\n".join(line for line in end.err.splitlines() if not line.startswith("strace: "))
    return end


class Setting:
    """A folder with two small disks, and vmm with a device of each kind."""

    def __init__(self, vmm, guest, folder, disk_bytes=16 << 20):
        adopt_orphans()
        self.vmm, self.guest, self.folder = vmm, guest, folder
        for name in ("disk0", "disk1"):
            with open(folder / name, "wb") as out:
                out.truncate(disk_bytes)

    def command(self, test="poweroff", more=(), vmm_options=(), mem=64):
        """To run @test of the built-in guest."""
        return [
            self.vmm, "run", "--mem", mem, "--cpus", "2", *vmm_options,
            "--block", f"path={self.folder}/disk0,id=disk0,queues=2", "--block", f"path={self.folder}/disk1,direct=true",
            "--serial", "type=stdout", "--serial", f"type=file,num=2,path={self.folder}/serial",
            "--console", f"type=file,path={self.folder}/console", *more, "-p", f"test={test}", self.guest,
        ]  # fmt: skip

    def files(self):
        """What lies in the folder, besides what this machine may write."""
        return sorted(entry.name for entry in self.folder.iterdir() if entry.name not in ("serial", "console"))
