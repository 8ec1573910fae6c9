#!/usr/bin/env python3
"""Every bad input gets one line that names the option and the remedy, and leaves nothing behind.

usage: bad_inputs.py VMM KERNEL [SANITIZER]

KERNEL: any good kernel, such as the built-in guest. With a SANITIZER the row that limits the address
space is left out: the sanitizers reserve terabytes of it.
"""
import os
import pathlib
import pty
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import termios

USAGE = 2
HOST = 1


def elf(segments, machine=62, elf_class=2, phoff=64, phnum=None, entry=0x100000, tail=b""):
    """A little ELF file; segments are (offset, paddr, filesz, memsz)."""
    count = len(segments) if phnum is None else phnum
    ident = b"\x7fELF" + bytes([elf_class, 1, 1, 0]) + bytes(8)
    head = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, entry, phoff, 0, 0, 64, 56, count, 0, 0, 0)
    table = b"".join(struct.pack("<IIQQQQQQ", 1, 5, off, 0, paddr, filesz, memsz, 4096)
                     for off, paddr, filesz, memsz in segments)
    return head + table + tail


def bzimage(setup_sects=4, magic=b"HdrS", version=0x20f, size=64 * 1024):
    """The setup header of a bzImage and no more."""
    image = bytearray(size)
    image[0x1f1] = setup_sects
    image[0x1fe:0x200] = b"\x55\xaa"
    image[0x202:0x206] = magic
    struct.pack_into("<H", image, 0x206, version)
    return bytes(image)


class Place:
    """A directory of inputs, good and bad, made afresh for each row."""

    def __init__(self, root, kernel):
        self.root = pathlib.Path(root)
        self.kernel = kernel

    def file(self, name, data=b"", size=None, mode=0o644):
        path = self.root / name
        path.write_bytes(data)
        if size is not None:
            os.truncate(path, size)
        path.chmod(mode)
        return str(path)

    def directory(self, name):
        (self.root / name).mkdir()
        return str(self.root / name)

    def fifo(self, name):
        os.mkfifo(self.root / name)
        return str(self.root / name)

    def socket(self, name):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(self.root / name))
        sock.close()
        return str(self.root / name)

    def kernel_copy(self, cut=None):
        data = pathlib.Path(self.kernel).read_bytes()
        return self.file("kernel.cut", data[:cut])


def limit(which, value):
    """A row's limit of the process."""
    return lambda: resource.setrlimit(which, (value, value))


def become_nobody():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def page(data):
    return data + bytes(8192)


# name, status, words of the line, arguments as a function of the place[, preparation of the process]
ROWS = [
    ("nothing at all", USAGE, ["kernel"], lambda p: []),
    ("kernel missing", USAGE, ["kernel", "No such file"], lambda p: [f"{p.root}/none"]),
    ("kernel is a directory", USAGE, ["kernel", "directory"], lambda p: [p.directory("k")]),
    ("kernel is a FIFO", USAGE, ["kernel"], lambda p: [p.fifo("k")]),
    ("kernel is a socket", USAGE, ["kernel"], lambda p: [p.socket("k")]),
    ("kernel empty", USAGE, ["kernel", "empty"], lambda p: [p.file("k")]),
    ("kernel of wrong magic", USAGE, ["kernel"], lambda p: [p.file("k", b"#!/bin/sh\n" * 999)]),
    ("kernel cut in its header", USAGE, ["kernel"], lambda p: [p.kernel_copy(40)]),
    ("kernel cut in its segments", USAGE, ["kernel"], lambda p: [p.kernel_copy(4500)]),
    ("kernel of 32 bits", USAGE, ["kernel"], lambda p: [p.file("k", page(elf([], elf_class=1)))]),
    ("kernel of another machine", USAGE, ["kernel"], lambda p: [p.file("k", page(elf([(4096, 1 << 20, 16, 16)], machine=183)))]),
    ("kernel without segments", USAGE, ["kernel"], lambda p: [p.file("k", page(elf([])))]),
    ("kernel segments overlap", USAGE, ["kernel"], lambda p: [p.file("k", page(elf([(4096, 1 << 20, 4096, 4096), (4096, (1 << 20) + 4095, 4096, 4096)])))]),
    ("kernel segment outside the file", USAGE, ["kernel"], lambda p: [p.file("k", page(elf([(4096, 1 << 20, 1 << 20, 1 << 20)])))]),
    ("kernel segment larger in the file", USAGE, ["kernel"], lambda p: [p.file("k", page(elf([(4096, 1 << 20, 32, 16)])))]),
    ("kernel segment wraps", USAGE, ["kernel"], lambda p: [p.file("k", page(elf([(4096, (1 << 64) - 4096, 16, 8192)])))]),
    ("kernel segment over the tables", USAGE, ["kernel"], lambda p: [p.file("k", page(elf([(4096, 0x7000, 16, 16)])))]),
    ("kernel above RAM", USAGE, ["kernel"], lambda p: ["-m", "64", p.file("k", page(elf([(4096, 1 << 30, 16, 16)], entry=1 << 30)))]),
    ("kernel header table outside", USAGE, ["kernel"], lambda p: [p.file("k", page(elf([], phoff=1 << 40, phnum=3)))]),
    ("bzImage too old", USAGE, ["kernel"], lambda p: [p.file("k", bzimage(version=0x200))]),
    ("bzImage cut", USAGE, ["kernel"], lambda p: [p.file("k", bzimage(setup_sects=200))]),
    ("initrd missing", USAGE, ["--initrd", "No such file"], lambda p: ["-i", f"{p.root}/none", p.kernel]),
    ("initrd empty", USAGE, ["--initrd", "empty"], lambda p: ["-i", p.file("i"), p.kernel]),
    ("initrd a directory", USAGE, ["--initrd"], lambda p: ["-i", p.directory("i"), p.kernel]),
    ("initrd too large", USAGE, ["initrd"], lambda p: ["-m", "64", "-i", p.file("i", size=1 << 30), p.kernel]),
    ("two kernels", USAGE, ["kernel"], lambda p: [p.kernel, p.kernel]),
    ("arguments too long", USAGE, ["--params"], lambda p: ["-p", "x" * 70000, p.kernel]),
    ("disk missing", USAGE, ["--rwdisk", "No such file"], lambda p: ["--rwdisk", f"{p.root}/none", p.kernel]),
    ("disk empty", USAGE, ["--disk", "empty", "truncate"], lambda p: ["-d", p.file("d"), p.kernel]),
    ("disk of odd size", USAGE, ["--disk", "512", "truncate"], lambda p: ["-d", p.file("d", size=1000), p.kernel]),
    ("disk a directory", USAGE, ["--disk"], lambda p: ["-d", p.directory("d"), p.kernel]),
    ("disk a FIFO", USAGE, ["--disk"], lambda p: ["-d", p.fifo("d"), p.kernel]),
    ("disk a character device", USAGE, ["--disk"], lambda p: ["-d", "/dev/zero", p.kernel]),
    ("disk a qcow2 image", USAGE, ["--disk", "qcow2"], lambda p: ["-d", p.file("d", b"QFI\xfb", size=65536), p.kernel]),
    ("read-only file opened for writing", USAGE, ["--rwdisk", "ro"], lambda p: ["--rwdisk", p.file("d", size=65536, mode=0o444), p.kernel], become_nobody),
    ("disk not readable", USAGE, ["--disk", "permission"], lambda p: ["-d", p.file("d", size=65536, mode=0), p.kernel], become_nobody),
    ("one image twice", USAGE, ["--rwdisk", "in use", "given twice"], lambda p: ["--rwdisk", p.file("d", size=65536), "--rwdisk", f"{p.root}/d", p.kernel]),
    ("two roots", USAGE, ["root"], lambda p: ["-r", p.file("d", size=65536), "--rwroot", p.file("e", size=65536), p.kernel]),
    ("direct on a file system without it", USAGE, ["--block", "no direct I/O", "leave out 'direct'"], lambda p: ["--block", "path=/proc/version,ro,direct", p.kernel]),
    ("memory zero", USAGE, ["--mem", "1M"], lambda p: ["-m", "0", p.kernel]),
    ("memory in no number", USAGE, ["--mem", "512M"], lambda p: ["-m", "1e9G", p.kernel]),
    ("memory beyond the host", USAGE, ["--mem", "less"], lambda p: ["-m", "512T", p.kernel]),
    ("memory beyond this host's RAM", USAGE, ["--mem", "less"], lambda p: ["-m", "3T", p.kernel]),
    ("huge pages not reserved", HOST, ["--mem", "huge"], lambda p: ["-m", "512G,hugepages=1G", p.kernel]),
    ("no such node", USAGE, ["--mem", "node"], lambda p: ["-m", "64,numa=77", p.kernel]),
    ("no vCPU", USAGE, ["--cpus", "1"], lambda p: ["-c", "0", p.kernel]),
    ("too many vCPUs", USAGE, ["--cpus"], lambda p: ["-c", "100000", p.kernel]),
    ("pinned to no CPU of ours", USAGE, ["--cpu-affinity"], lambda p: ["--cpu-affinity", "1000", p.kernel]),
    ("pinned to some CPUs that are not there", USAGE, ["--cpu-affinity", "lscpu"], lambda p: ["--cpu-affinity", f"{min(os.sched_getaffinity(0))},1000", p.kernel]),
    ("topology of another number", USAGE, ["--cpus", "product"], lambda p: ["-c", "4,topology=2:4:1:1", p.kernel]),
    ("topology of three numbers", USAGE, ["--cpus", "threads:cores:dies:packages"], lambda p: ["-c", "4,topology=2:2:1", p.kernel]),
    ("topology with gaps beyond KVM's IDs", USAGE, ["--cpus", "powers of two"], lambda p: ["-c", "225,topology=1:9:1:25", p.kernel]),
    ("topology against --no-smt", USAGE, ["--no-smt", "threads"], lambda p: ["-c", "4,topology=2:2:1:1", "--no-smt", p.kernel]),
    ("more possible vCPUs", USAGE, ["--cpus", "not supported"], lambda p: ["-c", "2,max=4", p.kernel]),
    ("fewer possible vCPUs", USAGE, ["--cpus", "less"], lambda p: ["-c", "4,max=2", p.kernel]),
    ("memory of one's own", USAGE, ["--mem", "not supported"], lambda p: ["-m", "64,shared=off", p.kernel]),
    ("memory to be added", USAGE, ["--mem", "not supported"], lambda p: ["-m", "64,hotplug=64M", p.kernel]),
    ("key of a disk twice", USAGE, ["--block", "'queues'", "twice"], lambda p: ["--block", f"path={p.file('d', size=65536)},queues=1,queues=2", p.kernel]),
    ("block of no size", USAGE, ["--block", "block-size=513", "4096"], lambda p: ["--block", f"path={p.file('d', size=65536)},block-size=513", p.kernel]),
    ("jail required and switched off", USAGE, ["--disable-sandbox", "--sandbox"], lambda p: ["--sandbox=require", "--disable-sandbox", p.kernel]),
    ("limit of nothing", USAGE, ["--block", "bps", "off"], lambda p: ["--block", f"path={p.file('d', size=65536)},bps=0", p.kernel]),
    ("limit with two bursts", USAGE, ["--block", "iops", "off"], lambda p: ["--block", f"path={p.file('d', size=65536)},iops=1:2:3", p.kernel]),
    ("cache of a third kind", USAGE, ["--block", "wce", "on or off"], lambda p: ["--block", f"path={p.file('d', size=65536)},wce=writeback", p.kernel]),
    ("rings of a third kind", USAGE, ["--block", "packed", "on or off"], lambda p: ["--block", f"path={p.file('d', size=65536)},packed=split", p.kernel]),
    ("discard where nothing may be written", USAGE, ["--block", "discard", "read-only"], lambda p: ["--block", f"path={p.file('d', size=65536)},ro,discard=on", p.kernel]),
    ("control socket nowhere", USAGE, ["--socket", "No such file"], lambda p: ["-s", f"{p.root}/none/s", p.kernel]),
    ("control socket over a file", USAGE, ["--socket", "no socket"], lambda p: ["-s", p.file("s", b"precious"), p.kernel]),
    ("control socket of a long name", USAGE, ["--socket", "107"], lambda p: ["-s", f"{p.root}/{'s' * 120}", p.kernel]),
    ("choices in no known form", USAGE, ["--dry-run", "json"], lambda p: ["--dry-run", "xml", p.kernel]),
    ("unknown option", USAGE, ["--colour", "--help"], lambda p: ["--colour", p.kernel]),
    ("unknown letter", USAGE, ["-Q", "--help"], lambda p: ["-Q", p.kernel]),
    ("value missing", USAGE, ["--mem", "value"], lambda p: [p.kernel, "--mem"]),
    ("option doubled", USAGE, ["--mem", "twice"], lambda p: ["-m", "64", "--mem", "128", p.kernel]),
    ("option not built yet", USAGE, ["--gpu", "not supported"], lambda p: ["--gpu", p.kernel]),
    ("network card of our own", USAGE, ["--net", "not supported", "--vhost-user-net"], lambda p: ["--net", "tap", p.kernel]),
    ("shared folder of our own", USAGE, ["--shared-dir", "not supported", "--vhost-user-fs"], lambda p: ["--shared-dir", "/:tag", p.kernel]),
    ("serial into a directory", USAGE, ["--serial"], lambda p: ["--serial", f"type=file,path={p.directory('s')}", p.kernel]),
    ("serial to a socket nobody serves", USAGE, ["--serial"], lambda p: ["--serial", f"type=unix,path={p.socket('s')}", p.kernel]),
    ("serial into a FIFO nobody reads", USAGE, ["--serial"], lambda p: ["--serial", f"type=file,path={p.fifo('s')}", p.kernel]),
    ("serial twice", USAGE, ["--serial", "num=1"], lambda p: ["--serial", "type=sink", "--serial", "type=sink", p.kernel]),
    ("second serial port fails, file of the first goes", USAGE, ["--serial"], lambda p: ["--serial", f"type=file,path={p.root}/new.log", "--serial", f"num=2,type=unix,path={p.root}/none", p.kernel]),
    ("no /dev/kvm", HOST, ["none", "kvm"], lambda p: ["--kvm-device", f"{p.root}/none", p.kernel]),
    ("not a KVM device", USAGE, ["--kvm-device"], lambda p: ["--kvm-device", "/dev/null", p.kernel]),
    ("no right to /dev/kvm", HOST, ["group kvm"], lambda p: ["--kvm-device", p.file("kvm", mode=0), p.kernel], become_nobody),
    ("table that is none", USAGE, ["table"], lambda p: ["--acpi-table", p.file("t", b"short"), p.kernel]),
    ("firmware of odd size", USAGE, ["bios"], lambda p: ["--bios", p.file("bios.bin", b"x" * 1000)]),
    ("firmware and kernel", USAGE, ["--bios"], lambda p: ["--bios", p.file("b", size=65536), p.kernel]),
    ("configuration missing", USAGE, ["--config"], lambda p: ["--config", f"{p.root}/none"]),
    ("configuration broken", USAGE, ["--config", "c.json:1"], lambda p: ["--config", p.file("c.json", b"{")]),
    ("configuration empty", USAGE, ["--config", "empty"], lambda p: ["--config", p.file("c.json")]),
    ("configuration larger than any", USAGE, ["--config", "1 MiB"], lambda p: ["--config", p.file("c.json", b"{", size=1 << 30)]),
    ("configuration with an unknown option", USAGE, ["vmm: --config: unknown option 'colour'"], lambda p: ["--config", p.file("c.json", b'{"mem": 64, "colour": 1}')]),
    ("configuration a FIFO", USAGE, ["--config"], lambda p: ["--config", p.fifo("c")]),
    ("no descriptors", HOST, ["ulimit -n"], lambda p: ["-d", p.file("d", size=65536), p.kernel], limit(resource.RLIMIT_NOFILE, 8)),
    ("no address space", HOST, ["--mem", "less memory"], lambda p: ["-m", "2G", p.kernel], limit(resource.RLIMIT_AS, 1 << 30)),
    ("descriptor that is no number", USAGE, ["--fd", "number"], None),
    ("socket without a name", USAGE, ["--socket", "value"], None),
    ("program that is not there", USAGE, ["--binary", "none", "check the path"], None),
    ("picture into no folder", USAGE, ["--plot", "none/a.svg", "folder"], None),
    ("command unknown", USAGE, ["unknown command"], None),
    ("command not built yet", USAGE, ["not supported"], None),
]
COMMANDS = {
    "descriptor that is no number": ["device", "block", "--fd", "x", "--block", "path=d"],
    "socket without a name": ["device", "block", "--socket", "", "--block", "path=d"],
    "program that is not there": ["device", "restart", "block0", "--binary", "none", "s"],
    "picture into no folder": ["bench", "--plot", "none/a.svg"],
    "command unknown": ["fly"], "command not built yet": ["snapshot", "x"],
}


def run(vmm, args, cwd, prepare):
    """Status, standard error, and whether the terminal came back as it was."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    proc = subprocess.Popen([vmm] + args, cwd=cwd, stdin=slave, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, preexec_fn=prepare, start_new_session=True)
    try:
        out, err = proc.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(proc.pid, 9)
        out, err = proc.communicate()
        err += b"\nTIMED OUT"
    is_same = termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
    try:
        os.killpg(proc.pid, 0)
        left = True
    except ProcessLookupError:
        left = False
    return proc.returncode, out.decode(), err.decode(), is_same, left


def problem(row, vmm, kernel):
    """What is wrong with the answer to one row, or None."""
    name, status, words, make = row[:4]
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o777)
        place = Place(root, kernel)
        args = ["run"] + make(place) if make else COMMANDS[name]
        before = sorted(os.listdir(root))
        code, out, err, is_same, left = run(vmm, args, root, row[4] if len(row) > 4 else None)
        after = sorted(os.listdir(root))
    line = err.rstrip("\n")
    if code != status:
        return f"status {code}, not {status}: {line[:300]}"
    if out or not line.startswith("vmm: ") or "\n" in line:
        return f"not one line: {out[:200]}{err[:400]}"
    missing = [w for w in words if w.lower() not in line.lower()]
    if missing:
        return f"does not say {missing}: {line[:300]}"
    if before != after:
        return f"left behind: {set(after) ^ set(before)}"
    if not is_same or left:
        return "terminal changed" if left is False else "process left"
    return None


def main():
    vmm, kernel = (os.path.abspath(a) for a in sys.argv[1:3])
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skipped: no /dev/kvm here, and most rows need a host that works")
        return 77
    failed = 0
    rows = [r for r in ROWS if len(sys.argv) < 4 or r[0] != "no address space"]
    for row in rows:
        why = problem(row, vmm, kernel)
        failed += why is not None
        print(f"{'FAIL' if why else 'ok'}   {row[0]}{': ' + why if why else ''}", flush=True)
    print(f"{len(rows) - failed} of {len(rows)} rows")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
