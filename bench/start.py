#!/usr/bin/env python3
"""From exec to the first guest instruction, what the VMM takes of memory, and what each device adds to both.

usage: start.py VMM KERNEL [--rounds N] [--json] [--linux VMLINUX]

KERNEL is the built-in guest: told `test=first`, its first instructions write a byte to the serial
port, so what is measured here is a little more than the time to the first instruction. Then it powers off: CPU time
is user and system time of all processes, from exec to the end of the last of them.

What a device costs is the difference between machines with 1 and with 9 disks, whose runs take turns; once with each
device in a process of its own, once with all in the main process.

With --linux also from exec to the first line of a Linux's init; VMLINUX has everything built in, and this host's KVM
can run it.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time

MORE_DISKS = 8  # beyond the first
PATIENCE_S = 20
KINDS = (("zygote", "vmm-zygote"), ("disk", r"block\d+"), ("entropy", "rng"), ("console", "console"), ("main", ".*"))


def command(vmm, kernel, disks, test, options=()):
    """A machine with @disks whose guest does @test."""
    attach = [word for disk in disks for word in ("--rwdisk", disk)]
    return [vmm, "run", "-m", "256M", *options, *attach, "-p", f"test={test}", kernel]


def start(arguments):
    """The machine, and the seconds from just before the fork to the first byte of its guest."""
    begin = time.perf_counter()
    proc = subprocess.Popen(  # pylint: disable=consider-using-with
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    select.select([proc.stdout], [], [], PATIENCE_S)
    took = time.perf_counter() - begin
    if not os.read(proc.stdout.fileno(), 1):
        proc.kill()
        sys.exit(f"start: the guest wrote nothing: {proc.communicate()[1].decode()}")
    return proc, took


def until_first_byte(arguments):
    """Seconds to the first byte of the guest, and CPU seconds of the whole life of all processes."""
    proc, took = start(arguments)
    err = proc.stderr.read()
    # of the processes below it too: each waits for its own
    _, status, usage = os.wait4(proc.pid, 0)
    proc.returncode = os.waitstatus_to_exitcode(status)
    proc.stdout.close()
    proc.stderr.close()
    if proc.returncode:
        sys.exit(f"start: exit status {proc.returncode}: {err.decode()}")
    return took, usage.ru_utime + usage.ru_stime


def process_tree(pid):
    """@pid and all processes below it."""
    found = [pid]
    for parent in found:  # grows while it is walked
        for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
                found += map(int, (task / "children").read_text().split())
    return found


def kind_of(pid, main_pid):
    """What kind of process it is: of KINDS."""
    name = "main" if pid == main_pid else pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    return next(kind for kind, pattern in KINDS if re.fullmatch(pattern, name))


def own_memory(pid):
    """PSS in KiB of a process but for guest memory."""
    total = 0
    is_guest = False
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as smaps:
        for line in smaps:
            if "-" in line.split(" ", 1)[0]:
                is_guest = "memfd:guest-ram" in line
            elif line.startswith("Pss:") and not is_guest:
                total += int(line.split()[1])
    return total


def memory(arguments):
    """KiB by kind of process, as (how many, their sum), of a machine whose guest does nothing."""
    proc, _ = start(arguments)
    kinds = {}
    try:
        for pid in process_tree(proc.pid):
            kind = kind_of(pid, proc.pid)
            count, kib = kinds.get(kind, (0, 0))
            kinds[kind] = (count + 1, kib + own_memory(pid))
    except PermissionError as err:
        sys.exit(f"start: {err}; devices show their memory to root only")
    finally:
        proc.send_signal(signal.SIGTERM)
        proc.communicate(timeout=PATIENCE_S)
    return kinds


def until_init(vmm, linux, rounds):
    """Seconds from exec to the first line of init for each boot of @linux, which then powers off."""
    from boot.native import NativeGuest, boot_once_timed, init_command  # only here: it needs busybox and a cache

    times = []
    with tempfile.TemporaryDirectory() as work, open(os.devnull, "wb") as errors:
        init = init_command(NativeGuest(vmm, linux, pathlib.Path(work)))
        for number in range(rounds):
            reached, status = boot_once_timed(init, errors)
            if reached is None or status != 0:
                sys.exit(f"start: boot {number} of {linux}: init after {reached} s, exit status {status}")
            times.append(reached)
    return times


def spread(times):
    """A list of seconds as milliseconds: smallest, median, largest."""
    return {"min": min(times) * 1e3, "median": statistics.median(times) * 1e3, "max": max(times) * 1e3}


class Settings:
    """Machines with one and with many disks, jailed and not: their runs take turns."""

    MACHINES = (("jailed", 1), ("jailed", 1 + MORE_DISKS), ("unjailed", 1), ("unjailed", 1 + MORE_DISKS))

    def __init__(self, vmm, kernel, folder):
        self.vmm, self.kernel = vmm, kernel
        self.disks = [f"{folder}/disk{number}" for number in range(1 + MORE_DISKS)]
        for disk in self.disks:
            with open(disk, "wb") as out:
                out.truncate(64 << 20)

    def command(self, machine, test):
        """The command for one of MACHINES."""
        jailed, count = machine
        return command(self.vmm, self.kernel, self.disks[:count], test, () if jailed == "jailed" else ("--sandbox=off",))

    def rounds(self, count, measure, test):
        """What @measure says of each machine, @count times."""
        found = {machine: [] for machine in self.MACHINES}
        for number in range(count):
            first = number % len(self.MACHINES)
            for machine in (*self.MACHINES[first:], *self.MACHINES[:first]):
                found[machine].append(measure(self.command(machine, test)))
        return found


def cost_of_time(runs, jailed):
    """Milliseconds that each further disk adds, from the medians: to the first byte, and of CPU time."""

    def added(column):
        few, many = (statistics.median(run[column] for run in runs[jailed, count]) for count in (1, 1 + MORE_DISKS))
        return (many - few) * 1e3 / MORE_DISKS

    return {"wall_ms": added(0), "cpu_ms": added(1)}


def median_memory(rounds):
    """KiB by kind, medians of the rounds: how many processes, all of them together."""
    kinds = [kind for kind, _ in KINDS if kind in rounds[0]]
    return {
        kind: {"processes": rounds[0][kind][0], "kib": statistics.median(one[kind][1] for one in rounds)} for kind in kinds
    }


def cost_of_memory(few, many):
    """KiB that each further disk adds: in all processes, and its own."""

    def total(kinds):
        return sum(kind["kib"] for kind in kinds.values())

    own = many["disk"]["kib"] / many["disk"]["processes"] if "disk" in many else 0
    return {"kib": (total(many) - total(few)) / MORE_DISKS, "own_process_kib": own}


def measure_all(args, folder):
    """The figures as a dict, ready for JSON."""
    settings = Settings(args.vmm, args.kernel, folder)
    runs = settings.rounds(args.rounds, until_first_byte, "first")
    pss = {machine: median_memory(found) for machine, found in settings.rounds(min(args.rounds, 5), memory, "hang").items()}
    result = {
        "rounds": args.rounds,
        "first_instruction_ms": spread([took for took, _ in runs["jailed", 1]]),
        "first_instruction_unjailed_ms": spread([took for took, _ in runs["unjailed", 1]]),
        "cpu_ms": spread([cpu for _, cpu in runs["jailed", 1]]),
        "own_memory_kib": {"all": sum(kind["kib"] for kind in pss["jailed", 1].values()), "kinds": pss["jailed", 1]},
        "own_memory_unjailed_kib": pss["unjailed", 1]["main"]["kib"],
        "further_disk": {},
    }
    for jailed in ("jailed", "unjailed"):
        cost = cost_of_time(runs, jailed) | cost_of_memory(pss[jailed, 1], pss[jailed, 1 + MORE_DISKS])
        result["further_disk"][jailed] = cost
    return result


def print_spread(what, ms):
    """One line."""
    print(f"{what}: median {ms['median']:.2f} ms, min {ms['min']:.2f}, max {ms['max']:.2f}")


def print_all(result):
    """The figures for people."""
    rounds = result["rounds"]
    print_spread(f"exec to first guest byte, 256 MiB, one disk, {rounds} rounds", result["first_instruction_ms"])
    print_spread("the same with --sandbox=off", result["first_instruction_unjailed_ms"])
    print_spread("CPU time of all processes, exec to end", result["cpu_ms"])
    own = result["own_memory_kib"]
    print(f"memory beyond guest RAM: {own['all']:.0f} KiB PSS; with --sandbox=off {result['own_memory_unjailed_kib']:.0f}")
    for kind, found in own["kinds"].items():
        print(f"  {kind:8} {found['processes']} process{'es' if found['processes'] > 1 else '':2} {found['kib']:6.0f} KiB PSS")
    for jailed, words in (("jailed", "in a process of its own"), ("unjailed", "with --sandbox=off")):
        cost = result["further_disk"][jailed]
        own_process = f", {cost['own_process_kib']:.0f} of them its process's" if cost["own_process_kib"] else ""
        print(
            f"each further disk {words}: {cost['wall_ms']:.2f} ms to the first byte, {cost['cpu_ms']:.2f} ms of CPU time, "
            f"{cost['kib']:.0f} KiB PSS{own_process}"
        )


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vmm")
    parser.add_argument("kernel")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--linux", metavar="VMLINUX")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds: at least 1")
    with tempfile.TemporaryDirectory() as folder:
        result = measure_all(args, folder)
    if args.linux:
        result["linux_init_ms"] = spread(until_init(args.vmm, args.linux, args.rounds))
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print_all(result)
    if args.linux:
        print_spread(f"exec to init of {os.path.basename(args.linux)}, 256 MiB, {args.rounds} rounds", result["linux_init_ms"])


if __name__ == "__main__":
    main()
