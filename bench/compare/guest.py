"""The same Linux under `vmm run` and under QEMU: fio in the guest, the VMM measured from outside.

All peers' guests of a group are booted side by side and wait; a line on the serial port gives one of them a job at a
time.  What the guest answers begins and ends the host's measurement.
"""
import os
import select
import subprocess
import time
from dataclasses import dataclass

from boot.native import PARAMETERS
from compare.plan import Cell
from compare.process import SANDBOXES, Counting, Measured
from support.linux_guest import base_initrd, write_initrd
from support.rootdisk import debian_root

POLL_US = 64
MEMORY_MIB = 512
SPAN_MIB = 512  # of each disk
BOOT_SECONDS = 60
BOOT_TRIES = 4
DEPTHS = (1, 32)
EVENTS = {"kvm:kvm_userspace_exit": "user exits", "kvm:kvm_msi_set_irq": "MSIs", "raw_syscalls:sys_enter": "system calls"}

# fio comes from the root disk; everything else is busybox in the initrd.
JOB = """
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty raw -echo </dev/ttyS0
for disk in /sys/block/vd?; do
	case $(cat $disk/serial) in
	root) root=${disk#/sys/block/} ;;
	data) data=${disk#/sys/block/} ;;
	esac
done
mount -t ext4 -o ro /dev/$root /root
mount -t devtmpfs dev /root/dev
mount -t proc proc /root/proc
mount -t tmpfs tmpfs /root/tmp
device=$(basename $(readlink -f /sys/block/$data/device))
interrupts() {
	awk -v device=$device 'index($0, device) { for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i } END { print n + 0 }' /proc/interrupts
}
echo 0 >/sys/block/$data/queue/add_random
echo "READY queues=$(ls /sys/block/$data/mq | wc -l)"
while read -r options; do
	[ "$options" = off ] && break
	before=$(interrupts)
	echo BEGIN
	chroot /root /usr/bin/fio --eta=never --output-format=terse --output=/tmp/report --filename=/dev/$data $options
	echo "END $? $(($(interrupts) - before))"
	cat /root/tmp/report
	echo DONE
done
"""

FIO = (
    "--name=job --ioengine=io_uring --direct=1 --thread --norandommap --randrepeat=0 --time_based "
    f"--size={SPAN_MIB}M --lat_percentiles=1 --clat_percentiles=0 --percentile_list=50:99:99.9"
)
FIO_VERIFY = (
    "--name=job --ioengine=io_uring --direct=1 --thread --rw=randwrite --bs=4k --iodepth=32 --size=32M "
    "--verify=crc32c --verify_fatal=1 --verify_state_save=0"
)

# fio's terse line, version 3: what lies where, from 0.
READ_IOS, WRITE_IOS, PERCENTILES = 5, 46, 12


def jobs():
    """(name, fio's options) for each piece of work."""
    for size in (4, 128):
        for write in (False, True):
            for depth in DEPTHS:
                name = f"{'write' if write else 'read'} {size}k, depth {depth}"
                yield name, f"--rw=rand{'write' if write else 'read'} --bs={size}k --iodepth={depth}"


def vmm_command(context, sandbox, cpus, backend, initrd, image):
    """`vmm run`, one queue for each vCPU."""
    disk = {"null": f"format=null,size={SPAN_MIB}M", "file": f"path={image}", "direct": f"path={image},direct"}[backend]
    return [
        str(context.vmm), "run", f"--sandbox={sandbox}", "-m", str(MEMORY_MIB), "-c", str(cpus),
        "-i", str(initrd), "-p", PARAMETERS,
        "--block", f"path={debian_root(('fio',))},ro,id=root,queues=1",
        "--block", f"{disk},id=data,queues={cpus},poll=adaptive,poll-us={POLL_US}",
        "--serial", "type=stdout,num=1,console,stdin", str(context.kernel),
    ]  # fmt: skip


def qemu_command(context, qemu, machine, cpus, backend, initrd, image):
    """QEMU with the disk in an I/O thread, one queue for each vCPU."""
    bus = "pci" if machine == "q35" else "device"
    node = {
        "null": f"driver=null-co,node-name=data,size={SPAN_MIB << 20},read-zeroes=off",
        "file": f"driver=file,node-name=data,filename={image},aio=io_uring",
        "direct": f"driver=file,node-name=data,filename={image},aio=io_uring,cache.direct=on",
    }[backend]
    if machine == "q35":
        board = ["-M", "q35", "-bios", str(qemu.firmware("qboot.rom"))]
        modern = ",disable-legacy=on"
    else:
        board = ["-M", "microvm,x-option-roms=off,rtc=on", "-global", "virtio-mmio.force-legacy=false"]
        modern = ""
    return [
        *qemu.command(), "-accel", "kvm", "-cpu", "host,-arch-capabilities", *board, "-name", "compare,debug-threads=on",
        "-m", str(MEMORY_MIB), "-smp", str(cpus), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-serial", "stdio", "-object", f"iothread,id=t,poll-max-ns={POLL_US * 1024}",
        "-blockdev", f"driver=file,node-name=root,filename={debian_root(('fio',))},read-only=on,locking=off",
        "-device", f"virtio-blk-{bus},drive=root,serial=root,num-queues=1{modern}",
        "-blockdev", node, "-device", f"virtio-blk-{bus},drive=data,serial=data,iothread=t,num-queues={cpus}{modern}",
        "-kernel", str(context.kernel), "-initrd", str(initrd), "-append", f"console=ttyS0 {PARAMETERS}",
    ]  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What one job said and cost."""

    line: list  # fio's terse fields
    interrupts: int
    cpu_ns: int
    outside_ns: int
    counts: dict

    def requests(self, iops):
        """All requests, from the rate and fio's run time in ms."""
        return iops * float(self.line[8 if float(self.line[READ_IOS]) else 49]) / 1e3


class Guest:
    """A running guest that takes jobs; a context."""

    def __init__(self, command, errors):
        self.command, self.errors = command, errors
        self.vmm = None
        self.seen = b""

    def __enter__(self):
        for attempt in range(BOOT_TRIES):
            self.seen = b""
            self.vmm = Measured(self.command, self.errors, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            try:
                self.wait_for("READY", BOOT_SECONDS)
                return self
            except RuntimeError:  # this kernel fails by itself now and then, under any VMM
                self.vmm.__exit__()
                if attempt == BOOT_TRIES - 1:
                    raise
        return self

    def __exit__(self, *_):
        self.vmm.process.kill()
        self.vmm.__exit__()

    def wait_for(self, word, seconds):
        """The line that begins with @word; lines before it are dropped."""
        limit = time.monotonic() + seconds
        while True:
            while b"\n" in self.seen:
                line, self.seen = self.seen.split(b"\n", 1)
                text = line.decode(errors="replace").strip()
                if text.startswith(word):
                    return text
            left = limit - time.monotonic()
            stream = self.vmm.process.stdout
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                raise self.vmm.failure(f"no {word} from the guest in {seconds} s")
            data = os.read(stream.fileno(), 65536)
            if not data:
                raise self.vmm.failure(f"the guest ended, last words {self.seen[-300:]!r}")
            self.seen += data

    def run(self, options, seconds, counting=None):
        """One fio, counted by @counting while it runs; an Answer."""
        self.vmm.process.stdin.write(f"{options}\n".encode())
        self.vmm.process.stdin.flush()
        self.wait_for("BEGIN", 20)
        if counting:
            counting.begin()
        cpu, outside = self.vmm.cpu_ns(), self.vmm.outside_ns()
        status, interrupts = self.wait_for("END", 20 + 3 * seconds).split()[1:]
        cpu, outside = self.vmm.cpu_ns() - cpu, self.vmm.outside_ns() - outside
        counts = counting.end() if counting else {}
        if status != "0":
            raise self.vmm.failure(f"fio ended with {status}: {self.wait_for('', 5)}")
        line = self.wait_for("3;", 20).split(";")
        self.wait_for("DONE", 20)
        return Answer(line, int(interrupts), cpu, outside, counts)


def figures_of(answer):
    """What is compared, of one Answer."""
    is_read = float(answer.line[READ_IOS]) > 0
    at = READ_IOS if is_read else WRITE_IOS
    iops = float(answer.line[at + 2])
    requests = max(1.0, answer.requests(iops))
    percentiles = [field.split("=") for field in answer.line[at + PERCENTILES : at + PERCENTILES + 3]]
    p50, p99, p999 = (float(value) for _, value in percentiles)
    return {
        "iops": iops, "cpu_ns": answer.cpu_ns / requests, "outside_ns": answer.outside_ns / requests,
        "p50_us": p50, "p99_us": p99, "p999_us": p999, "mean_us": float(answer.line[at + 10]),
        "interrupts": answer.interrupts / requests, "requests": requests,
    }  # fmt: skip


class GuestGroup:
    """All work on one back end with one number of vCPUs, under all VMMs."""

    def __init__(self, backend, cpus, context, qemus):
        self.name = f"guest/{backend}/{cpus} vCPU{'s' if cpus > 1 else ''}"
        self.backend, self.cpus, self.context = backend, cpus, context
        self.qemus = qemus  # peer name: (Qemu, machine)
        self.options = {}
        for name, options in jobs():
            cell = Cell(self.name, name)
            if context.wants(cell.key):
                self.options[cell] = f"{FIO} --runtime={int(context.seconds * 1000)}ms {options}"
        self.cells = list(self.options)
        self.peers = [*SANDBOXES, *qemus]
        self.start_seconds = 1.0 * len(self.peers)
        self.cell_seconds = context.seconds + 0.4

    def start(self, peer):
        folder = self.context.folder
        initrd = folder / f"{peer}.initrd"
        if not initrd.exists():
            write_initrd(initrd, base_initrd(), {"early": JOB})
        image = self.context.image(self, peer)
        if peer in SANDBOXES:
            command = vmm_command(self.context, SANDBOXES[peer], self.cpus, self.backend, initrd, image)
        else:
            command = qemu_command(self.context, *self.qemus[peer], self.cpus, self.backend, initrd, image)
        return Guest(command, folder / f"{peer}.errors")

    def measure(self, guest, cell):
        """One fio."""
        return figures_of(guest.run(self.options[cell], self.context.seconds))

    def count(self, guest, cell):
        """Exits to user space, messages to the interrupt controller and system calls a request, counted by perf."""
        answer = guest.run(self.options[cell], self.context.seconds, Counting(guest.vmm.processes(), EVENTS))
        requests = figures_of(answer)["requests"]
        return {EVENTS[event]: n / requests for event, n in answer.counts.items() if event in EVENTS}

    def verify(self, guest):
        """fio writes with a checksum in each block and reads all of it back; how many were."""
        if self.backend == "null":
            return None
        return int(guest.run(FIO_VERIFY, 10).line[READ_IOS]) // 4
