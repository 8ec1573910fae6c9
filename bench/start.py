#!/usr/bin/env python3
"""From exec to the first guest instruction, and what the VMM itself takes of memory.

usage: start.py VMM KERNEL [--rounds N] [--json]

KERNEL is the built-in guest: told `test=first`, its first instructions write a byte to the serial
port, so what is measured here is a little more than the time to the first instruction.
"""
import argparse
import json
import os
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vmm")
    parser.add_argument("kernel")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.NamedTemporaryFile() as disk:
        os.truncate(disk.name, 64 << 20)
        runs = [until_first_byte(args.vmm, args.kernel, disk.name) for _ in range(args.rounds)]
    times = sorted(t for t, _ in runs)
    pss = sorted(m for _, m in runs)
    result = {
        "rounds": args.rounds,
        "first_instruction_ms": {"min": times[0] * 1e3, "median": statistics.median(times) * 1e3,
                                 "max": times[-1] * 1e3},
        "own_memory_kib": {"median": statistics.median(pss) // 1024, "max": pss[-1] // 1024},
    }
    if args.json:
        print(json.dumps(result, indent=2))
        return
    ms = result["first_instruction_ms"]
    print(f"exec to first guest byte, 256 MiB, one disk, {args.rounds} rounds: "
          f"median {ms['median']:.2f} ms, min {ms['min']:.2f}, max {ms['max']:.2f}")
    print(f"memory beyond guest RAM: median {result['own_memory_kib']['median']:.0f} KiB PSS")


if __name__ == "__main__":
    main()
