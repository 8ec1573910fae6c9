"""Device processes are killed under load, again and again: no request is lost, doubled or failed, and the guest sees a pause.

usage: python3 -m jail.kills VMM GUEST

VMM_KILLS says how often (60). Loads of the built-in guest compare all they read. The median and the longest pause are printed.
At the end whole machines are killed at random moments, and nothing is left of them.
"""
import contextlib
import os
import random
import signal
import statistics
import sys
import threading
import time
from pathlib import Path

from support.control import Client
from support.machine import Machine
from support.scratch import run_main, scratch_folder

SKIPPED = 77
MIB = 1 << 20
PATIENCE_S = 120
BUSY_NS = 200_000  # a worker's CPU time that stands for some requests: eight deaths without any are given up
IDLE_KILLS = 6  # of devices that are asked for nothing most of the time
DEVICES = ("block0", "block1", "rng", "console")


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
            if name_of(proc) in DEVICES and len(list((proc / "task").iterdir())) > 1:
                found[name_of(proc)] = proc
    return found


class Killer(threading.Thread):
    """Kills devices of whatever machine runs, until there were enough."""

    def __init__(self, kills):
        super().__init__()
        self.left = kills
        self.kills = dict.fromkeys(DEVICES, 0)
        self.pauses_us = []
        self.machine = self.socket = None
        self.idle_kills = 0  # of this machine
        self.is_over = threading.Event()

    def run(self):
        while self.left and not self.is_over.is_set():
            with contextlib.suppress(OSError, ValueError, LookupError, StopIteration, AssertionError):
                self._kill_one()
            time.sleep(random.uniform(0.002, 0.05))

    def _kill_one(self):
        machine = self.machine
        if not machine or machine.process.poll() is not None:
            return
        name, proc = random.choice(sorted(devices(machine).items()))
        if name.startswith("block") and busy_ns(proc) < BUSY_NS:
            return
        if not name.startswith("block"):
            if self.idle_kills == IDLE_KILLS:
                return
            self.idle_kills += 1
        os.kill(int(proc.name), signal.SIGKILL)
        self.kills[name] += 1
        self.left -= 1
        if name.startswith("block"):
            time.sleep(0.05)
            with Client(self.socket) as client:
                device = next(d for d in client.result("devices") if d["name"] == name)
                if device["last_pause_us"]:
                    self.pauses_us.append(device["last_pause_us"])


def load(vmm, guest, work, killer):
    """One boot with loads on two disks; AssertionError when a check fails."""
    for name in ("a", "b"):
        with open(work / name, "wb") as out:
            out.truncate(16 * MIB)
    socket = work / "socket"
    options = [
        "-c", "2", "-s", socket, "--block", f"path={work}/a,queues=4", "--block", f"path={work}/b,direct,queues=2",
        "--serial", "type=stdout,num=1,console", "--console", f"type=file,path={work}/console", "-p", "test=load,rng", guest,
    ]  # fmt: skip
    with Machine(vmm, options, work) as machine:
        killer.machine, killer.socket, killer.idle_kills = machine, socket, 0
        status = machine.wait(PATIENCE_S)
        killer.machine = None
        if status != 0 or b" 0 failed" not in machine.seen:
            raise AssertionError(f"status {status}: {machine.seen[-600:].decode(errors='replace')} {machine.errors()[-600:]}")


def kill_devices(vmm, guest, work):
    killer = Killer(int(os.environ.get("VMM_KILLS", "60")))
    killer.start()
    boots = 0
    try:
        while killer.left:
            load(vmm, guest, work, killer)
            boots += 1
    finally:
        killer.is_over.set()
        killer.join()
    pauses = sorted(killer.pauses_us)
    told = ", ".join(f"{count} of {name}" for name, count in killer.kills.items())
    print(f"{sum(killer.kills.values())} kills ({told}) in {boots} boots")
    if pauses:
        print(f"pause of a disk: median {statistics.median(pauses) / 1000:.1f} ms, longest {pauses[-1] / 1000:.1f} ms")


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
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("there is no /dev/kvm that we may use")
        return SKIPPED
    with scratch_folder("kills") as work:
        try:
            kill_devices(vmm, guest, work)
            kill_machines(vmm, guest, work)
        except AssertionError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    run_main(main)
