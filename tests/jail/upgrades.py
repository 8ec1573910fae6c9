"""Devices are upgraded under load, again and again: no request is lost, doubled or failed.

usage: python3 -m jail.upgrades VMM GUEST

VMM_UPGRADES says how often (24). Loads of the built-in guest compare all they read. Between good programs there are bad ones,
which are refused, and deaths, after which the last good one goes on.
"""
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from jail.kills import MIB, PATIENCE_S
from support.control import Client
from support.machine import Machine
from support.needs import SKIPPED, has_kvm
from support.scratch import run_main, scratch_folder

TRIES = 5
HUNG_UP = ("the VM hung up", "no VM listens", "greeting: b''")
DEVICES = ("block0", "block1", "rng", "console")


class Upgrader(threading.Thread):
    """Upgrades devices of whatever machine runs, until there were enough of each kind."""

    def __init__(self, vmm, work, upgrades):
        super().__init__()
        self.vmm, self.work, self.left = vmm, work, upgrades
        self.done = dict.fromkeys(("taken", "refused", "killed"), 0)
        self.machine = None
        self.counts = {}  # of this machine: requests of each queue when last looked at
        self.may_go = threading.Event()  # a machine runs
        self.is_over = threading.Event()
        self.problem = None
        self.good = [self._copy("good0"), self._copy("good1")]
        part = self._copy("bad")
        os.truncate(part, 64 << 10)
        self.bad = [part, "/bin/true", work]

    def _copy(self, name):
        return Path(shutil.copy(self.vmm, self.work / name))

    def run(self):
        try:
            while self.left > 0 and not self.is_over.is_set():
                if self.may_go.wait(0.1):
                    self._one(self.machine)
        except AssertionError as error:
            self.problem = str(error)
        finally:
            self.left = 0

    def _one(self, machine):
        name = random.choice(("block0", "block0", "block1", *DEVICES))
        step = random.choice(("taken", "taken", "refused", "killed"))
        try:
            getattr(self, f"_{step}")(name)
        except (AssertionError, OSError, ValueError, LookupError, StopIteration) as error:
            if not self._is_over(machine, error):
                raise AssertionError(f"{step}: {error!r}") from error
            return
        self.done[step] += 1
        self.left -= 1

    def _is_over(self, machine, error):
        """Whether @error is that the machine comes to its end, which takes a moment from when it hangs up."""
        hung_up = not isinstance(error, AssertionError) or any(words in str(error) for words in HUNG_UP)
        deadline = time.monotonic() + PATIENCE_S
        while machine.process.poll() is None and self.may_go.is_set():
            if not hung_up or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _device(self, name):
        with Client(self.work / "socket") as client:
            device = next(d for d in client.result("devices") if d["name"] == name)
        before = self.counts.get(name, [])
        self.counts[name] = [queue["requests"] for queue in device["queues"]]
        if any(now < old for now, old in zip(self.counts[name], before)):
            raise AssertionError(f"{name} counts {before}, then {self.counts[name]}")
        return device

    def _restart(self, name, binary):
        words = [self.vmm, "device", "restart", name, "--binary", str(binary), str(self.work / "socket")]
        return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    def _taken(self, name):
        binary = random.choice(self.good)
        done = self._restart(name, binary)
        if done.returncode:
            raise AssertionError(f"{name}: {binary}: {done.stderr}")
        device = self._device(name)
        if device["binary"] != str(binary):
            raise AssertionError(f"{name}: not {binary}: {device}")

    def _refused(self, name):
        """Nothing happens to the device; what a death or a restart before has left to do may disturb that, but not for ever."""
        for _ in range(TRIES):
            before = self._device(name)
            done = self._restart(name, random.choice(self.bad))
            if done.returncode != 1 or done.stderr.count("\n") != 1:
                raise AssertionError(f"{name}: {done}")
            after = self._device(name)
            if before["binary"] != after["binary"]:
                raise AssertionError(f"{name}: {before}, then {after}")
            if before["process"] == after["process"]:
                return
        raise AssertionError(f"{name}: {before}, then {after}")

    def _killed(self, name):
        before = self._device(name)
        if before["process"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(before["process"], signal.SIGKILL)
        if self._device(name)["binary"] != before["binary"]:
            raise AssertionError(f"{name}: {before['binary']} was left")


def load(vmm, guest, work, upgrader):
    """One boot with loads on two disks; AssertionError when a check fails."""
    for name in ("a", "b"):
        with open(work / name, "wb") as out:
            out.truncate(16 * MIB)
    socket = work / "socket"
    options = [
        "-c", "2", "-s", socket, "--block", f"path={work}/a,queues=4", "--rwdisk", f"{work}/b,direct,queues=2",
        "--serial", "type=stdout,num=1,console", "--console", f"type=file,path={work}/console", "-p", "test=load,rng", guest,
    ]  # fmt: skip
    with Machine(vmm, options, work) as machine:
        upgrader.machine, upgrader.counts = machine, {}
        if machine.wait_for(b"\n"):
            upgrader.may_go.set()
        status = machine.wait(PATIENCE_S)
        upgrader.may_go.clear()
        if status != 0 or b" 0 failed" not in machine.seen:
            raise AssertionError(f"status {status}: {machine.seen[-600:].decode(errors='replace')} {machine.errors()[-600:]}")


def upgrade_devices(vmm, guest, work):
    upgrader = Upgrader(vmm, work, int(os.environ.get("VMM_UPGRADES", "24")))
    upgrader.start()
    boots = 0
    try:
        while upgrader.left:
            load(vmm, guest, work, upgrader)
            boots += 1
    finally:
        upgrader.is_over.set()
        upgrader.join()
    if upgrader.problem:
        raise AssertionError(upgrader.problem)
    told = ", ".join(f"{count} {step}" for step, count in upgrader.done.items())
    print(f"{told} in {boots} boots")


def main(arguments):
    vmm, guest = arguments
    if not has_kvm():
        return SKIPPED
    with scratch_folder("upgrades") as work:
        try:
            upgrade_devices(vmm, guest, work)
        except AssertionError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    run_main(main)
