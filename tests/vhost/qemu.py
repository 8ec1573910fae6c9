"""QEMU boots a Linux from disks that `vmm device block` serves, and does not notice when a server is killed.

usage: python3 -m vhost.qemu VMM boot      fio writes and verifies, the disk is checked from outside
       python3 -m vhost.qemu VMM kills     the same while the server of the disk is killed again and again

VMM_NATIVE_KERNEL names the kernel, VMM_QEMU the emulator (qemu-system-x86_64), VMM_KILLS how many kills (20).
"""
import os
import random
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from boot.checks import Report, check_file_system, check_files, read_text, require_native_kernel, skip, sums_in
from boot.native import FILE_MIB, FIO_WRITE, PARAMETERS, QUEUES, TRIES, check_result, kernel_trouble
from support.linux_guest import base_initrd, write_initrd
from support.rootdisk import debian_root, make_ext4
from support.scratch import die_with_parent, run_main, scratch_folder
from vhost.servers import Server

QBOOT = Path("/usr/share/qemu/qboot.rom")
LIMIT_SECONDS = 240
KILL_SECONDS = 0.5


def disk_arguments(name, path):
    return [
        "-chardev", f"socket,id={name},path={path},reconnect=1",
        "-device", f"vhost-user-blk-pci,chardev={name},num-queues=2,disable-legacy=on",
    ]  # fmt: skip


def start_qemu(emulator, kernel, work, initrd, parameters):
    """QEMU with both disks, its own firmware and nothing else."""
    ports = [word for kind in ("console", "output", "result") for word in ("-serial", f"file:{work / kind}")]
    command = [
        emulator, "-accel", "kvm", "-cpu", "host,-arch-capabilities", "-M", "q35,memory-backend=ram", "-bios", str(QBOOT),
        "-object", "memory-backend-memfd,id=ram,size=512M,share=on", "-m", "512M", "-smp", "2",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", *ports,
        *disk_arguments("root", work / "root.socket"), *disk_arguments("data", work / "data.socket"),
        "-kernel", kernel, "-initrd", str(initrd), "-append", parameters,
    ]  # fmt: skip
    errors = open(work / "stderr", "wb")
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, preexec_fn=die_with_parent)


def wait_for_load(work, process):
    """Until the guest's script has come to fio."""
    while process.poll() is None and "queues=" not in read_text(work / "output"):
        time.sleep(0.1)
    time.sleep(1)


def kill_at_random(server, process, kills, work):
    """Kill and restart @server under load while @process lives; how often.

    QEMU looks for a server that went away once a second; one that dies again while QEMU still introduces itself
    is more than QEMU 7.2 can take, so each server may do some work first.
    """
    wait_for_load(work, process)
    done = 0
    while done < kills and process.poll() is None and server.wait_busy():
        time.sleep(random.uniform(0, KILL_SECONDS))
        server.kill()
        server.start()
        done += 1
    return done


@dataclass
class Run:
    """One boot of QEMU's guest on our two disks: what went wrong, how often the server died, what the guest said."""

    problems: list
    kills: int
    output: str


def run_guest(vmm, kernel, work, kills):
    """Boot it in the new folder @work, with disks in their first state."""
    data, root = work / "data.img", debian_root(("fio",))
    (work / "empty").mkdir(parents=True)
    make_ext4(data, work / "empty", (QUEUES * FILE_MIB + 64) << 20)
    seconds = str(int(os.environ.get("VMM_FIO_SECONDS", "5")) + 2 * kills)
    initrd = write_initrd(work / "initrd", base_initrd(), {"early": FIO_WRITE.replace("@SECONDS@", seconds)})
    disks = (("root", f"path={root},ro,queues=2"), ("data", f"path={data},queues=2"))
    servers = [Server(vmm, work / f"{name}.socket", keys) for name, keys in disks]
    for server in servers:
        server.start()
        server.wait_ready()
    process = start_qemu(os.environ.get("VMM_QEMU", "qemu-system-x86_64"), kernel, work, initrd, f"console=ttyS0 {PARAMETERS}")
    done = kill_at_random(servers[1], process, kills, work) if kills else 0
    problems = []
    try:
        if process.wait(LIMIT_SECONDS + 4 * kills):
            problems.append(f"QEMU ended with {process.returncode}")
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        problems.append("the guest hangs")
    problems += [f"a server ended with {server.process.returncode}" for server in servers if server.stop() != 0]
    problems += check_result(read_text(work / "result").strip())
    if done < kills:
        problems.append(f"the guest was done after {done} kills")
    return Run(problems, done, read_text(work / "output"))


def test(vmm, kernel, report, work, kills):
    """A run in which the test kernel says that it failed by itself is repeated, and that is put on record."""
    for attempt in range(1, TRIES + 1):
        folder = work / str(attempt)
        run = run_guest(vmm, kernel, folder, kills)
        trouble = kernel_trouble(folder / "console")
        if not run.problems or not trouble:
            break
        print(f"    try {attempt}: the test kernel failed by itself: {trouble}", flush=True)
    logs = [folder / name for name in ("stderr", "console", "output")]
    report.case(f"fio writes and verifies, {run.kills} kills", run.problems, logs)
    print("    " + " ".join(line for line in run.output.splitlines() if "=" in line))
    data = folder / "data.img"
    problems = check_file_system(data) + check_files(data, "/", sums_in(run.output), folder / "files")
    report.case("the disk from outside", problems)


def main(arguments):
    vmm, what = arguments
    kernel = require_native_kernel()
    if not shutil.which(os.environ.get("VMM_QEMU", "qemu-system-x86_64")) or not QBOOT.exists():
        skip("there is no QEMU with its qboot firmware")
    report = Report()
    with scratch_folder("qemu") as work:
        test(vmm, kernel, report, work, int(os.environ.get("VMM_KILLS", "20")) if what == "kills" else 0)
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
