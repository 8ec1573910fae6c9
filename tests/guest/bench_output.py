#!/usr/bin/env python3
"""`vmm bench` runs to its end and what it prints makes sense.

usage: bench_output.py VMM

No figure is judged, only that each is there and possible. Exit status 0, 1, or 77: cannot run here.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time


def bench(vmm, folder, *options):
    """The output of one quick run."""
    done = subprocess.run(
        [vmm, "bench", "--quick", "--dir", folder, *options], capture_output=True, timeout=200, check=False
    )
    if done.returncode:
        sys.exit(f"exit status {done.returncode}: {done.stderr.decode()}")
    if os.listdir(folder):
        sys.exit(f"left behind: {os.listdir(folder)}")
    return done.stdout.decode()


def check(cond, what):
    """Exit with @what unless @cond."""
    if not cond:
        sys.exit(what)


def check_disk(cell):
    """One cell of the disk table."""
    name = f"{cell['disk']} {cell['operation']} {cell['bytes']} {cell['queues']} {cell['depth']}"
    check(cell["per_second"]["median"] > 0, f"{name}: nothing done")
    check(0 < cell["cpu_ns"]["median"], f"{name}: no CPU time")
    check(cell["cpu_outside_vcpus_ns"]["median"] < cell["cpu_ns"]["median"], f"{name}: vCPUs took no time")
    for what in ("kicks", "interrupts"):
        check(cell[what]["median"] <= 1.5, f"{name}: {cell[what]} {what} a request")
    order = [cell[f"latency_{p}_ns"]["median"] for p in ("p50", "p99", "p999")]
    check(order == sorted(order) and order[0] > 0, f"{name}: latencies {order}")


def interrupted(vmm, folder):
    """A signal ends it at once, and nothing stays."""
    with subprocess.Popen([vmm, "bench", "--dir", folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as proc:
        time.sleep(3)
        proc.send_signal(signal.SIGTERM)
        _, err = proc.communicate(timeout=60)
    check(proc.returncode != 0, "interrupted, and yet all is well")
    check(b"AddressSanitizer" not in err, err.decode())
    check(not os.listdir(folder), f"left behind: {os.listdir(folder)}")


def main():
    vmm = sys.argv[1]
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("no /dev/kvm here, or no right to it")
        return 77
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        result = json.loads(bench(vmm, folder, "--json", "--poll", "off"))
        check(len(result["latencies"]) == 8, "latencies")
        queues = max(cell["queues"] for cell in result["disks"])
        check(len(result["disks"]) == 24 * queues, f"{len(result['disks'])} cells for {queues} queues")
        for cell in result["disks"]:
            check_disk(cell)
        text = bench(vmm, folder)
        check(max(map(len, text.splitlines())) <= 100, "wider than 100 columns")
        interrupted(vmm, folder)
    return 0


sys.exit(main())
