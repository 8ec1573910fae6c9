#!/usr/bin/env python3
"""Run one case of the guest tests: the built-in guest under `vmm run` on this host's /dev/kvm.

The guest reports a line a test and ends with "done N passed M failed K skipped"; it powers off (exit 0) when all
passed and resets (exit 32) otherwise. Disks are made for each case and looked at afterwards.
Exit status: 0, 1, or 77 where the case cannot run here, with the reason on the last line.
"""
import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from guest.pattern import SECTOR, pattern
from guest.watch import SPINNING, watch
from support.scratch import die_with_parent, run_main, scratch_folder

SKIPPED = 77
MIB = 1 << 20
RUN_SECONDS = 100
ATTACK_SECONDS = 250
EXIT_RESET = 32
EXIT_CRASH = 33


class Failure(Exception):
    """The case failed; the text says why."""


class Machine:
    """What a case runs: programs, a folder for its files, and the command line as it grows."""

    def __init__(self, options, folder):
        self.vmm, self.guest, self.guest64 = options.vmm, options.guest, options.guest64
        self.known = options.known.split(";")
        self.folder = folder
        self.options = ["--mem", "256", "--cpus", "2"]
        self.parameters = ["strict=1", "ram_mib=256", "cpus=2", f"epoch={int(time.time())}"]
        self.stdin = subprocess.DEVNULL

    def file(self, name, size):
        """A new file of @size bytes."""
        path = self.folder / name
        with open(path, "wb") as handle:
            handle.truncate(size)
        return path

    def add_disk(self, name, size=16 * MIB, more=""):
        """Attach a new image; its path."""
        path = self.file(name, size)
        self.options += ["--block", f"path={path},id={name}{more}"]
        return path

    def add_console(self, path, more=""):
        """Attach a virtio console that writes to the file @path; COM1 stays on stdout."""
        self.options += ["--serial", "type=stdout", "--console", f"type=file,path={path}{more}"]

    def set(self, mem, cpus):
        """Another size than usual."""
        self.options[:4] = ["--mem", str(mem), "--cpus", str(cpus)]
        self.parameters[1:3] = [f"ram_mib={mem}", f"cpus={cpus}"]

    def command(self, tests, kernel=None):
        """vmm with all options, to run @tests."""
        parameters = " ".join([f"test={tests}", *self.parameters])
        return [self.vmm, "run", *self.options, "-p", parameters, str(kernel or self.guest)]

    def run(self, tests, kernel=None, expect=0, seconds=RUN_SECONDS):
        """Run @tests; the lines the guest printed. Failure unless the exit status is @expect."""
        try:
            done = subprocess.run(
                self.command(tests, kernel),
                stdin=self.stdin,
                capture_output=True,
                timeout=seconds,
                check=False,
                preexec_fn=die_with_parent,
            )
        except subprocess.TimeoutExpired as late:
            show(late.stdout, late.stderr)
            raise Failure(f"{tests}: still running after {seconds} s") from late
        show(done.stdout, done.stderr)
        if done.returncode != expect:
            raise Failure(f"{tests}: exit status {done.returncode}, not {expect}")
        return done.stdout.decode(errors="replace").replace("\r", "").splitlines()

    def run_watched(self, tests, seconds=RUN_SECONDS):
        """As run(), with the share of CPU time spent in each pause of the guest."""
        with open(self.folder / "stderr", "w+b") as errors, subprocess.Popen(
            self.command(tests), stdin=self.stdin, stdout=subprocess.PIPE, stderr=errors, preexec_fn=die_with_parent
        ) as process:
            try:
                lines, shares = watch(process, seconds)
            except TimeoutError:
                process.kill()
                raise Failure(f"{tests}: still running after {seconds} s") from None
            finally:
                errors.seek(0)
                complaints = errors.read()
                show(complaints[-4000:])
        show("\n".join(line for line in lines if line not in ("pause", "resume")).encode() + b"\n")
        if process.returncode != 0:
            raise Failure(f"{tests}: exit status {process.returncode}")
        return lines, shares

    def run_tests(self, tests, kernel=None, may_skip=()):
        """Run @tests, all of which have to pass; those in @may_skip may be skipped. The lines."""
        lines = self.run(tests, kernel)
        done = [line for line in lines if line.startswith("done ")]
        if len(done) != 1 or " 0 failed" not in done[0] or done[0].startswith("done 0 "):
            raise Failure(f"{tests}: no proper end: {done}")
        for line in lines:
            if line.startswith("skip ") and line.split(":")[0].split()[1] not in may_skip:
                raise Failure(f"not expected to be skipped: {line}")
        return lines


def show(*said):
    """What the machine said, for the log."""
    for data in said:
        sys.stdout.write((data or b"").decode(errors="replace"))
    sys.stdout.flush()


def check_equal(got, wanted, what):
    """Failure with the first place where two byte strings differ."""
    if got != wanted:
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        raise Failure(f"{what}: {len(got)} bytes, wanted {len(wanted)}; they differ at byte {at}")


def blk(machine, more=""):
    """Every request type, on a writable and on a read-only disk."""
    writable = machine.add_disk("disk0", more=more)
    read_only = machine.add_disk("disk1", 4 * MIB, ",ro" + more)
    machine.parameters += ["id=disk0", f"sectors={16 * MIB // SECTOR}"]
    machine.run_tests("blk,ro", may_skip=("blk.write-cache", "blk.discard"))
    check_equal(read_only.read_bytes(), bytes(4 * MIB), "the read-only image")
    if writable.stat().st_size != 16 * MIB:
        raise Failure(f"the image is {writable.stat().st_size} bytes now")


def blk_direct(machine):
    """The same past the page cache."""
    blk(machine, ",direct=true")


def image(machine):
    """The guest writes and we read; we write and the guest reads, from a disk it may write and one it may not."""
    path = machine.add_disk("disk0")
    sectors = 4096
    machine.parameters += [f"fill={sectors}", "seed=11"]
    machine.run_tests("image.fill")
    data = path.read_bytes()
    check_equal(data[: sectors * SECTOR], pattern(0, sectors, 11), "what the guest wrote")
    check_equal(data[sectors * SECTOR :], bytes(16 * MIB - sectors * SECTOR), "what the guest did not write")
    with open(path, "r+b") as handle:
        handle.write(pattern(0, sectors, 12))
    machine.parameters += ["seed=12"]
    machine.parameters.remove("seed=11")
    machine.run_tests("image.verify")
    machine.options[-1] += ",ro"
    machine.parameters += ["ro=1"]
    machine.run_tests("image.verify")


def load(machine, more=""):
    """Full queues, four of them, on two processors."""
    machine.add_disk("disk0", more=",queues=4" + more)
    machine.run_tests("load")


def packed(machine):
    """Packed rings: every request type, full queues, resets."""
    machine.add_disk("disk0", more=",queues=4,packed=on")
    machine.add_disk("disk1", 4 * MIB, ",ro,packed")
    machine.parameters += ["packed=1", "id=disk0", f"sectors={16 * MIB // SECTOR}"]
    lines = machine.run_tests("blk,ro,load", may_skip=("blk.write-cache", "blk.discard"))
    loads = [line for line in lines if line.startswith("info load ")]
    if not loads or any(not line.startswith("info load packed ") for line in loads):
        raise Failure("the loads did not run on packed rings")


def packed_off(machine):
    """Without packed=on they are not offered."""
    machine.add_disk("disk0", more=",queues=4")
    machine.parameters += ["packed=1"]
    lines = machine.run_tests("load.four-queues")
    if not any(line.startswith("info load split ") for line in lines):
        raise Failure("packed rings without being asked for")


def load_direct(machine):
    """The same past the page cache."""
    load(machine, ",direct=true")


def transport(machine):
    """Every register of every kind of device."""
    add_one_of_each(machine)
    machine.run_tests("transport")


def pci(machine):
    """Configuration space of every kind of device."""
    add_one_of_each(machine)
    machine.run_tests("pci")


def add_one_of_each(machine):
    """Two disks and a console besides the devices that are always there."""
    machine.add_disk("disk0", more=",queues=4")
    machine.add_disk("disk1", more=",ro")
    machine.add_console(machine.folder / "console")


def irq(machine):
    """MSI-X and INTx."""
    machine.add_disk("disk0")
    machine.run_tests("msix,intx")


def queue(machine):
    """Rings of every size, notifications, interrupts."""
    machine.add_disk("disk0")
    machine.run_tests("queue")


def queue_rng(machine):
    """The same with the entropy device."""
    machine.parameters += ["dut=rng"]
    machine.run_tests("queue,msix,intx")


def rng(machine):
    """The entropy device."""
    machine.run_tests("rng")


def console(machine):
    """Port 0: output to a file, input from one."""
    output, source = machine.folder / "output", machine.folder / "input"
    source.write_bytes(b"hello-from-the-host")
    machine.add_console(output, f",input={source}")
    machine.parameters += ["input=hello-from-the-host"]
    machine.run_tests("console", may_skip=("console.size", "console.new-size"))
    wanted = b"hello from the guest\n" * 2 + (b"z" * 65535 + b"\n") * 4
    check_equal(output.read_bytes().replace(b"\r", b""), wanted, "the console's output")


def hostile(machine):
    """A driver that breaks every rule."""
    machine.add_disk("disk0")
    machine.run_tests("hostile")


def hostile_rng(machine):
    """The entropy device against wild doorbells and registers."""
    machine.parameters += ["dut=rng"]
    machine.run_tests("hostile.bad-ring-areas,hostile.wild-doorbells,hostile.register-garbage")


# What attack.c of the guest writes: sectors, and with which seed.
CHECKED_SECTOR, CHECKED_SECTORS, SCRATCH_SECTORS = 2048, 128, 8
SEED_VICTIM, SEED_BYSTANDER = 21, 22


def check_attacked(path, is_victim):
    """The image of a disk after all attacks: what nobody may write is as it was written once."""
    seed = SEED_VICTIM if is_victim else SEED_BYSTANDER
    data = path.read_bytes()
    begin = CHECKED_SECTOR * SECTOR
    if len(data) != 16 * MIB:
        raise Failure(f"{path.name} is {len(data)} bytes now")
    if not is_victim:
        check_equal(data[:begin], bytes(begin), f"{path.name}, its beginning")
    end = begin + CHECKED_SECTORS * SECTOR
    check_equal(data[begin:end], pattern(CHECKED_SECTOR, CHECKED_SECTORS, seed), f"{path.name}, what was written once")
    end += SCRATCH_SECTORS * SECTOR
    check_equal(data[end:], bytes(16 * MIB - end), f"{path.name}, what nobody wrote")


def check_attacks(lines, shares, least):
    """All attacks ended well, @least or more of them, and nothing went on spinning behind one."""
    ran = [line.split()[1] for line in lines if line.startswith("ok attack.")]
    if not any(line.startswith("done ") and " 0 failed" in line for line in lines) or len(ran) < least:
        raise Failure(f"{len(ran)} attacks ended well, {least} wanted")
    if shares:
        mean = sum(shares.values()) / len(shares)
        print(f"CPU time while the guest slept: {mean:.1%} in {len(shares)} pauses, at most {max(shares.values()):.1%}")
    spinning = [f"{name} {share:.0%}" for name, share in shares.items() if share > SPINNING]
    if spinning:
        raise Failure(f"somebody spins behind {spinning}")


def attack(machine, least=210):
    """Every attack there is, on a machine with all devices; then the images are looked at."""
    disks = [machine.add_disk("disk0", more=",queues=4,packed"), machine.add_disk("disk1")]
    machine.add_console(machine.folder / "console")
    for number in (2, 3, 4):
        machine.options += ["--serial", f"type=sink,num={number}"]
    lines, shares = machine.run_watched("attack", ATTACK_SECONDS)
    check_attacks(lines, shares, least)
    for number, path in enumerate(disks):
        check_attacked(path, number == 0)


def attack_one_cpu(machine):
    """The same on one processor: what needs two is skipped."""
    machine.set(256, 1)
    attack(machine, 190)


def reset(machine, more=""):
    """Resets at any moment, with requests in flight."""
    machine.add_disk("disk0", more=more)
    machine.run_tests("resets")


def reset_direct(machine):
    """The same past the page cache."""
    reset(machine, ",direct=true")


def platform(machine):
    """What is on the board."""
    machine.run_tests("boot,acpi,rtc,pit,apic,serial,i8042,bus,smp", may_skip=("boot.initrd",))


def one_cpu(machine):
    """One processor, little memory."""
    machine.set(64, 1)
    machine.add_disk("disk0")
    machine.run_tests("boot,acpi,apic,blk", may_skip=("boot.initrd", "blk.write-cache", "blk.discard"))


def memory_above_4g(machine):
    """RAM on both sides of the hole below 4 GiB."""
    machine.set(4096, 1)
    machine.run_tests("boot,pci", may_skip=("boot.initrd",))


def initrd(machine):
    """An initial RAM disk arrives whole, its odd size included."""
    data = os.urandom(3 * MIB + 17)
    path = machine.folder / "initrd"
    path.write_bytes(data)
    machine.options += ["--initrd", str(path)]
    machine.parameters += [f"initrd_sum={sum(data)}"]
    for kernel in (machine.guest, machine.guest64):
        machine.run_tests("boot", kernel)


def linux64(machine):
    """Without a PVH note: 64-bit entry with boot_params."""
    machine.add_disk("disk0")
    lines = machine.run_tests("boot,acpi,smp,queue.interrupts", machine.guest64, may_skip=("boot.initrd",))
    if not any(line.startswith("info boot linux64") for line in lines):
        raise Failure("not entered by the 64-bit protocol")
    lines = machine.run_tests("acpi")
    if not any(line.startswith("info boot pvh") for line in lines):
        raise Failure("the PVH note is not used")


def exit_codes(machine):
    """Each way a guest can end, and the ends we make for it."""
    for action, status in (
        ("poweroff", 0),
        ("reset", EXIT_RESET),
        ("reset-i8042", EXIT_RESET),
        ("triplefault", EXIT_CRASH),
        *[("reset-and-fault", EXIT_RESET)] * 5,
        ("no.such.test", EXIT_RESET),
    ):
        machine.run(action, expect=status, seconds=20)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        stop_by_signal(machine, number)


def stop_by_signal(machine, number):
    """A guest that hangs is ended by a signal, within seconds and without a complaint."""
    command = [machine.vmm, "run", *machine.options, "-p", "test=hang", machine.guest]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent
    ) as process:
        process.stdout.read(1)  # the guest's first instruction
        process.send_signal(number)
        try:
            out, err = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failure(f"signal {number} did not end it") from None
        show(out, err)
        if process.returncode != 0:
            raise Failure(f"signal {number}: exit status {process.returncode}")


def list_tests(machine):
    """The guest lists its tests, and CMake knows every case of this file."""
    lines = machine.run("list")
    names = [line.split()[1] for line in lines if line.startswith("test ")]
    if len(names) < 100 or len(set(names)) != len(names):
        raise Failure(f"{len(names)} tests, {len(set(names))} different names")
    actions = {line.split()[1] for line in lines if line.startswith("action ")}
    if not actions or actions & {name.split(".")[0] for name in names}:
        raise Failure(f"an action hides a group of tests, or there is none: {actions}")
    if set(machine.known) != set(CASES):
        raise Failure(f"CMakeLists.txt and this file differ: {set(machine.known) ^ set(CASES)}")


CASES = {
    "attack": attack,
    "attack-one-cpu": attack_one_cpu,
    "blk": blk,
    "blk-direct": blk_direct,
    "console": console,
    "exit-codes": exit_codes,
    "hostile": hostile,
    "hostile-rng": hostile_rng,
    "image": image,
    "initrd": initrd,
    "irq": irq,
    "linux64": linux64,
    "list": list_tests,
    "load": load,
    "load-direct": load_direct,
    "memory-above-4g": memory_above_4g,
    "one-cpu": one_cpu,
    "packed": packed,
    "packed-off": packed_off,
    "pci": pci,
    "platform": platform,
    "queue": queue,
    "queue-rng": queue_rng,
    "reset": reset,
    "reset-direct": reset_direct,
    "rng": rng,
    "transport": transport,
}


def why_not_here():
    """Why no guest can run, or None."""
    if not Path("/dev/kvm").exists():
        return "there is no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no permission to use /dev/kvm"
    return None


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--guest", required=True)
    parser.add_argument("--guest64", required=True)
    parser.add_argument("--known", default="", help="the cases CMake knows, separated by ;")
    parser.add_argument("case", choices=sorted(CASES))
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    reason = why_not_here()
    if reason:
        print(reason)
        return SKIPPED
    with scratch_folder("guest") as folder:
        machine = Machine(options, folder)
        try:
            CASES[options.case](machine)
        except Failure as failure:
            print(f"{options.case}: {failure}")
            return 1
    return 0


if __name__ == "__main__":
    run_main(main)
