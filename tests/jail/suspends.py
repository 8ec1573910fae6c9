"""A VM is suspended under load, again and again, its devices killed meanwhile: nothing moves, and nothing is lost.

usage: python3 -m jail.suspends VMM GUEST

VMM_SUSPENDS says how often (60). The load and what is checked of it are those of jail.kills. While the VM is suspended
the guest's memory, the images and the clocks of the vCPUs are looked at twice: they must stand still.
"""
import os
import random
import signal
import sys
import time
import zlib
from pathlib import Path

from jail.kills import TYPES, Broken, GuestKiller, devices, load
from support.control import Client
from support.needs import SKIPPED, has_kvm
from support.scratch import run_main, scratch_folder

CHUNK = 1 << 20
REST_S = 0.05  # between two looks


def digest_of(fd):
    """Of all that has ever been written to the memory behind @fd."""
    value, at, end = 0, 0, os.fstat(fd).st_size
    while at < end:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            break  # the rest is a hole
        hole = os.lseek(fd, at, os.SEEK_HOLE)
        while at < hole:
            data = os.pread(fd, min(CHUNK, hole - at), at)
            value = zlib.crc32(data, value ^ at & 0xFFFFFFFF)
            at += len(data)
    return value


def memory_of(machine):
    """A descriptor of the guest's memory."""
    for link in (machine.proc / "fd").iterdir():
        if "memfd:guest-ram" in os.readlink(link):
            return os.open(link, os.O_RDONLY)
    raise AssertionError("no guest memory")


def clocks_of(machine):
    """CPU time of each vCPU."""
    tasks = (machine.proc / "task").iterdir()
    return {task.name: (task / "schedstat").read_text().split()[0] for task in tasks if (task / "comm").read_text().startswith("vcpu")}


class Suspender(GuestKiller):
    """Suspends whatever machine runs and lets it go on, while its guest is at its load."""

    def __init__(self, count, work):
        super().__init__(count)
        self.work, self.looks, self.cancelled, self.lengths_ms = work, 0, 0, []

    def _state(self, machine, memory):
        images = [(path.name, path.stat().st_mtime_ns) for path in sorted(self.work.glob("[abc]"))]
        return {"memory": digest_of(memory), "images": images, "vCPUs": clocks_of(machine)}

    def _check_rest(self, machine):
        memory = memory_of(machine)
        try:
            before = self._state(machine, memory)
            time.sleep(REST_S)
            after = self._state(machine, memory)
        finally:
            os.close(memory)
        for what, was in before.items():
            if after[what] != was:
                raise AssertionError(f"suspended, and yet {what} changed: {was}, {after[what]}")
        self.looks += 1

    def _kill_some(self, machine):
        for name, proc in random.sample(sorted(devices(machine).items()), 1) if devices(machine) else ():
            os.kill(int(proc.name), signal.SIGKILL)
            self.tallies[self._type_of(name)].kills += 1

    def kill_one(self):
        machine = self.machine
        if not machine or not self.has_share() or b"load begins" not in machine.seen or b"load ends" in machine.seen:
            time.sleep(0.005)
            return
        time.sleep(random.uniform(0, 0.03))
        chance = random.random()
        with Client(self.work / "socket", seconds=60) as client:
            began = time.monotonic()
            if chance < 0.3:
                self._kill_some(machine)  # its requests are the next one's, whenever that comes
            if 0.3 < chance < 0.4:
                self._cancel(client)
                return
            client.result("suspend")
            self.lengths_ms.append(1000 * (time.monotonic() - began))
            self.left -= 1
            if client.result("status")["state"] != "suspended":
                raise AssertionError("it is not suspended")
            if chance > 0.6:
                self._kill_some(machine)
            if chance < 0.1 or chance > 0.9:
                client.result("restart", device="block1")  # not supported where it has no process
            self._check_rest(machine)
            client.result("resume")

    def _cancel(self, client):
        """Suspended and resumed at once: either comes to its end."""
        client.say(b'{"do":"suspend","id":1}\n')
        with Client(self.work / "socket") as other:
            other.result("resume")
            reply = client.hear()
            if reply["id"] != 1 or not (reply["ok"] or "resumed meanwhile" in reply["error"]["text"]):
                raise AssertionError(f"a suspend that was cancelled: {reply}")
            self.cancelled += not reply["ok"]
            if other.result("status")["state"] != "running":
                other.result("resume")


def suspend_all(vmm, guest, work):
    suspender = Suspender(int(os.environ.get("VMM_SUSPENDS", "60")), work)
    suspender.start()
    boots = 0
    try:
        while (suspender.left > 0 or boots < 2) and not suspender.problem:
            load(vmm, guest, work, suspender, boots % 2 == 1)
            boots += 1
    finally:
        suspender.stop()
    lengths = sorted(suspender.lengths_ms)
    if not suspender.looks:
        raise AssertionError("it was never suspended")
    print(f"{suspender.looks} times at rest, {suspender.cancelled} cancelled, {suspender.total()} kills, {boots} boots")
    print(f"    to come to rest: median {lengths[len(lengths) // 2]:.1f} ms, longest {lengths[-1]:.1f} ms")
    suspender.report(TYPES)


def main(arguments):
    vmm, guest = arguments
    if not has_kvm():
        return SKIPPED
    with scratch_folder("suspends") as work:
        try:
            suspend_all(vmm, guest, Path(work))
        except (AssertionError, Broken) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    run_main(main)
