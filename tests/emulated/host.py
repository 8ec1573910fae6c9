"""An emulated x86 host with /dev/kvm: Debian's kernel in QEMU's TCG with SVM, for what the real host cannot boot.

The programs under test come in through an initramfs, with their libraries; results go out as a tar on a virtio
disk; disks of the caller's can be attached and are looked at afterwards from outside.  It proves correctness,
never speed: everything in it is ten to a hundred times slower than on a real machine.

The emulator is the newest QEMU that Debian has, kept in the cache.  Where the archive cannot be reached it is the
installed one: Debian 12's 7.2 hangs now and then.  VMM_TEST_QEMU names another.  The host has one CPU: with two it
mixes up page tables (docs/testing.md).
"""
import contextlib
import functools
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from emulated.image import Cargo, base_image
from support.cache import note
from support.debian import AptError
from support.linux_guest import EMULATED_PARAMETERS
from support.qemu import newest_qemu
from support.scratch import die_with_parent, scratch_folder, terminal_restored, write_all

TIMED_OUT = 124
HOST_DIED = 125
READY_SECONDS = 120  # five on a quiet machine
SILENCE_SECONDS = 60  # the host says every five seconds that it is alive
TRIES = 2
RESULTS_BYTES = 256 << 20

# Without XSAVE: TCG's SVM does not intercept XSETBV, so KVM does not learn what a guest enabled, and the guest
# rightly complains about the sizes that CPUID tells it.
CPU = "max,+svm,-la57,-xsave"


@functools.cache
def emulator():
    """The words that start the emulator."""
    if os.environ.get("VMM_TEST_QEMU"):
        return shlex.split(os.environ["VMM_TEST_QEMU"])
    try:
        return newest_qemu().command()
    except (AptError, OSError, subprocess.CalledProcessError) as error:
        reason = str(error).splitlines()[0]
        note(f"no newer QEMU ({reason}): the emulated host runs in the installed one, which may hang now and then")
        return ["qemu-system-x86_64"]


@dataclass
class Outcome:
    """How a session went: the test's status (or TIMED_OUT, HOST_DIED), and each try with its reason and times."""

    status: int = HOST_DIED
    attempts: list = field(default_factory=list)
    results: Path = None
    was_ready: bool = False  # the last try came as far as the script

    def has_no_answer(self):
        """The host failed, not the script."""
        return self.status in (TIMED_OUT, HOST_DIED)


@dataclass
class Terminal:
    """The host's second and third serial port are our standard output and error; interactive: input as well."""

    interactive: bool = False


class EmulatedHost:
    """One configuration of the emulated host; run() may be called more than once."""

    def __init__(self, kernel, cpus=1, memory_mib=1536, numa_nodes=1, verbose=False):
        self.kernel = kernel
        self.qemu = emulator()
        self.cpus = cpus
        self.memory_mib = memory_mib
        self.numa_nodes = numa_nodes
        self.verbose = verbose
        self.cargo = Cargo()
        self.disks = []
        self.extra_arguments = []

    def add_disk(self, path, serial, is_readonly=False):
        """Attach the image @path; the name of its device in the host."""
        self.disks.append((Path(path), serial, is_readonly))
        return f"/dev/vd{chr(ord('a') + len(self.disks) - 1)}"

    def run(self, script, results, timeout_s, terminal=None):
        """Run the shell @script as root in the host; what it leaves in /out comes back in the folder @results.

        A session that times out or whose host dies is tried once more (an emulator on a loaded machine does that
        now and then), unless somebody has seen output of the first try.  The outcome lists both tries.
        """
        outcome = Outcome(results=Path(results))
        for _ in range(TRIES):
            self.run_once(script, outcome, timeout_s, terminal)
            if not outcome.has_no_answer() or (terminal and outcome.was_ready):
                break
        return outcome

    def run_once(self, script, outcome, timeout_s, terminal=None):
        """One try, for callers that go on differently after a failure; the result is added to @outcome."""
        session = _Session(self, script, outcome.results, timeout_s, terminal)
        outcome.status = session.run()
        outcome.was_ready = session.ready_s > 0
        outcome.attempts.append(session.summary(outcome.status))

    def qemu_command(self, initramfs, results_disk, ports, terminal):
        """QEMU's command line; @ports are descriptors for the console and, with a @terminal, its output and errors."""
        parameters = f"console=ttyS0 quiet panic=-1 apparmor=0 selinux=0 {EMULATED_PARAMETERS}"
        command = [
            *self.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", CPU,
            "-smp", str(self.cpus), "-m", str(self.memory_mib), *self._numa_arguments(),
            "-kernel", str(self.kernel.vmlinux), "-initrd", str(initramfs), "-append", parameters,
            *_port("console", ports[0]),
        ]  # fmt: skip
        if terminal and terminal.interactive:
            command += ["-chardev", "stdio,id=terminal,signal=off", "-serial", "chardev:terminal"]
        elif terminal:
            command += _port("terminal", ports[1])
        if terminal:
            command += _port("errors", ports[2])
        for number, (path, serial, is_readonly) in enumerate([*self.disks, (results_disk, "results", False)]):
            drive = f"if=none,id=disk{number},file={path},format=raw,cache=unsafe,discard=unmap"
            command += ["-drive", drive + (",readonly=on" if is_readonly else "")]
            command += ["-device", f"virtio-blk-pci,drive=disk{number},serial={serial}"]
        return command + self.extra_arguments

    def _numa_arguments(self):
        arguments = []
        for node in range(self.numa_nodes if self.numa_nodes > 1 else 0):
            size_mib = self.memory_mib // self.numa_nodes
            cpus = f"{node * self.cpus // self.numa_nodes}-{(node + 1) * self.cpus // self.numa_nodes - 1}"
            arguments += ["-object", f"memory-backend-ram,id=memory{node},size={size_mib}M"]
            arguments += ["-numa", f"node,nodeid={node},memdev=memory{node},cpus={cpus}"]
        return arguments


def _port(name, descriptor):
    """A serial port whose output goes to @descriptor, which QEMU inherits under the same number."""
    fdset = f"fd={descriptor},set={descriptor}"
    chardev = f"file,id={name},path=/dev/fdset/{descriptor},append=on"
    return ["-add-fd", fdset, "-chardev", chardev, "-serial", f"chardev:{name}"]


class _Session:
    """One boot of the host, from files to exit status."""

    def __init__(self, host, script, results, timeout_s, terminal):
        self.host = host
        self.script = script
        self.results = results
        self.timeout_s = timeout_s
        self.terminal = terminal
        self.status = None
        self.ready_s = self.end_s = self.heard_s = 0.0
        self.started = time.monotonic()

    def summary(self, status):
        """One line for the record."""
        reason = {TIMED_OUT: "timed out", HOST_DIED: "host died"}.get(status, f"status {status}")
        return f"{reason}: ready after {self.ready_s:.1f} s, end after {self.end_s:.1f} s, of {self.elapsed():.1f} s"

    def elapsed(self):
        return time.monotonic() - self.started

    def run(self):
        self.results.mkdir(parents=True, exist_ok=True)
        with scratch_folder("emulated") as work:
            self.host.cargo.add_text(self.script, "test", 0o755)
            base = base_image(self.host.kernel)
            self.host.cargo.write(base, work / "initramfs")
            disk = work / "results.img"
            with open(disk, "wb") as out:
                out.truncate(RESULTS_BYTES)
            self.started = time.monotonic()
            is_in_time = self._boot(work / "initramfs", disk)
            self._unpack(disk)
        if not is_in_time:
            return TIMED_OUT
        return HOST_DIED if self.status is None else self.status

    def _boot(self, initramfs, disk):
        """Start QEMU and follow the console until it ends; False when the time is up."""
        names = ["console"] + (["terminal", "errors"] if self.terminal else [])
        pipes = {name: os.pipe() for name in names}
        write_ends = [write_end for _, write_end in pipes.values()]
        is_interactive = bool(self.terminal and self.terminal.interactive)
        with terminal_restored():
            qemu = subprocess.Popen(
                self.host.qemu_command(initramfs, disk, write_ends, self.terminal),
                stdin=None if is_interactive else subprocess.DEVNULL,
                stdout=None if is_interactive else subprocess.DEVNULL,
                pass_fds=write_ends,
                preexec_fn=die_with_parent,
                start_new_session=not is_interactive,
            )
            for write_end in write_ends:
                os.close(write_end)
            try:
                return self._follow({read_end: name for name, (read_end, _) in pipes.items()}, qemu)
            finally:
                _stop(qemu)
                for read_end, _ in pipes.values():
                    os.close(read_end)

    def _follow(self, ports, qemu):
        """Read the @ports (descriptor to name) until all are closed; False when the time is up.

        A host that falls silent has hung and is ended; without a status that counts as dead.
        """
        pending = b""
        is_open = set(ports)
        with open(self.results / "console.log", "a", encoding="utf-8") as log:  # behind an earlier host's
            while is_open:
                now_s = self.elapsed()
                if now_s >= self.timeout_s:
                    return False
                limit_s = self.heard_s + SILENCE_SECONDS if self.ready_s else READY_SECONDS
                if now_s >= limit_s:
                    return True
                left_s = min(self.timeout_s, limit_s) - now_s
                for port in select.select(list(is_open), [], [], left_s)[0]:
                    data = os.read(port, 65536)
                    if not data:
                        is_open.remove(port)
                    elif ports[port] == "console":
                        *lines, pending = (pending + data).split(b"\n")
                        for line in lines:
                            self._note_line(line.decode("utf-8", "replace").rstrip("\r"), log)
                    else:
                        write_all(1 if ports[port] == "terminal" else 2, data)
        with contextlib.suppress(subprocess.TimeoutExpired):
            qemu.wait(10)
        return True

    def _note_line(self, line, log):
        self.heard_s = self.elapsed()
        if line == "EMULATED-ALIVE":
            return
        log.write(f"{self.elapsed():8.3f} {line}\n")
        log.flush()
        if self.host.verbose:
            print(f"{self.elapsed():8.3f} {line}", file=sys.stderr, flush=True)
        if line.startswith("EMULATED-READY"):
            self.ready_s = self.elapsed()
        elif line.startswith("EMULATED-END "):
            self.status = int(line.split()[1])
            self.end_s = self.elapsed()

    def _unpack(self, disk):
        """Take the results off the disk: archives in a row, the last of which may be torn when the host died."""
        command = ["tar", "-C", self.results, "--ignore-zeros", "-xf", disk]
        subprocess.run(command, capture_output=True, check=False)


def _stop(process):
    """End @process now, if it has not ended by itself."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait()
