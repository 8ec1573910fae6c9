#!/usr/bin/env python3
"""From exec to the first guest instruction, and what the VMM itself takes of memory.

usage: start.py VMM KERNEL [--rounds N] [--json] [--linux VMLINUX]

KERNEL is the built-in guest: told `test=first`, its first instructions write a byte to the serial
port, so what is measured here is a little more than the time to the first instruction.

With --linux also from exec to the first line of a Linux's init; VMLINUX has everything built in, and this host's KVM
can run it.
"""
import argparse
import json
import os
import pathlib
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time


def until_first_byte(vmm, kernel, disk):
    """Seconds from just before the fork to the first byte of the guest, and the memory then."""
    start = time.perf_counter()
    proc = subprocess.Popen([vmm, "run", "-m", "256M", "--rwdisk", disk, "-p", "test=first", kernel],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    select.select([proc.stdout], [], [], 20)
    took = time.perf_counter() - start
    first = os.read(proc.stdout.fileno(), 1)
    pss = own_memory(proc.pid)
    proc.send_signal(signal.SIGTERM)
    err = proc.communicate(timeout=20)[1]
    if not first:
        sys.exit(f"start: the guest wrote nothing: {err.decode()}")
    return took, pss


def own_memory(pid):
    """PSS in bytes of everything but guest memory."""
    total = 0
    is_guest = False
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as smaps:
        for line in smaps:
            if "-" in line.split(" ", 1)[0]:
                is_guest = "memfd:guest-ram" in line
            elif line.startswith("Pss:") and not is_guest:
                total += int(line.split()[1]) * 1024
    return total


def until_init(vmm, linux, rounds):
    """Seconds from exec to the first line of init for each boot of @linux, which then powers off."""
    from boot.native import NativeGuest, boot_once_timed, init_command  # only here: it needs busybox and a cache

    times = []
    with tempfile.TemporaryDirectory() as work, open(os.devnull, "wb") as errors:
        command = init_command(NativeGuest(vmm, linux, pathlib.Path(work)))
        for number in range(rounds):
            reached, status = boot_once_timed(command, errors)
            if reached is None or status != 0:
                sys.exit(f"start: boot {number} of {linux}: init after {reached} s, exit status {status}")
            times.append(reached)
    return times


def spread(times):
    """A list of seconds as milliseconds: smallest, median, largest."""
    return {"min": min(times) * 1e3, "median": statistics.median(times) * 1e3, "max": max(times) * 1e3}


def print_spread(what, ms):
    print(f"{what}: median {ms['median']:.2f} ms, min {ms['min']:.2f}, max {ms['max']:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vmm")
    parser.add_argument("kernel")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--linux", metavar="VMLINUX")
    args = parser.parse_args()
    with tempfile.NamedTemporaryFile() as disk:
        os.truncate(disk.name, 64 << 20)
        runs = [until_first_byte(args.vmm, args.kernel, disk.name) for _ in range(args.rounds)]
    pss = sorted(m for _, m in runs)
    result = {
        "rounds": args.rounds,
        "first_instruction_ms": spread([t for t, _ in runs]),
        "own_memory_kib": {"median": statistics.median(pss) // 1024, "max": pss[-1] // 1024},
    }
    if args.linux:
        result["linux_init_ms"] = spread(until_init(args.vmm, args.linux, args.rounds))
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print_spread(f"exec to first guest byte, 256 MiB, one disk, {args.rounds} rounds", result["first_instruction_ms"])
    print(f"memory beyond guest RAM: median {result['own_memory_kib']['median']:.0f} KiB PSS")
    if args.linux:
        print_spread(f"exec to init of {os.path.basename(args.linux)}, 256 MiB, {args.rounds} rounds", result["linux_init_ms"])


if __name__ == "__main__":
    main()
