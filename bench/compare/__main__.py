"""Compare our disks with QEMU's on the same work, in one interleaved run, and draw what came out.

usage: dev bench compare [--quick] [--rounds N] [--seconds S] [--only PATTERN] [--json] [--out DIR] [--dir DIR]

Cells are called vhost/BACKEND/WORK (a vhost-user-blk server under a client of ours) and guest/BACKEND/N vCPUs/WORK
(fio in a Linux guest); --list shows them.  The guest needs /dev/kvm and VMM_NATIVE_KERNEL.
"""
import argparse
import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from compare import plot, report
from compare.guest import GuestGroup
from compare.plan import Progress, Results, estimate, run_rounds, wanted
from compare.vhost import VhostGroup
from support.cache import cache_root
from support.debian import AptError
from support.native_kernel import native_kernel
from support.qemu import installed_qemu, newest_qemu
from support.scratch import run_main

BACKENDS = ("null", "file", "direct")
IMAGE_MIB = 512
RECORD = "compare.json"


class Context:
    """What all groups share: programs, folders, images, the choice of cells."""

    def __init__(self, options, folder):
        self.vmm = Path(options.build) / "vmm"
        self.client = Path(options.build) / "bench/vhost_client"
        self.kernel = native_kernel()
        self.seconds = options.seconds
        self.folder = folder
        self.pattern = options.only

    def wants(self, key):
        return wanted(key, self.pattern)

    def image(self, group, peer):
        """The image of one peer of a group, all of it written; for "file" in the page cache."""
        paths = {name: self.folder / f"{group.name} {name}.img".replace("/", "-") for name in group.peers}
        if group.backend != "null" and not paths[peer].exists():
            write_images(paths.values())
        if group.backend == "file":
            warm_image(paths[peer])
        return paths[peer]


def write_images(paths):
    """Images that are alike also in memory: which pages the cache takes makes up to half the time of a long read.

    Written one after the other, the first would get the pages that lie about, and the last ones whole runs of them; so
    they take turns at each MiB.  Written in pages, as after long writes the cache is made of pieces of up to 2 MiB, and ext4 then takes 15 us for
    each write of 4 KiB into one: as much for everybody, and nothing that a disk sees after its first days.
    """
    block = os.urandom(4096)
    with contextlib.ExitStack() as stack:
        images = [stack.enter_context(open(path, "wb", buffering=0)) for path in paths]
        for mib, image in itertools.product(range(IMAGE_MIB), images):
            for number in range(256 * mib, 256 * (mib + 1)):
                image.write(number.to_bytes(8, "little") + block[8:])
        for image in images:
            os.fsync(image.fileno())


def warm_image(path):
    """Read what is no longer in the page cache, page by page."""
    with open(path, "rb", buffering=0) as image:
        os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for at in range(0, IMAGE_MIB << 20, 4096):
            os.pread(image.fileno(), 1, at)


def parse(arguments):
    parser = argparse.ArgumentParser(prog="dev bench compare", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("build", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="one short round: enough to see that it works")
    parser.add_argument("--rounds", type=int, help="rounds (7; at least 7 for figures that are to be kept)")
    parser.add_argument("--seconds", type=float, help="each measurement takes (0.6)")
    parser.add_argument("--only", metavar="PATTERN", help="cells that have this text in their name, or match it")
    parser.add_argument("--list", action="store_true", help="show the names of all cells")
    parser.add_argument("--json", action="store_true", help="print every round as JSON instead of tables")
    parser.add_argument("--out", type=Path, help="where results go (build/compare)")
    parser.add_argument("--dir", type=Path, help="where images lie, a disk and not tmpfs (~/.cache/vmm)")
    parser.add_argument("--redraw", action="store_true", help="measure nothing: tables and pictures of what lies in --out")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 7)
    options.seconds = options.seconds or (0.2 if options.quick else 0.6)
    options.out = options.out or Path("build/compare")
    options.dir = options.dir or cache_root()
    if options.rounds < 1 or not 0.05 <= options.seconds <= 60:
        parser.error("--rounds from 1, --seconds from 0.05 to 60")
    return options


def file_system(folder):
    """The type of the file system that @folder is on."""
    command = ["findmnt", "-n", "-o", "FSTYPE", "--target", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def qemus():
    """The QEMUs there are, by a name that tells their version: the newest, and what is installed."""
    found = {}
    try:
        newest = newest_qemu()
        found[f"qemu {newest.version}"] = newest
    except AptError as error:
        print(f"compare: no newer QEMU: {error}", file=sys.stderr)
    installed = installed_qemu()
    if installed:
        found[f"qemu {installed.version}"] = installed
    return found


def groups_of(context, found):
    """All groups with at least one wanted cell."""
    daemons = {name: qemu.command("qemu-storage-daemon") for name, qemu in found.items()}
    groups = [VhostGroup(backend, context, daemons) for backend in BACKENDS]
    if not context.kernel or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("compare: no guests: they want /dev/kvm, and a kernel in VMM_NATIVE_KERNEL", file=sys.stderr)
        return [group for group in groups if group.cells]
    boards = {f"{name} q35": (qemu, "q35") for name, qemu in found.items()}
    micro = {f"{name} microvm": (qemu, "microvm") for name, qemu in list(found.items())[:1]}
    for cpus in (1, 2):
        peers = boards if cpus > 1 else {**boards, **micro}  # one queue, one line for interrupts: no more CPUs
        groups += [GuestGroup(backend, cpus, context, peers) for backend in BACKENDS]
    return [group for group in groups if group.cells]


def verify(groups):
    """A run of its own: do all keep what they are given?"""
    for group in groups:
        for peer in group.peers:
            with group.start(peer) as place:
                blocks = group.verify(place)
            if blocks is not None:
                print(f"{group.name}: {peer}: {blocks} blocks read back as written", file=sys.stderr)
                if not blocks:
                    raise RuntimeError(f"{group.name}: {peer}: nothing was verified")


def count(groups, results, progress):
    """One more round, in which perf counts."""
    for group in groups:
        for peer in group.peers:
            with group.start(peer) as place:
                for cell in group.cells:
                    progress.step(f"counting: {cell.key}: {peer}", group.cell_seconds)
                    results.counts[cell.key, peer] = group.count(place, cell)


def measure(options):
    """Everything, into a Results and a line that says what it is about."""
    results = Results()
    with tempfile.TemporaryDirectory(prefix="compare-", dir=options.dir) as folder:
        context = Context(options, Path(folder))
        kind = file_system(folder)
        if kind == "tmpfs":
            sys.exit(f"compare: {options.dir} is a tmpfs, which says nothing about disks; give another with --dir")
        groups = groups_of(context, qemus())
        if options.list:
            print("\n".join(cell.key for group in groups for cell in group.cells))
            sys.exit(0)
        if not groups:
            sys.exit(f"compare: no cell is called {options.only}; --list shows them")
        verify(groups)
        progress = Progress(estimate(groups, options.rounds + (0 if options.quick else 1)))
        load = os.getloadavg()[0]
        for done in run_rounds(groups, options.rounds, results, progress):
            rounds = f"{done} interleaved round{'s' if done > 1 else ''} of {options.seconds:g} s"
            about = f"{report.host()}; {kind}; medians and quartiles of {rounds}; load {load:.0f} to {os.getloadavg()[0]:.0f}"
            report.save(results, options.out / RECORD, about)  # for --redraw, should this be cut short
        if not options.quick:
            count(groups, results, progress)
        progress.end()
    return results, about


def main(arguments):
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    record = options.out / RECORD
    if options.redraw:
        results = Results()
        about = report.load(record, results)
    else:
        results, about = measure(options)
        report.save(results, record, about)
    (options.out / "compare.md").write_text(f"{about}\n\n" + report.tables(results, is_markdown=True), encoding="utf-8")
    print(record.read_text(encoding="utf-8") if options.json else f"{about}\n\n{report.tables(results)}")
    if shutil.which("gnuplot"):
        drawn = plot.draw(results, about, options.out)
        print(f"compare: {options.out}: {', '.join(path.name for path in drawn)}", file=sys.stderr)
    else:
        print("compare: no pictures: they want gnuplot", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run_main(main)
