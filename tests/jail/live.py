"""Every process and thread of a running machine, looked at by root from outside: is each in the jail it should be in?

usage: python3 -m jail.live VMM GUEST

The walls themselves have tests of their own (unit/test_jail, test_seccomp, test_rules); here it shows that each thread of
the real program stands behind all of them, that devices share nothing but what they should, and that what they hold is
theirs.
"""
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from support.machine import Machine
from support.scratch import run_main, scratch_folder

SKIPPED = 77
MIB = 1 << 20
PATIENCE_S = 60
DEVICES = ("block0", "block1", "rng", "console")
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
SPACES = ("user", "pid", "mnt", "ipc", "uts", "cgroup", "net")
OF_EACH = ("user", "pid")  # the others are one for all devices of a machine ...
OF_EACH_PROGRAM = ("user", "pid", "mnt")  # ... but where a device runs another program, which began with files
LIMITS = {"Max core file size": 0, "Max open files": 1024, "Max processes": 256, "Max msgqueue size": 0}
# Lists of system calls over a thread: the process's, and the narrower ones of threads and devices.
FILTERS = {"main": 1, "vcpu": 2, "io": 2, "zygote": 1, "device": 2}


class Check:
    """What is found wrong."""

    def __init__(self):
        self.failed = 0

    def equal(self, got, wanted, what):
        """A line unless the two are equal."""
        if got != wanted:
            self.failed += 1
            print(f"FAIL {what}: {got!r}, not {wanted!r}", flush=True)


def fields(path):
    """The lines "name: value" of a file."""
    return dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)


def tasks(proc):
    """Its threads as (name, folder), those of the kernel, for io_uring and KVM, left out."""
    found = [((task / "comm").read_text().strip(), task) for task in (proc / "task").iterdir()]
    return [(name, task) for name, task in found if not name.startswith(("iou-", "kvm-"))]


def kind_of_thread(name):
    """Which of FILTERS a thread of the main process is."""
    if re.fullmatch(r"vcpu\d+", name):
        return "vcpu"
    return "io" if name == "vmm-io" else "main"


def check_thread(check, name, task, kind, has_rights=False):
    """Rights and lists of one thread."""
    status = fields(task / "status")
    for capability in () if has_rights else CAPABILITIES:
        check.equal(int(status[capability], 16), 0, f"{name}: {capability}")
    check.equal(status["NoNewPrivs"].strip(), "1", f"{name}: no new privileges")
    check.equal(status["Seccomp"].strip(), "2", f"{name}: seccomp")
    if "Seccomp_filters" in status:  # since Linux 5.9
        check.equal(int(status["Seccomp_filters"]), FILTERS[kind], f"{name}: lists of system calls")


def wait_until_confined(main):
    """Return when each vCPU has its list: it enters that by itself. What is missing then is found by the checks."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        counts = [int(fields(task / "status").get("Seccomp_filters", 2)) for name, task in tasks(main) if kind_of_thread(name) == "vcpu"]
        if min(counts) >= FILTERS["vcpu"]:
            return
        time.sleep(0.01)


def space(proc, name):
    """A namespace of a process."""
    return os.readlink(proc / "ns" / name)


def check_spaces(check, devices, main, of_each):
    """Namespaces: none of the main process's, and of each device alone what should be (@of_each)."""
    for kind in SPACES:
        seen = [space(proc, kind) for proc in devices.values()]
        check.equal(space(main, kind) in seen, False, f"a device is in main's {kind} namespace")
        check.equal(len(set(seen)), len(seen) if kind in of_each else 1, f"{kind} namespaces of the devices")


def limit(proc, name):
    """A hard limit."""
    line = next(line for line in (proc / "limits").read_text().splitlines() if line.startswith(name))
    return line[len(name) :].split()[1]


def check_files(check, name, proc, own):
    """Its root, and what it has open that has a path: @own, standard error, /dev/null, guest memory."""
    check.equal(os.listdir(proc / "root"), [], f"{name}: what is in its root")
    paths = {os.readlink(link) for link in (proc / "fd").iterdir()}
    known = re.compile(r"/dev/null|/memfd:(guest-ram|vhost-inflight|vmm-console) \(deleted\)|.*/stderr")
    check.equal({path for path in paths if path.startswith("/") and not known.fullmatch(path)}, own, f"{name}: files")


def shared_memory(proc):
    """Inodes of the shared mappings but for guest memory and rings."""
    found = set()
    for line in (proc / "maps").read_text().splitlines():
        words = line.split(None, 5)
        if words[1][3] == "s" and "guest-ram" not in line and "[io_uring]" not in line:
            found.add((words[3], words[4]))
    return found


def check_memory(check, devices):
    """No memory of one device is another's."""
    seen = {}
    for name, proc in devices.items():
        for inode in shared_memory(proc):
            check.equal(seen.setdefault(inode, name), name, f"{name}: who else has its memory {inode}")


def check_machine(check, machine, work, of_each=OF_EACH):
    """All processes."""
    main, zygote, *rest = machine.processes()
    devices = {(proc / "comm").read_text().strip(): proc for proc in rest}
    check.equal(sorted(devices), sorted(DEVICES), "processes of devices")
    for name, task in tasks(main):
        check_thread(check, f"main, {name}", task, kind_of_thread(name))
    for name, task in tasks(zygote):
        check_thread(check, name, task, "zygote", has_rights=True)
    own = {"block0": {str(work / "disk0")}, "console": {str(work / "console")}}
    for device, proc in devices.items():
        for name, task in tasks(proc):
            check_thread(check, f"{device}, {name}", task, "device")
        check_files(check, device, proc, own.get(device, set()))
        for what, most in LIMITS.items():
            check.equal(limit(proc, what), str(most), f"{device}: {what}")
    check_spaces(check, devices, main, of_each)
    check_memory(check, devices)


def upgrade_devices(vmm, work):
    """Each runs another program afterwards."""
    copy = shutil.copy(vmm, work / "vmm")
    for name in DEVICES:
        subprocess.run([vmm, "device", "restart", name, "--binary", copy, work / "s"], timeout=PATIENCE_S, check=True)


def main(arguments):
    """One machine with a device of each kind."""
    vmm, guest = arguments
    if not os.access("/dev/kvm", os.R_OK | os.W_OK) or os.geteuid() != 0:
        print("this needs root, and a /dev/kvm")
        return SKIPPED
    if b"__asan_init" in Path(vmm).read_bytes() or b"__tsan_init" in Path(vmm).read_bytes():
        print("a sanitizer is allowed what no role is")
        return SKIPPED
    check = Check()
    with scratch_folder("live") as work:
        with open(work / "disk0", "wb") as out:
            out.truncate(16 * MIB)
        options = ["-c", "2", "-s", work / "s", "--block", f"path={work}/disk0", "--block", "format=null,size=1M"]
        options += ["--serial", "type=stdout", "--console", f"type=file,path={work}/console", "-p", "test=hang", guest]
        with Machine(vmm, options, work) as machine:
            if not machine.wait_for(b"\n"):
                print(f"FAIL it does not start: {machine.wait(1)} {machine.errors()}")
                return 1
            machine.wait_for_vcpus()
            wait_until_confined(machine.proc)
            if "this host refuses" in machine.errors():
                print(f"this host refuses a part of the jail: {machine.errors()}")
                return SKIPPED
            check_machine(check, machine, work)
            upgrade_devices(vmm, work)
            check_machine(check, machine, work, OF_EACH_PROGRAM)
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    run_main(main)
