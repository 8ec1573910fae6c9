"""The built-in guest on disks that `vmm device block` serves: the guest tests again, and kills.

usage: python3 -m vhost.builtin VMM GUEST CASE

CASE is one of run_case.py whose disks can be served, or `kills`: full queues while the server dies again and again.
VMM_KILLS says how often (20).
"""
import os
import random
import sys
import threading
import time
from types import SimpleNamespace

from guest import run_case
from support.scratch import run_main, scratch_folder
from vhost.servers import BUSY_NS, Server

CASES = ("blk", "blk-direct", "hostile", "irq", "load", "load-direct", "one-cpu", "packed", "pci", "queue", "reset", "transport")


class ServedMachine(run_case.Machine):
    """Its disks are in other processes."""

    def __init__(self, vmm, guest, folder):
        super().__init__(SimpleNamespace(vmm=vmm, guest=guest, guest64=None, known=""), folder)
        self.servers = []

    def add_disk(self, name, size=16 * run_case.MIB, more=""):
        path = self.file(name, size)
        keys = more.replace(",packed=on", "").replace(",packed", "")  # always offered there
        server = Server(self.vmm, self.folder / f"{name}.socket", f"path={path},id={name}{keys}")
        server.start()
        self.servers.append(server)
        server.wait_ready()
        self.options += ["--vhost-user-blk", str(server.socket)]
        return path

    def end(self):
        """What is wrong with how the servers end."""
        return [f"{server.socket.name}: exit status {server.process.returncode}" for server in self.servers if server.stop() != 0]


class Boots:
    """Who may do something about the server now: a machine that begins wants one that is there."""

    def __init__(self, server):
        self.server, self.lock, self.idle_ns = server, threading.Lock(), None

    def begin(self):
        with self.lock:
            self.idle_ns = self.server.queue_cpu_ns()

    def replace_server(self):
        """Kill it and start another; False: not now, it has done nothing for the machine yet."""
        with self.lock:
            if self.idle_ns is not None and self.server.queue_cpu_ns() < self.idle_ns + BUSY_NS:
                return False
            self.idle_ns = None
            self.server.kill()
            self.server.start()
            self.server.wait_ready()
        return True


def kill_again_and_again(boots, kills, is_over):
    """Each one may do some work first: eight in a row that do none are given up."""
    done = 0
    while done < kills and not is_over.is_set() and boots.server.wait_busy():
        time.sleep(random.uniform(0, 0.05))
        done += boots.replace_server()
    return done


def test_kills(machine):
    """Loads, one boot after the other, until there were enough kills.

    The servers belong to this thread: a process made by another would be killed at that one's end.
    """
    kills = int(os.environ.get("VMM_KILLS", "20"))
    machine.add_disk("disk0", more=",queues=4")
    is_enough, is_over, failures = threading.Event(), threading.Event(), []
    boots = Boots(machine.servers[0])

    def run_loads():
        try:
            while not is_enough.is_set():
                boots.begin()
                machine.run_tests("load")
        except run_case.Failure as failure:
            failures.append(failure)
        is_over.set()

    guests = threading.Thread(target=run_loads)
    guests.start()
    done = kill_again_and_again(boots, kills, is_over)
    is_enough.set()
    guests.join()
    print(f"{done} kills")
    if failures:
        raise failures[0]
    if done < kills:
        raise run_case.Failure(f"the server had nothing to do after {done} of {kills} kills")


def main(arguments):
    vmm, guest, case = arguments
    reason = run_case.why_not_here()
    if reason:
        print(reason)
        return run_case.SKIPPED
    with scratch_folder("builtin") as folder:
        machine = ServedMachine(vmm, guest, folder)
        try:
            (test_kills if case == "kills" else run_case.CASES[case])(machine)
        except run_case.Failure as failure:
            print(f"FAILED: {failure}")
            machine.end()
            return 1
        problems = machine.end()
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    run_main(main)
