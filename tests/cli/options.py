"""Options do what they say: seen from outside on a running machine, with the built-in guest in it.

usage: python3 -m cli.options VMM GUEST
"""
import contextlib
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path

from boot.checks import Report
from support.machine import Machine
from support.needs import SKIPPED, has_kvm
from support.scratch import run_main, scratch_folder, write_all

MIB = 1 << 20
RR_PRIORITY = 6
EXIT_RESET = 32
HUGEPAGES = Path("/sys/kernel/mm/hugepages")


class Skip(Exception):
    """A case that cannot run here; the text says why."""


class Bench:
    """Where a case runs: the programs and a folder of its own."""

    def __init__(self, vmm, guest, work):
        self.vmm, self.guest, self.work = vmm, guest, work

    def file(self, name, size):
        """A new file of @size bytes."""
        with open(self.work / name, "wb") as out:
            out.truncate(size)
        return self.work / name

    def start(self, *options, test="hang", **more):
        """A machine whose guest does @test."""
        return Machine(self.vmm, [*options, "-p", f"test={test}", self.guest], self.work, **more)

    def running(self, *options):
        """A machine whose guest runs and does nothing."""
        machine = self.start(*options)
        if not machine.wait_for(b"\n"):
            status, errors = machine.wait(1), machine.errors()
            machine.__exit__()
            raise AssertionError(f"no guest runs: status {status}: {errors}")
        machine.wait_for_vcpus()
        return machine

    def ends(self, *options, test="list", expect=0, **more):
        """Run to the end; what the guest printed."""
        with self.start(*options, test=test, **more) as machine:
            status = machine.wait()
            equal(status, expect, f"exit status; {machine.errors()}")
            return machine.seen.decode(errors="replace").replace("\r", "")


def equal(got, wanted, what):
    """AssertionError unless the two are equal."""
    if got != wanted:
        raise AssertionError(f"{what}: {got!r}, not {wanted!r}")


def within(part, whole, what):
    """AssertionError unless @part is in @whole."""
    if part not in whole:
        raise AssertionError(f"{what}: no {part!r} in {whole!r}")


# --- CPUs


def two_cpus():
    """Two host CPUs that we may use."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise Skip("one host CPU only")
    return cpus[:2]


def affinity_of_each(bench):
    a, b = two_cpus()
    with bench.running("-c", 3, "--cpu-affinity", f"0={b}:1={a}") as machine:
        threads = machine.threads()
        equal(os.sched_getaffinity(threads["vcpu0"]), {b}, "vCPU 0")
        equal(os.sched_getaffinity(threads["vcpu1"]), {a}, "vCPU 1")
        equal(os.sched_getaffinity(threads["vcpu2"]), os.sched_getaffinity(0), "vCPU 2, not named")


def affinity_of_all(bench):
    a, b = two_cpus()
    for options in (("-c", "2", "--cpu-affinity", b), ("-c", f"2,affinity=[{b}]")):
        with bench.running(*options) as machine:
            threads = machine.threads()
            equal([os.sched_getaffinity(threads[f"vcpu{i}"]) for i in (0, 1)], [{b}, {b}], str(options))
            equal(os.sched_getaffinity(machine.process.pid), os.sched_getaffinity(0), "the control thread")
    with bench.running("-c", "1", "--cpu-affinity", f"{a},{b}") as machine:
        equal(os.sched_getaffinity(machine.threads()["vcpu0"]), {a, b}, "a set of two")


def real_time(bench):
    if os.geteuid():
        raise Skip("real-time priority needs root")
    with bench.running("-c", "2", "--rt-cpus", "1") as machine:
        threads = machine.threads()
        policy = os.sched_getscheduler(threads["vcpu1"]) & ~os.SCHED_RESET_ON_FORK
        equal((policy, os.sched_getparam(threads["vcpu1"]).sched_priority), (os.SCHED_RR, RR_PRIORITY), "vCPU 1")
        equal(os.sched_getscheduler(threads["vcpu0"]), os.SCHED_OTHER, "vCPU 0")
        equal(os.sched_getscheduler(machine.process.pid), os.SCHED_OTHER, "the control thread")


# --- memory


def ram_of(machine, size):
    """Its mapping of guest RAM, which has @size bytes."""
    mappings = machine.ram_mappings()
    equal(sum(int(m["Size"][0]) for m in mappings), size >> 10, "KiB of guest RAM")
    return mappings[0]


@contextlib.contextmanager
def reserved(kib, count):
    """@count free huge pages of @kib KiB; Skip where the host has none to give."""
    folder = HUGEPAGES / f"hugepages-{kib}kB"
    if not folder.is_dir():
        raise Skip(f"no huge pages of {kib} KiB on this host")
    before = int((folder / "nr_hugepages").read_text())
    try:
        if int((folder / "free_hugepages").read_text()) < count:
            if os.geteuid():
                raise Skip("reserving huge pages needs root")
            (folder / "nr_hugepages").write_text(str(before + count))
        if int((folder / "free_hugepages").read_text()) < count:
            raise Skip(f"the host gives no {count} huge pages of {kib} KiB")
        yield folder
    finally:
        if os.access(folder / "nr_hugepages", os.W_OK):
            (folder / "nr_hugepages").write_text(str(before))


def huge_pages(bench, kib, name, size):
    count = size // (kib << 10)
    with reserved(kib, count) as folder:
        free = int((folder / "free_hugepages").read_text())
        with bench.running("-m", f"{size >> 20},hugepages={name},prefault") as machine:
            ram = ram_of(machine, size)
            equal(ram["KernelPageSize"], [str(kib), "kB"], "page size")
            equal(int(ram["Shared_Hugetlb"][0]) + int(ram["Private_Hugetlb"][0]), size >> 10, "KiB in huge pages")
            equal(int((folder / "free_hugepages").read_text()), free - count, "free huge pages meanwhile")
            equal(machine.stop(signal.SIGTERM), 0, "exit status")
        equal(int((folder / "free_hugepages").read_text()), free, "free huge pages afterwards")


def huge_pages_2m(bench):
    huge_pages(bench, 2048, "2M", 64 * MIB)


def huge_pages_1g(bench):
    huge_pages(bench, 1 << 20, "1G", 1024 * MIB)


def transparent_huge_pages(bench):
    with bench.running("-m", "64,hugepages=thp") as machine:
        within("hg", ram_of(machine, 64 * MIB)["VmFlags"], "advice for huge pages")


def prefault(bench):
    with bench.running("-m", "64,prefault") as machine:
        equal(ram_of(machine, 64 * MIB)["Rss"], ["65536", "kB"], "resident")
    with bench.running("-m", "64") as machine:
        rss = int(ram_of(machine, 64 * MIB)["Rss"][0])
        if rss > 16384:
            raise AssertionError(f"without prefault {rss} KiB are resident")


def numa_node(bench):
    if not Path("/sys/devices/system/node/node0").exists():
        raise Skip("no NUMA in this host's kernel")
    with bench.running("-m", "64,numa=0") as machine:
        address = ram_of(machine, 64 * MIB)["address"]
        maps = (machine.proc / "numa_maps").read_text().splitlines()
        policy = [line.split()[1] for line in maps if line.split()[0].zfill(16) == address.zfill(16)]
        equal(policy, ["bind:0"], "policy")


# --- disks


def disk_threads(bench):
    host = sorted(os.sched_getaffinity(0))[-1]
    disk = bench.file("a.img", MIB)
    options = ["--block", f"path={disk},queues=3,workers=3,cpus={host}", "--block", "format=null,size=1M,queues=1"]
    with bench.running("-c", "2", *options) as machine:
        threads = machine.threads()
        workers = sorted(name for name in threads if name.startswith("block") and "-q" in name)
        equal(workers, ["block0-q0", "block0-q1", "block0-q2", "block1-q0"], "workers")
        for name in workers[:3]:
            equal(os.sched_getaffinity(threads[name]), {host}, name)
        equal(os.sched_getaffinity(threads["block1-q0"]), os.sched_getaffinity(0), "the other disk's")


def disk_files(bench):
    """How each spelling opens its image."""
    rows = (
        (lambda p: ["-d", p], os.O_RDONLY, 0),
        (lambda p: ["--rwdisk", p], os.O_RDWR, 0),
        (lambda p: ["-r", p], os.O_RDONLY, 0),
        (lambda p: ["--rwroot", p], os.O_RDWR, 0),
        (lambda p: ["--block", f"path={p}"], os.O_RDWR, 0),
        (lambda p: ["--block", f"path={p},ro"], os.O_RDONLY, 0),
        (lambda p: ["--block", f"path={p},direct,block-size=4096"], os.O_RDWR, os.O_DIRECT),
        (lambda p: ["--block", f"path={p},ro,direct"], os.O_RDONLY, os.O_DIRECT),
    )
    for number, (options, access, direct) in enumerate(rows):
        disk = bench.file(f"{number}.img", MIB)
        with bench.running(*options(disk)) as machine:
            flags = machine.open_file(disk)
            what = str(options(disk))
            equal((flags & os.O_ACCMODE, flags & os.O_DIRECT, flags & os.O_CLOEXEC),
                  (access, direct, os.O_CLOEXEC), what)


def disk_is_locked(bench):
    """Two VMs never write to one image; it is free again after the first, even when that was killed."""
    disk = bench.file("a.img", MIB)
    for number, expect in ((signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)):
        with bench.running("--rwdisk", disk) as machine:
            for option in ("--rwdisk", "--disk"):
                bench.ends(option, disk, expect=2)
            equal(machine.stop(number), expect, "the first VM's status")
        bench.ends("--rwdisk", disk)


# --- what boots

def parameters(bench):
    """Every -p arrives, in order."""
    said = bench.ends("-p", "ram_mib=256 cpus=1", "-p", "strict=1", test="boot.memory-map")
    within("done 1 passed 0 failed", said, "the guest's last line")
    bench.ends("-p", "ram_mib=17", test="boot.memory-map", expect=EXIT_RESET)


def configuration(bench):
    """All in a file; what the command line says again counts, what repeats is added."""
    disk = bench.file("a.img", MIB)
    log = bench.work / "log"
    (bench.work / "vm.json").write_text(json.dumps({
        "kernel": str(bench.guest), "cpus": 2, "mem": "64M", "params": ["test=boot.memory-map", "ram_mib=128"],
        "block": [{"path": str(disk), "ro": True}],
        "serial": [{"type": "file", "path": str(log)}, {"type": "stdout", "num": 2}],
    }))  # fmt: skip
    with Machine(bench.vmm, ["--config", bench.work / "vm.json", "-m", "128"], bench.work) as machine:
        equal(machine.wait(), 0, f"exit status; {machine.errors()}")
    within("done 1 passed 0 failed", log.read_text(), "the serial port's file")
    within("2 cpus", log.read_text(), "the serial port's file")


def firmware(bench):
    """An image of 64 KiB: it starts at its reset vector, says so on COM1 and powers off."""
    said = b"from the reset vector\n"
    code = bytearray()
    for byte in said:
        code += b"\xba\xf8\x03\xb0" + bytes([byte]) + b"\xee"  # mov dx, 0x3f8; mov al, byte; out dx, al
    code += b"\xba\x04\x06\xb8\x00\x34\xef\xf4\xeb\xfd"  # mov dx, 0x604; mov ax, 0x3400; out dx, ax; hlt; jmp
    image = bytearray(65536)
    image[0 : len(code)] = code
    image[0xFFF0:0xFFF3] = b"\xe9" + struct.pack("<H", 0x10000 - 0xFFF3)  # jmp to the start of the segment
    path = bench.work / "bios.bin"
    path.write_bytes(image)
    with Machine(bench.vmm, ["--bios", path], bench.work) as machine:
        equal(machine.wait(), 0, f"exit status; {machine.errors()}")
        equal(machine.seen, said, "what the firmware said")


def kvm_device(bench):
    link = bench.work / "kvm"
    link.symlink_to("/dev/kvm")
    bench.ends("--kvm-device", link)


def sandbox_switch(bench):
    """Every device in this process, or each in one of its own."""
    if b"__tsan_init" in Path(bench.vmm).read_bytes():
        raise Skip("ThreadSanitizer does not survive the clone() of a device")
    for options, count in ((["--disable-sandbox"], 1), (["--sandbox=off"], 1), ([], 4), (["--sandbox=auto"], 4)):
        with bench.running(*options, "--block", "format=null,size=1M") as machine:
            equal(len(machine.processes()), count, f"processes with {options}")


# --- serial ports

LINE = "test boot.memory-map"


def serial_file(bench):
    """A file is appended to."""
    path = bench.work / "log"
    path.write_text("before\n")
    equal(bench.ends("--serial", f"type=file,path={path}"), "", "standard output")
    text = path.read_text()
    equal(text.startswith("before\n"), True, "the text before is kept")
    within(LINE, text, "the file")


def serial_sink(bench):
    equal(bench.ends("--serial", "type=sink"), "", "standard output")


def receive_all(connection):
    """All that comes until the far side closes."""
    parts = iter(lambda: connection.recv(65536), b"")
    return b"".join(parts).decode()


def serial_unix_stream(bench):
    path = bench.work / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with bench.start("--serial", f"type=unix,path={path}", test="list") as machine:
            listener.settimeout(30)
            server = listener.accept()[0]
            server.settimeout(30)
            with server:
                within(LINE, receive_all(server), "through the socket")
            equal(machine.wait(), 0, "exit status")


def datagrams_until_end(server, machine):
    """What @server, which has a time-out, gets while @machine runs; a few datagrams fit into its queue, so read on."""
    data = b""
    while machine.process.poll() is None:
        with contextlib.suppress(TimeoutError):
            data += server.recv(65536) + b"\n"
    equal(machine.wait(), 0, "exit status")
    server.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            data += server.recv(65536) + b"\n"
    return data.decode()


def serial_unix_datagrams(bench):
    path = bench.work / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(0.2)
        with bench.start("--serial", f"type=unix,path={path}", test="list") as machine:
            within(LINE, datagrams_until_end(server, machine).replace("\n", ""), "through the socket")


def serial_pty(bench):
    with bench.start("--serial", "type=pty", test="hang") as machine:
        for _ in range(600):
            if "is /dev/pts/" in machine.errors():
                break
            signal.sigtimedwait([], 0.05)
        name = machine.errors().split("is ")[1].split()[0]
        terminal = os.open(name, os.O_RDWR | os.O_NOCTTY)
        os.close(terminal)
        equal(machine.stop(signal.SIGTERM), 0, "exit status")


@contextlib.contextmanager
def system_log():
    """The socket that syslog(3) writes to."""
    if os.path.lexists("/dev/log") or not os.access("/dev", os.W_OK):
        raise Skip("cannot stand in for this host's system log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind("/dev/log")
        try:
            yield server
        finally:
            os.unlink("/dev/log")


def serial_syslog(bench):
    with system_log() as server:
        server.settimeout(0.2)
        with bench.start("--serial", "type=syslog", "--syslog-tag", "guest7", test="list") as machine:
            text = datagrams_until_end(server, machine)
    within("guest7[", text, "the tag")
    within(LINE, text, "the messages")


def stuck_syslog(bench):
    """A system log that takes nothing does not keep the machine from ending."""
    with system_log() as server, bench.start("--serial", "type=syslog", test="list") as machine:
        server.settimeout(30)
        server.recv(65536)
        equal(machine.wait(20), 0, "exit status")


def console_output_and_input(bench):
    """A virtio console's ports: a file each way."""
    out, source = bench.work / "out", bench.work / "in"
    source.write_bytes(b"typed-by-the-host")
    options = ["--serial", "type=stdout", "--console", f"type=file,path={out},input={source}"]
    said = bench.ends(*options, "-p", "input=typed-by-the-host", test="console.output,console.input")
    within("done 2 passed 0 failed", said, "the guest's last line")
    equal(out.stat().st_size > 0, True, "the console's file has something")


def broken_outputs(bench):
    """A reader that leaves and a full device harm nobody."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with open("/dev/full", "wb") as full:
            for number, target in enumerate((writer, full.fileno())):
                with bench.start(test="list", prepare=lambda t=target: os.dup2(t, 1)) as machine:
                    equal(machine.wait(), 0, f"exit status {number}; {machine.errors()}")
    finally:
        os.close(writer)


def closed_descriptors(bench):
    """Without standard input, output or error nothing of ours takes their place."""
    for closed in ((0,), (1,), (2,), (0, 1), (0, 1, 2)):
        disk = bench.file("a.img", MIB)
        with open(disk, "r+b") as out:
            write_all(out.fileno(), b"\x5a" * MIB)

        def close_some(which=closed):
            for descriptor in which:
                os.close(descriptor)

        with bench.start("--rwdisk", disk, test="list", prepare=close_some) as machine:
            equal(machine.wait(), 0, f"exit status without {closed}; {machine.errors()}")
        equal(disk.read_bytes() == b"\x5a" * MIB, True, f"the disk is as before, without {closed}")
        with bench.start("--rwdisk", disk, "--serial", "type=unix,path=/none", prepare=close_some) as machine:
            equal(machine.wait(), 2, f"exit status of a mistake without {closed}")
        equal(disk.read_bytes() == b"\x5a" * MIB, True, f"the disk is as before, without {closed}")


CASES = (
    affinity_of_each, affinity_of_all, real_time, huge_pages_2m, huge_pages_1g, transparent_huge_pages, prefault,
    numa_node, disk_threads, disk_files, disk_is_locked, parameters, configuration, firmware, kvm_device,
    sandbox_switch, serial_file, serial_sink, serial_unix_stream, serial_unix_datagrams, serial_pty, serial_syslog,
    stuck_syslog, console_output_and_input, broken_outputs, closed_descriptors,
)  # fmt: skip


def run_case(case, vmm, guest, report):
    """One case in a folder of its own."""
    with scratch_folder("options") as work:
        problems = []
        try:
            case(Bench(vmm, guest, work))
        except Skip as reason:
            print(f"skipped {case.__name__}: {reason}")
            return
        except (AssertionError, OSError, LookupError) as error:
            problems = [f"{type(error).__name__}: {error}"]
        report.case(case.__name__, problems)


def main(arguments):
    vmm, guest, *wanted = arguments
    if not has_kvm():
        return SKIPPED
    report = Report()
    for case in CASES:
        if not wanted or case.__name__ in wanted:
            run_case(case, vmm, guest, report)
    sys.stdout.flush()
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
