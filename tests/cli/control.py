"""The control socket of a running machine: what operators ask for, and clients that mean ill.

usage: python3 -m cli.control VMM GUEST
"""
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

from boot.checks import Report
from cli.options import Bench, Skip, equal, within
from support.control import Client
from support.needs import SKIPPED, has_kvm
from support.scratch import die_with_parent, run_main, scratch_folder

MIB = 1 << 20


def command(bench, *words, expect=0):
    """Run one of our own commands; what it printed, both streams."""
    done = subprocess.run([bench.vmm, *map(str, words)], capture_output=True, timeout=120, check=False)
    equal(done.returncode, expect, f"{words}: {done.stderr!r}")
    if expect and done.stderr.count(b"\n") != 1:
        raise AssertionError(f"{words}: not one line: {done.stderr!r}")
    return done.stdout.decode() + done.stderr.decode()


def machine(bench, *options):
    """A running machine with a socket and a disk of 16 MiB."""
    image = bench.file("disk", 16 * MIB)
    return bench.running("-s", str(bench.work / "s"), "--block", f"path={image},queues=2", "-c", "2", *options)


# --- what operators ask for


def status(bench):
    path = bench.work / "s"
    with machine(bench, "-m", "300", "--block", "format=null,size=1G,packed,wce=off,iops=100:7,poll=off") as vm:
        equal(stat.S_IMODE(path.stat().st_mode), 0o600, "mode")
        with Client(path) as client:
            got = client.result("status")
        equal((got["state"], got["vcpus"], got["memory_bytes"]), ("running", 2, 300 * MIB), "status")
        equal(got["process"], vm.process.pid, "process")
        equal([d["name"] for d in got["devices"]], ["block0", "block1", "rng"], "devices")
        equal([q["requests"] for q in got["devices"][0]["queues"]], [0, 0], "what block0 has done")
        first, second = (d["disk"] for d in got["devices"][:2])
        equal((first["bytes"], first["queues"], first["file"]), (16 * MIB, 2, "file"), "block0")
        equal((first["rings"], first["write_cache"], first["limits"]["iops"]), ("split", True, None), "block0")
        equal((second["file"], second["rings"], second["poll"]), ("null", "split or packed", "off"), "block1")
        equal((second["write_cache"], second["limits"]["iops"], second["limits"]["iops_burst"]), (False, 100, 7), "")
        within("block1", command(bench, "status", path), "vmm status")
        equal(json.loads(command(bench, "status", path, "--json"))["vcpus"], 2, "vmm status --json")
        equal(len(json.loads(command(bench, "device", "list", path, "--json"))), 3, "vmm device list --json")


def choices(bench):
    image = bench.file("disk", 16 * MIB)
    options = ("--block", f"path={image},direct,queues=3,workers=2,packed,bps=1M", "-s", bench.work / "s", bench.guest)
    text = command(bench, "run", "--dry-run=text", *options)
    within("3 queues of 256, split or packed, 2 workers", text, "text")
    within("direct", text, "text")
    within("bps 1048576", text, "text")
    (disk, _) = json.loads(command(bench, "run", "--dry-run", "json", *options))
    equal((disk["disk"]["workers"], disk["disk"]["limits"]["bps"]), (2, MIB), "json")
    equal((bench.work / "s").exists(), False, "a socket of a machine that never ran")


def stop(bench):
    path = bench.work / "s"
    with machine(bench) as vm:
        command(bench, "stop", path)
        equal(path.exists(), False, "the socket after vmm stop")
        equal(vm.wait(), 0, "status")
    within("no VM listens there", command(bench, "stop", path, expect=1), "nobody there")


def stop_by_hand(bench):
    """Who hangs up at once is heard all the same, and the others are hung up on."""
    path = bench.work / "s"
    with machine(bench) as vm, Client(path) as other:
        with Client(path) as client:
            client.say(b'{"do":"stop"}\n')
        equal(vm.wait(), 0, "status")
        equal(other.lines.readline(), b"", "the other client")


def power_button(bench):
    with machine(bench) as vm:
        command(bench, "powerbtn", bench.work / "s")  # this guest does not care
        equal(vm.process.poll(), None, "status")
    (bench.work / "s").unlink()
    with bench.start("-s", str(bench.work / "s"), test="power-button") as vm:
        equal(vm.wait_for(b"waiting for the power button"), True, "the guest runs")
        command(bench, "powerbtn", bench.work / "s")
        equal(vm.wait(), 0, "status of a guest that powers off when it is pressed")


def suspend(bench):
    path = bench.work / "s"
    with machine(bench) as vm, Client(path) as client, Client(path) as other:
        command(bench, "resume", path)  # it runs
        for _ in range(20):
            command(bench, "suspend", path)
            equal(client.result("status")["state"], "suspended", "state")
            within("suspended, up", command(bench, "status", path), "vmm status")
            cpus = vcpu_clocks(vm)
            command(bench, "suspend", path)  # it stands
            command(bench, "powerbtn", path)
            command(bench, "disk", "resize", 0, "20M", path)
            equal(vcpu_clocks(vm), cpus, "CPU time of suspended vCPUs")
            command(bench, "resume", path)
            equal(client.result("status")["state"], "running", "state")
        for one in (client, other):
            one.say(b'{"do":"suspend"}\n')  # both hear of the same end
        equal((client.hear()["ok"], other.hear()["ok"]), (True, True), "two that suspend")
        client.refused("bad-request", "suspend", device="block0")
        command(bench, "stop", path)
        equal(vm.wait(), 0, "status of a machine that was stopped while it stood still")
    with machine(bench) as vm:
        command(bench, "suspend", path)
        equal(vm.stop(signal.SIGTERM), 0, "status after SIGTERM")
    with bench.start("-s", str(path), test="power-button") as vm:
        equal(vm.wait_for(b"waiting for the power button"), True, "the guest runs")
        command(bench, "suspend", path)
        command(bench, "powerbtn", path)  # it hears of it later
        command(bench, "resume", path)
        equal(vm.wait(), 0, "status of a guest whose button was pressed while it was suspended")


def watching(bench):
    path = bench.work / "s"
    with machine(bench, "--block", "format=null,size=1G") as vm:
        text = command(bench, "metrics", path)
        samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        label = f'vm="{path}"'
        equal(samples[f'vmm_state{{{label},state="running"}}'], "1", "state")
        equal(samples[f'vmm_queue_requests_total{{{label},device="block0",queue="1"}}'], "0", "requests")
        equal(samples[f'vmm_disk_bytes{{{label},device="block1"}}'], str(1 << 30), "bytes")
        for name in ('vmm_vcpu_cpu_seconds_total{%s,vcpu="1"}', 'vmm_device_cpu_seconds_total{%s,device="block0"}'):
            if vm.processes()[1:] and float(samples[name % label]) <= 0:
                raise AssertionError(f"{name}: {samples[name % label]}")
        exits = sum(int(value) for name, value in samples.items() if name.startswith("vmm_vcpu_exits_total"))
        if not exits:
            raise AssertionError("no exits")
        equal(len(json.loads(command(bench, "metrics", "--json", path))), len(samples), "samples as JSON")
        table = command(bench, "top", "--interval", "0.2", "--count", "2", path)
        equal(table.count("\n  block0 "), 2, "tables")
        within(f"{path}: running, up ", table, "head")
        within("2 vCPUs ", table, "head")


def vcpu_clocks(vm):
    tasks = [vm.proc / "task" / str(number) for name, number in vm.threads().items() if name.startswith("vcpu")]
    return [(task / "schedstat").read_text().split()[0] for task in tasks]


def resize(bench):
    path, image = bench.work / "s", bench.work / "disk"
    with machine(bench, "--block", "format=null,size=1G", "--block", f"path={bench.file('ro', MIB)},ro"):
        process = named(path)["block0"]["process"]
        command(bench, "disk", "resize", 0, "20M", path)
        equal(image.stat().st_size, 20 * MIB, "the image")
        within("shrink", command(bench, "disk", "resize", 0, "8M", path, expect=1), "smaller")
        equal(image.stat().st_size, 20 * MIB, "the image")
        command(bench, "disk", "resize", 0, "8M", "--shrink", path)
        equal(image.stat().st_size, 8 * MIB, "the image")
        within("no device", command(bench, "disk", "resize", 7, "8M", path, expect=1), "disk 7")
        within("nor a size", command(bench, "disk", "resize", 0, "much", path, expect=2), "no size")
        with Client(path) as client:
            equal(client.result("devices")[0]["disk"]["bytes"], 8 * MIB, "told")
            equal(client.result("devices")[0]["process"], process, "who serves it")
            client.refused("failed", "resize", device="block0", bytes=8 * MIB + 1)
            client.refused("failed", "resize", device="block1", bytes=2 << 30)
            client.refused("failed", "resize", device="block2", bytes=2 * MIB)
            client.refused("not-supported", "resize", device="rng", bytes=MIB)
            for odd in (0, -1, 1.5, True, None, "8X", "", [], 1 << 62):
                client.refused("failed" if odd == 1 << 62 else "bad-request", "resize", device="block0", bytes=odd)
        equal(image.stat().st_size, 8 * MIB, "the image")


def limits(bench):
    path = bench.work / "s"
    with machine(bench):
        process = named(path)["block0"]["process"]
        command(bench, "disk", "limit", 0, "bps=10M:1G,iops=5", path)
        with Client(path) as client:
            got = client.result("devices")[0]["disk"]["limits"]
            equal(got, {"bps": 10 * MIB, "bps_burst": 1 << 30, "iops": 5, "iops_burst": None}, "limits")
            client.result("limit", device="block0", bps="off")
            got = client.result("devices")[0]["disk"]["limits"]
            equal(got, {"bps": None, "bps_burst": None, "iops": 5, "iops_burst": None}, "limits")
            client.refused("bad-request", "limit", device="block0")
            client.refused("bad-request", "limit", device="block0", iops=5)
            client.refused("bad-request", "limit", device="block0", speed="1")
            client.refused("bad-request", "limit", device="block0", bps="10M", iops="many")
            client.refused("not-supported", "limit", device="rng", iops="5")
            client.refused("no-such-device", "limit", device="block1", iops="5")
            equal(client.result("devices")[0]["disk"]["limits"]["bps"], None, "a refused request changes nothing")
            equal(client.result("devices")[0]["process"], process, "who serves it")
        within("give bps=", command(bench, "disk", "limit", 0, "speed=1", path, expect=2), "unknown limit")


def restart(bench):
    with machine(bench, "--disable-sandbox"), Client(bench.work / "s") as client:
        client.refused("not-supported", "restart", device="block0")
        client.refused("not-supported", "restart", device="block0", binary="/bin/true")
        client.refused("no-such-device", "restart", device="floppy")
        client.refused("bad-request", "restart")
        client.refused("bad-request", "restart", device=7)


def program(bench, name, content=None, mode=0o755):
    """A file that may be executed: a copy of vmm unless @content says what."""
    path = bench.work / name
    path.write_bytes(Path(bench.vmm).read_bytes() if content is None else content)
    path.chmod(mode)
    return path


def needs_processes(bench):
    if b"__tsan_init" in Path(bench.vmm).read_bytes():
        raise Skip("ThreadSanitizer does not survive the clone() of a device")


def trial(bench):
    """A program that does nothing is tried for ten seconds: others are served meanwhile, and a stop ends it."""
    needs_processes(bench)
    path = bench.work / "s"
    with machine(bench) as vm, Client(path) as first, open("/usr/bin/yes", "rb") as yes:
        request = {"do": "restart", "device": "block0", "binary": "yes"}
        socket.send_fds(first.socket, [json.dumps(request).encode() + b"\n"], [yes.fileno()])
        with Client(path) as other:
            reply = other.ask_with(yes.fileno(), **request)
            within("has to wait", reply["error"]["text"], "another program for the device")
            other.result("limit", device="block0", iops="100")
            equal(other.result("status")["state"], "running", "state")
        command(bench, "stop", path)
        equal(vm.wait(), 0, "status")
        equal(first.lines.readline(), b"", "what was said of the program")


def upgrade(bench):
    """Every device goes on with another program; what is none is refused, and changes nothing."""
    needs_processes(bench)
    path, copy = bench.work / "s", program(bench, "vmm-copy")
    consoles = ("--serial", "type=stdout,num=1,console", "--console", f"type=file,path={bench.work}/console,name=log")
    with machine(bench, *consoles, "--block", "format=null,size=1G,queues=3") as vm:
        devices = named(path)
        equal({d["binary"] for d in devices.values()}, {None}, "programs of a new machine")
        version = devices["rng"]["version"]
        for name in ("block0", "block1", "rng", "console"):
            command(bench, "device", "restart", name, "--binary", copy, path)
            device = named(path)[name]
            equal((device["binary"], device["version"], device["restarts"]), (str(copy), version, 1), name)
            equal(Path(f"/proc/{device['process']}/exe").resolve(), copy, f"what runs for {name}")
            within(f"vmm {version} ({copy})", command(bench, "device", "list", path), "vmm device list")
        before = named(path)
        refused(bench, path)
        after = named(path)
        for name in before:
            equal(after[name]["process"], before[name]["process"], f"the process of {name}")
        killed_goes_on(path, copy)
        command(bench, "disk", "resize", 0, "20M", path)
        command(bench, "device", "restart", "block0", path)
        await_restarts(path, "block0", 3)
        equal(named(path)["block0"]["binary"], str(copy), "after a resize and a restart")
        equal(named(path)["block0"]["disk"]["bytes"], 20 * MIB, "size")
        equal(vm.process.poll(), None, "the machine")
        command(bench, "stop", path)
        equal(vm.wait(), 0, "status")


def named(path):
    with Client(path) as client:
        return {device["name"]: device for device in client.result("devices")}


def await_restarts(path, name, count):
    for _ in range(6000):
        device = named(path)[name]
        if device["restarts"] >= count and device["process"]:
            return device
        time.sleep(0.01)
    raise AssertionError(f"{name}: {device}")


def killed_goes_on(path, copy):
    """A process that dies is followed by one of the same program."""
    os.kill(named(path)["block0"]["process"], signal.SIGKILL)
    device = await_restarts(path, "block0", 2)
    equal(Path(f"/proc/{device['process']}/exe").resolve(), copy, "what runs after a death")


def refused(bench, path):
    """What is no program for a device, from the command line and by hand."""
    vmm = Path(bench.vmm).read_bytes()
    for binary, why in (
        ("/bin/true", "ended with status 0"),
        ("/bin/false", "ended with status 1"),
        (bench.work, "is a directory"),
        (program(bench, "part", vmm[: 64 << 10]), "part"),
        (program(bench, "head", vmm[:4096]), "head"),
        (program(bench, "noise", os.urandom(4096)), "is no program"),
        (program(bench, "script", b"#!/bin/sh\nexit 0\n"), "is a script"),
        (program(bench, "plain", mode=0o644), "is no file that may be executed"),
        ("/dev/null", "is no file that may be executed"),
        (program(bench, "disk", bytes(16 * MIB)), "or an image of this VM"),
        ("/usr/bin/yes", "not ready in time"),
    ):
        within(why, command(bench, "device", "restart", "block0", "--binary", binary, path, expect=1), str(binary))
    command(bench, "device", "restart", "block0", "--binary", bench.work / "nothing", path, expect=2)
    within("no device", command(bench, "device", "restart", "floppy", "--binary", "/bin/true", path, expect=1), "")
    with Client(path) as client:
        client.refused("bad-request", "restart", device="block0", binary="/bin/true")  # without a descriptor
        client.refused("bad-request", "restart", device="block0", binary=7)
        memory = os.memfd_create("vmm")
        os.write(memory, vmm)
        reply = client.ask_with(memory, "restart", device="block0", binary="memory")
        within("is no file that may be executed", reply["error"]["text"], "a file that has no name")
        os.close(memory)


def restart_of_a_server(bench):
    """A device that another process serves: its frontend leaves the server, and comes back."""
    disk, path = bench.work / "blk", bench.work / "s"
    serve = [bench.vmm, "device", "block", "--socket", str(disk), "--block", "format=null,size=1G"]
    with subprocess.Popen(serve, preexec_fn=die_with_parent) as server:
        try:
            for _ in range(3000):
                if disk.exists():
                    break
                time.sleep(0.01)
            with bench.running("-s", str(path), "--vhost-user-blk", str(disk)) as vm:
                command(bench, "device", "restart", "vhost0", path)
                with Client(path) as client:
                    client.refused("not-supported", "restart", device="vhost0", binary="/bin/true")
                    client.refused("not-supported", "resize", device="vhost0", bytes=MIB)
                    client.refused("not-supported", "limit", device="vhost0", iops="5")
                    for _ in range(3000):
                        (device,) = (d for d in client.result("devices") if d["name"] == "vhost0")
                        if device["restarts"] == 1:
                            break
                        time.sleep(0.01)
                equal((device["name"], device["restarts"]), ("vhost0", 1), "after the restart")
                equal(vm.process.poll(), None, "the machine")
        finally:
            server.kill()


def command_lines(bench):
    for words in (("stop",), ("status",), ("status", "a", "b"), ("status", "--shrink", "a"), ("powerbtn",),
                  ("suspend",), ("resume", "--json", "s"), ("metrics",), ("top",), ("top", "--count", "0", "s"),
                  ("disk",), ("disk", "shrink", "0"), ("disk", "resize"), ("disk", "resize", "x", "1G", "s"),
                  ("disk", "resize", "0", "1G"), ("disk", "limit", "0"), ("device", "list"),
                  ("device", "restart", "block0"), ("device", "restart", "a", "b", "c"), ("stop", "--now", "s"),
                  ("device", "restart", "block0", "s", "--binary")):  # fmt: skip
        command(bench, *words, expect=2)
    within("no VM listens", command(bench, "status", bench.work / "nothing", expect=1), "no socket")
    within("too long", command(bench, "status", "a" * 200, expect=1).lower(), "long path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(bench.work / "datagrams"))
        within("no VM listens", command(bench, "status", bench.work / "datagrams", expect=1), "another kind of socket")


def full_output(bench):
    for words in (("help",), ("help", "run"), ("run", "--help"), ("version",)):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([bench.vmm, *words], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
        equal((done.returncode, done.stderr), (1, b"vmm: standard output: No space left on device\n"), words)


def path_in_use(bench):
    path = bench.work / "s"
    with machine(bench):
        within("in use", command(bench, "run", "-s", path, bench.guest, expect=2), "a second VM")
        within("running", command(bench, "status", path), "the first")
    path.unlink()  # of the machine that was killed
    path.write_text("precious")
    within("no socket", command(bench, "run", "-s", path, bench.guest, expect=2), "a file")
    equal(path.read_text(), "precious", "the file")
    path.unlink()
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    with machine(bench):
        within("running", command(bench, "status", path), "in place of a dead one")


# --- clients that mean ill


def hostile(bench):
    path = bench.work / "s"
    with machine(bench) as vm:
        half = Client(path)
        half.say(b'{"do":"st')
        for data in (b"\0" * 5000, b"a" * MIB, b"\xff\n" * 5000, os.urandom(100000), b"[" * 60000 + b"\n",
                     b'{"do":"status"}\n' * 5000, b"\n" * 60000):  # fmt: skip
            with Client(path) as client:
                with contextlib.suppress(OSError):  # hung up on, or not taken: both are right
                    client.socket.settimeout(0.2)
                    client.say(data)  # and read nothing
        crowd = [Client(path) for _ in range(100)]
        for client in crowd[::2]:
            with contextlib.suppress(OSError):  # most have made place for others
                client.say(b'{"do":"status"}\n{"do":')
        with Client(path) as client:
            equal(client.result("status")["state"], "running", "amid the crowd")
        for client in crowd:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.socket.close()
        half.socket.close()
        descriptors = len(list(Path(f"/proc/{vm.process.pid}/fd").iterdir()))
        with Client(path) as client:
            for _ in range(200):
                client.ask("status")
            now = len(list(Path(f"/proc/{vm.process.pid}/fd").iterdir()))
        if now > descriptors + 1:
            raise AssertionError(f"{descriptors} descriptors, then {now}")
        vm.process.send_signal(signal.SIGTERM)
        equal(vm.wait(), 0, "status")
        equal(path.exists(), False, "the socket afterwards")


def spammed(bench):
    """A client that never stops asking does not keep the machine from ending."""
    path = bench.work / "s"
    with machine(bench) as vm:
        greedy = Client(path, seconds=1)
        greedy.socket.setblocking(False)
        for _ in range(2000):
            try:
                greedy.socket.send(b'{"do":"status"}\n' * 200)
            except BlockingIOError:
                break
        command(bench, "stop", path)
        equal(vm.wait(), 0, "status")
        greedy.socket.close()


CASES = (status, choices, stop, stop_by_hand, power_button, suspend, watching, resize, limits, restart, trial, upgrade,
         restart_of_a_server, command_lines, full_output, path_in_use,
         hostile, spammed)  # fmt: skip


def main(arguments):
    vmm, guest, *names = arguments
    if not has_kvm():
        return SKIPPED
    report = Report()
    for case in CASES:
        if names and case.__name__ not in names:
            continue
        with scratch_folder("control") as work:
            problems = []
            try:
                case(Bench(vmm, guest, work))
            except Skip as skip:
                print(f"skip {case.__name__}: {skip}")
                continue
            except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as problem:
                problems = [f"{type(problem).__name__}: {problem}"]
            report.case(case.__name__, problems)
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
