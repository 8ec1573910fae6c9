#!/usr/bin/env python3
"""Our vhost-user-blk server against qemu-storage-daemon, on the same work, with the same client, in turns.

usage: vhost_compare.py [--rounds N] [--seconds S] [--json FILE] [--only TEXT] VMM CLIENT FOLDER

FOLDER is on a file system of the kind to be measured (not tmpfs). Each round runs every server on every piece of
work; medians are shown, CPU time is that of all threads of the server, kernel workers included. System calls are
counted by perf in a run of their own. The server is pinned to the second CPU, the client to the first.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

IMAGE_MIB = 512
START_SECONDS = 10
CLIENT_CPU, SERVER_CPU = 0, 1

# name, back end, options of the client
WORKS = [
    ("null, depth 42, polling", "null", ["--depth", "42"]),
    ("null, depth 1, polling", "null", ["--depth", "1"]),
    ("null, depth 42, sleeping", "null", ["--depth", "42", "--sleep"]),
    ("cached file, depth 42, polling", "file", ["--depth", "42"]),
    ("cached file, depth 42, sleeping", "file", ["--depth", "42", "--sleep"]),
    ("cached file, depth 1, polling", "file", ["--depth", "1"]),
    ("cached file, writes, depth 42, polling", "file", ["--depth", "42", "--write", "100"]),
    ("direct file, depth 1, sleeping", "direct", ["--depth", "1", "--sleep"]),
    ("direct file, depth 42, sleeping", "direct", ["--depth", "42", "--sleep"]),
]


def vmm_command(vmm, socket, backend, image, poll):
    disk = {"null": "format=null,size=4G", "file": f"path={image}", "direct": f"path={image},direct"}[backend]
    return [vmm, "device", "block", "--socket", socket, "--block", f"{disk},queues=1,poll={poll}"]


def qsd_command(socket, backend, image):
    node = {
        "null": "driver=null-co,node-name=d,size=4294967296,read-zeroes=off",
        "file": f"driver=file,node-name=d,filename={image},aio=io_uring",
        "direct": f"driver=file,node-name=d,filename={image},aio=io_uring,cache.direct=on",
    }[backend]
    return [
        "qemu-storage-daemon", "--object", "iothread,id=t", "--blockdev", node, "--export",
        f"type=vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path={socket},iothread=t,writable=on",
    ]  # fmt: skip


def servers(vmm):
    found = {
        "vmm": lambda socket, backend, image: vmm_command(vmm, socket, backend, image, "adaptive"),
        "vmm, no polling": lambda socket, backend, image: vmm_command(vmm, socket, backend, image, "off"),
    }
    if shutil.which("qemu-storage-daemon"):
        found["qsd"] = qsd_command
    return found


class Running:
    """A server on a fresh socket, pinned."""

    def __init__(self, command_of, backend, folder):
        self.socket = folder / "bench.socket"
        self.socket.unlink(missing_ok=True)
        command = command_of(str(self.socket), backend, str(folder / "bench.img"))
        self.process = subprocess.Popen(["taskset", "-c", str(SERVER_CPU), *command], stdin=subprocess.DEVNULL)
        limit = time.monotonic() + START_SECONDS
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > limit:
                sys.exit(f"{command[0]} did not start")
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run_client(client, server, options, seconds):
    command = [
        client, "--socket", str(server.socket), "--pid", str(server.process.pid), "--cpu", str(CLIENT_CPU),
        "--seconds", str(seconds), *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 4 * seconds, check=False)
    if done.returncode:
        sys.exit(f"the client failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def system_calls(client, server, options, seconds):
    """System calls of the server for each request; None where perf cannot count them."""
    if not shutil.which("perf"):
        return None
    with subprocess.Popen(
        ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", str(server.process.pid)],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    ) as perf:  # fmt: skip
        time.sleep(0.3)
        figures = run_client(client, server, options, seconds)
        perf.send_signal(signal.SIGINT)
        text = perf.communicate()[1]
    for line in text.splitlines():
        if "raw_syscalls" in line and line.split(",")[0].isdigit():
            return int(line.split(",")[0]) / (figures["requests"] * 1.1)  # the warm-up is a tenth more
    return None


def measure(arguments, works):
    found = servers(arguments.vmm)
    results = {(work[0], name): [] for work in works for name in found}
    for number in range(arguments.rounds):
        for title, backend, options in works:
            for name, command_of in found.items():
                with Running(command_of, backend, arguments.folder) as server:
                    figures = run_client(arguments.client, server, options, arguments.seconds)
                figures["load"] = os.getloadavg()[0]
                results[title, name].append(figures)
        print(f"round {number + 1} of {arguments.rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    calls = {}
    for title, backend, options in works:
        for name, command_of in found.items():
            with Running(command_of, backend, arguments.folder) as server:
                calls[title, name] = system_calls(arguments.client, server, options, arguments.seconds)
    return results, calls


def summary(rounds, calls):
    """Medians, and the smallest CPU time, which other programs cannot make better than it is."""
    keys = ("iops", "server_cpu_ns", "kicks", "interrupts", "p50_us", "p99_us", "p999_us")
    line = {key: statistics.median(figures[key] for figures in rounds) for key in keys}
    line["server_cpu_ns_min"] = min(figures["server_cpu_ns"] for figures in rounds)
    line["server_cpu_ns_max"] = max(figures["server_cpu_ns"] for figures in rounds)
    line["system_calls"] = calls
    return line


def show(lines):
    print(f"{'work':42} {'server':16} {'CPU ns/req':>10} {'min':>7} {'kIOPS':>7} {'kicks':>7} {'irqs':>7} "
          f"{'calls':>7} {'p50 us':>8} {'p99 us':>9}")  # fmt: skip
    for (title, name), v in lines.items():
        calls = "-" if v["system_calls"] is None else f"{v['system_calls']:.3f}"
        print(f"{title:42} {name:16} {v['server_cpu_ns']:10.0f} {v['server_cpu_ns_min']:7.0f} {v['iops'] / 1e3:7.1f} "
              f"{v['kicks']:7.3f} {v['interrupts']:7.3f} {calls:>7} {v['p50_us']:8.2f} {v['p99_us']:9.1f}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default="", help="work whose name has this text in it")
    parser.add_argument("vmm")
    parser.add_argument("client")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    image = arguments.folder / "bench.img"
    with open(image, "wb") as out:
        for _ in range(IMAGE_MIB):
            out.write(os.urandom(1 << 20))
    try:
        works = [work for work in WORKS if arguments.only in work[0]]
        results, calls = measure(arguments, works)
        lines = {key: summary(rounds, calls[key]) for key, rounds in results.items()}
        show(lines)
        if arguments.json:
            everything = [{"work": t, "server": n, "summary": lines[t, n], "rounds": results[t, n]} for t, n in results]
            arguments.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    finally:
        image.unlink()


if __name__ == "__main__":
    main()
