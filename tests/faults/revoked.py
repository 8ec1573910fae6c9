"""/dev/kvm is taken away from the user of a running machine: that goes on, with devices that are replaced; no other starts.

usage: python3 -m faults.revoked VMM GUEST
"""
import os
import signal
import sys
import time

from faults.ends import PATIENCE_S, Setting, run
from support.hosts import OrdinaryUser
from support.machine import Machine
from support.scratch import run_main, scratch_folder

SKIPPED = 77


def pid_of(machine, name):
    """Of the device called @name; None while it has no process."""
    for proc in machine.processes()[1:]:
        try:
            if (proc / "comm").read_text().strip() == name:
                return int(proc.name)
        except OSError:
            continue  # it has just ended
    return None


def await_successor(machine, name, before):
    """Whether another process takes the place of @before."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if pid_of(machine, name) not in (None, before):
            return True
        time.sleep(0.01)
    return False


def problems_while_running(setting, options, sandbox):
    """What is wrong with a machine whose /dev/kvm is taken away: a list of lines."""
    arguments = setting.command("hang", vmm_options=[*options, *sandbox])[2:]
    with Machine(setting.vmm, arguments, setting.folder, prepare=OrdinaryUser.become) as machine:
        if not machine.wait_for(b"\n"):
            return [f"it does not start: {machine.wait(1)} {machine.errors()}"]
        os.chmod(setting.folder / "kvm", 0)
        if not sandbox:
            before = pid_of(machine, "block0")
            os.kill(before, signal.SIGKILL)
            if not await_successor(machine, "block0", before):
                return [f"nobody takes the place of block0: {machine.errors()}"]
        status = machine.stop(signal.SIGTERM)
        return [] if status == 0 else [f"exit status {status}: {machine.errors()}"]


def problems_of(setting, user, sandbox):
    """What is wrong before, while and after the user may use KVM: a list of lines."""
    options = ["--kvm-device", str(user.kvm)]
    found = problems_while_running(setting, options, sandbox)
    end = run(setting.command(vmm_options=[*options, *sandbox]), user.become)
    found += end.problems(ends=(1, 2))
    if "ermission denied" not in end.err or str(user.kvm) not in end.err:
        found.append(f"the next start does not say what is missing: {end.err!r}")
    os.chmod(user.kvm, 0o660)
    end = run(setting.command(vmm_options=[*options, *sandbox]), user.become)
    return found + end.problems(ends=(0,))


def main(arguments):
    """With devices in processes of their own, and in the main process."""
    vmm, guest = arguments
    if not os.access("/dev/kvm", os.R_OK | os.W_OK) or os.geteuid() != 0:
        print("this needs root, and a /dev/kvm")
        return SKIPPED
    failed = 0
    for sandbox in ((), ("--disable-sandbox",)):
        with scratch_folder("revoked") as folder:
            setting = Setting(vmm, guest, folder)
            for file in folder.iterdir():
                OrdinaryUser.give(file)
            user = OrdinaryUser(folder)
            if not user.has_kvm:
                print("device nodes do not work here")
                return SKIPPED
            setting.vmm, setting.guest = user.copy(vmm, folder), user.copy(guest, folder)
            problems = problems_of(setting, user, sandbox)
            print(f"{'FAIL' if problems else 'ok'}: {sandbox} {problems or ''}", flush=True)
            failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    run_main(main)
