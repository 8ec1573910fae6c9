"""Device processes are killed under load, again and again: no request is lost, doubled or failed, and the guest sees a pause.

usage: python3 -m jail.kills VMM GUEST

VMM_KILLS says how often (60). The built-in guest keeps disks of every kind, the entropy device and the console busy and
compares all that comes back; what a console has put out is compared here. For each type of device: kills, and the pauses.
At the end whole machines are killed at random moments, and nothing is left of them.
"""
import contextlib
import os
import random
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from jail.pauses import Killer, Watch
from jail.streams import Broken, gaps, known_stream, lines, repeats, same
from support.control import Client
from support.machine import Machine
from support.needs import SKIPPED, has_kvm
from support.scratch import run_main, scratch_folder

MIB = 1 << 20
PATIENCE_S = 120
BUSY_NS = 200_000  # a worker's CPU time that stands for some requests: eight deaths without any are given up
EAGER = 0.3  # share of the kills that do not wait for so much
TWINS = 0.2  # share of the kills that take a second device along
CHUNK = 64  # bytes of a buffer of the guest's console
UNDER_WAY = 4 * CHUNK  # bytes that a port of the guest may hold, at most
DISKS = {
    "block0": ("disk, file in the page cache", "path={}/a,queues=2"),
    "block1": ("disk, file with O_DIRECT", "path={}/b,queues=2,direct"),
    "block2": ("disk, packed rings", "path={}/c,queues=2,packed=on"),
    "block3": ("disk, null", "format=null,size=16M,queues=2"),
}
TYPES = {name: what for name, (what, _) in DISKS.items()} | {"rng": "entropy", "console": "console, one port", "ports": "console, three ports"}


def name_of(proc):
    return (proc / "comm").read_text().strip()


def busy_ns(proc):
    """CPU time of its workers."""
    total = 0
    for task in (proc / "task").iterdir():
        with contextlib.suppress(OSError):
            if task.name != proc.name:
                total += int((task / "schedstat").read_text().split()[0])
    return total


def devices(machine):
    """The folder in /proc of each device's process by name; those that are on their way up or down are left out."""
    found = {}
    for proc in machine.processes()[1:]:
        with contextlib.suppress(OSError):
            if name_of(proc) != "vmm-zygote" and len(list((proc / "task").iterdir())) > 1:
                found[name_of(proc)] = proc
    return found


class GuestKiller(Killer):
    """Kills devices of whatever machine runs, one or two at a time, while its guest is at its load."""

    def __init__(self, kills):
        super().__init__(kills, TYPES)
        self.machine = self.watch = None
        self.console = "console"  # what the machine's console is counted as
        self.consoles = None  # the host's side of it
        self.before = {}  # kills of each type when the machine began

    def begin(self, machine, client, consoles):
        self.before = {name: tally.kills for name, tally in self.tallies.items()}
        self.begin_boot()
        self.consoles, self.console = consoles, "ports" if consoles.has_ports else "console"
        self.machine, self.watch = machine, Watch(client)

    def end(self):
        """The machine is over; how often each of its devices was killed."""
        self.machine = None
        return {name: tally.kills - self.before[name] for name, tally in self.tallies.items()}

    def _victims(self):
        """Up to two devices that may be killed now."""
        found = sorted(devices(self.machine).items())
        random.shuffle(found)
        chosen = [(name, proc) for name, proc in found if random.random() < EAGER or busy_ns(proc) >= BUSY_NS]
        return chosen[: 2 if random.random() < TWINS else 1]

    def kill_one(self):
        machine = self.machine
        if not machine or not self.has_share() or b"load begins" not in machine.seen or b"load ends" in machine.seen:
            time.sleep(0.005)
            return
        time.sleep(random.uniform(0, 0.03))
        victims = [(name, proc, self.watch.restarts(name)) for name, proc in self._victims()]
        for name, proc, _ in victims:
            os.kill(int(proc.name), signal.SIGKILL)
            self.tallies[self._type_of(name)].kills += 1
            self.left -= 1
        for name, _, before in victims:
            outage_us = self.watch.outage_us(name, before, self.is_over)
            if outage_us:
                self.tallies[self._type_of(name)].outages_us.append(outage_us)
                if self._type_of(name) == "ports":
                    self._wait_for_input(machine)

    def _wait_for_input(self, machine):
        """The next process of the console must hand input to the guest, too: more than came before it."""
        wanted, deadline = self.consoles.echoed() + UNDER_WAY + 1, time.monotonic() + PATIENCE_S
        while self.consoles.echoed() < wanted and b"load ends" not in machine.seen and not self.is_over.is_set():
            if time.monotonic() > deadline:
                raise AssertionError(f"no input of a port reaches the guest {PATIENCE_S} s after a kill")
            time.sleep(0.001)

    def _type_of(self, name):
        return self.console if name == "console" else name


class Peer(threading.Thread):
    """The far end of a port on a socket: sends a known stream as fast as it is taken, keeps what comes.

    @pace_s: pause between two pieces of 4 KiB.
    """

    def __init__(self, path, pace_s=0):
        super().__init__(daemon=True)
        self.pace_s = pace_s
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.got, self.sent = bytearray(), known_stream(8 * MIB)
        self.start()

    def run(self):
        connection, _ = self.listener.accept()
        threading.Thread(target=self._send, args=(connection,), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := connection.recv(65536):
                self.got += data

    def _send(self, connection):
        with contextlib.suppress(OSError):  # the machine is over
            for at in range(0, len(self.sent), 4096):
                connection.sendall(self.sent[at : at + 4096])
                time.sleep(self.pace_s)

    def end(self):
        self.join(PATIENCE_S)
        self.listener.close()


class Consoles:
    """The host's side of the console of one boot, with one port or with three."""

    def __init__(self, work, has_ports):
        self.work, self.has_ports, self.peer = work, has_ports, None
        for name in ("a.out", "c.out", "b.socket"):
            (work / name).unlink(missing_ok=True)
        (work / "a.in").write_bytes(known_stream(4 * MIB))
        if has_ports:
            self.peer = Peer(work / "b.socket")

    def options(self):
        first = f"type=file,path={self.work}/a.out,input={self.work}/a.in"
        if not self.has_ports:
            return ["--console", first]
        return [
            "--console", f"{first},name=a", "--console", f"type=unix,path={self.work}/b.socket,name=b",
            "--console", f"type=file,path={self.work}/c.out,name=c",
        ]  # fmt: skip

    def echoed(self):
        """Bytes that the guest has had as input of its second port, and put out on its third."""
        return (self.work / "c.out").stat().st_size

    def check(self, said, kills):
        """What came out, after a guest that @said what it has put in; returns a word on what was repeated and lost."""
        counts = dict(re.findall(r"info lines (\w) (\d+)", said))
        same(lines("a", int(counts["a"])), (self.work / "a.out").read_bytes())
        if not self.has_ports:
            return ""
        self.peer.end()
        twice = repeats(lines("b", int(counts["b"])), bytes(self.peer.got), CHUNK)
        lost = gaps(self.peer.sent, (self.work / "c.out").read_bytes(), CHUNK)
        if len(twice) > kills or len(lost) > kills:
            raise Broken(f"{kills} kills, but {len(twice)} repeats and {len(lost)} gaps")
        return f"socket: {len(twice)} writes repeated, {len(lost)} reads lost, of {kills} kills"


def note_waits(killer, said, kills):
    """The guest's own figures: of each device's longest waits as many as it was killed."""
    for name, tally in killer.tallies.items():
        guests_name = "console" if name == "ports" else name
        found = re.findall(rf"info waits {guests_name} (\d+): ([\d ]+)", said)
        if found and kills[name]:
            tally.requests += sum(int(count) for count, _ in found[::8])  # eight lines for each queue
            first_queue = [int(us) for _, line in found[:8] for us in line.split()]
            tally.waits_us += sorted(first_queue, reverse=True)[: kills[name]]


def load(vmm, guest, work, killer, has_ports):
    """One boot with all devices busy; AssertionError or Broken when a check fails."""
    for name in ("a", "b", "c"):
        with open(work / name, "wb") as out:
            out.truncate(16 * MIB)
    consoles, control = Consoles(work, has_ports), work / "socket"
    seconds = max(2, min(8, killer.left // 20))
    options = ["-c", "1", "-s", control, "--serial", "type=stdout,num=1,console", *consoles.options()]
    for _, keys in DISKS.values():
        options += ["--block", keys.format(work)]
    test = "kills.many-ports" if has_ports else "kills.one-port"
    with Machine(vmm, [*options, "-p", f"test={test} packed=1 null=3 seconds={seconds}", guest], work) as machine:
        if not machine.wait_for(b"load begins", PATIENCE_S):
            raise AssertionError(f"no load: {machine.seen[-600:].decode(errors='replace')} {machine.errors()[-600:]}")
        with Client(control) as client:
            killer.begin(machine, client, consoles)
            status = machine.wait(PATIENCE_S)
            kills = killer.end()
        said = machine.seen.decode(errors="replace").replace("\r", "")
        if status != 0 or " 0 failed 0 skipped" not in said:
            raise AssertionError(f"status {status}: {said[-600:]} {machine.errors()[-600:]}")
    note_waits(killer, said, kills)
    word = consoles.check(said, kills["ports"])
    if word:
        print(f"    {word}")


def kill_devices(vmm, guest, work):
    killer = GuestKiller(int(os.environ.get("VMM_KILLS", "60")))
    killer.start()
    boots = 0
    try:
        while (killer.left > 0 or boots < 2) and not killer.problem:
            load(vmm, guest, work, killer, boots % 2 == 1)
            boots += 1
    finally:
        killer.stop()
    print(f"{killer.total()} kills in {boots} boots")
    killer.report(TYPES)


def kill_machines(vmm, guest, work):
    """SIGKILL for main at a random moment: every process of the machine goes with it."""
    for _ in range(20):
        options = ["--block", f"path={work}/a,queues=2", "--console", "type=sink", "-p", "test=hang", guest]
        with Machine(vmm, options, work) as machine:
            time.sleep(random.choice((0.0, 0.01, 0.05, 0.3)) * random.random())
            try:
                left = machine.processes()[1:]
            except OSError:
                left = []
            machine.stop(signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while alive := [proc for proc in left if is_alive(proc)]:
            if time.monotonic() > deadline:
                raise AssertionError(f"left behind: {[name_of(proc) for proc in alive]}")
            time.sleep(0.005)
    print("20 machines killed, nothing left behind")


def is_alive(proc):
    """Whether the process is there, and no zombie that somebody else has to reap."""
    with contextlib.suppress(OSError):
        return (Path(proc) / "stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


def main(arguments):
    vmm, guest = arguments
    if not has_kvm():
        return SKIPPED
    with scratch_folder("kills") as work:
        try:
            kill_devices(vmm, guest, work)
            kill_machines(vmm, guest, work)
        except (AssertionError, Broken) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    run_main(main)
