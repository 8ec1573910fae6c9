"""QEMU migrates a Linux that is hard at work on disks of `vmm device block`, from one QEMU to the next.

usage: python3 -m vhost.migrate VMM

Each QEMU has servers of its own. The image is opened once, here, and all servers inherit it: so they share its lock.
In the guest fio writes and verifies, and a file that we know is read into the page cache and summed twice, again
and again: a page that a server wrote and did not mark arrives without what was read.

VMM_MIGRATIONS says how many there are (2). The emulator is the newest QEMU of Debian: a guest in the TCG of 7.2 does
not survive a migration, whoever serves its disks.
"""
import hashlib
import json
import os
import random
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from boot.checks import Report, check_file_system, check_files, read_text, skip, sums_in
from boot.native import PRELUDE, RUN_FIO
from support.debian import AptError
from support.kernel import debian_kernel
from support.linux_guest import EMULATED_PARAMETERS, base_initrd, write_initrd
from support.qemu import newest_qemu
from support.rootdisk import debian_root, make_ext4
from support.scratch import die_with_parent, run_main, scratch_folder
from vhost.servers import Server

QBOOT = Path("/usr/share/qemu/qboot.rom")
LIMIT_SECONDS = 300  # for each step, of which the longest takes ten on a quiet machine
FILE_MIB = 12
BANDWIDTH = 64 << 20  # bytes a second: some rounds of copying, while the guest writes
SECONDS_EACH = 12  # of the guest's load, for each migration

FIO_GLOBAL = f"""[global]
directory=/mnt
size={FILE_MIB}M
thread
bs=4k
iodepth=16
direct=1
ioengine=io_uring
verify=crc32c
verify_fatal=1
verify_state_save=0
group_reporting
"""


def fio_jobs():
    """Three files are filled; then two are written at random and verified, and each block read of the third is."""
    jobs = [[f"[fill-{number}]", f"filename=file-{number}", "rw=write", "do_verify=0"] for number in range(3)]
    for number, kind in enumerate(("randwrite", "randwrite", "randread")):
        jobs.append([f"[run-{number}]", f"filename=file-{number}", f"rw={kind}", "time_based", "runtime=@SECONDS@"])
    jobs[3].append("stonewall")
    return FIO_GLOBAL + "".join("\n".join(job) + "\n" for job in jobs)


GUEST = f"""
for module in $(cat /modules/order); do
	insmod "/modules/$module.ko"
done
tries=100
while [ ! -b /dev/vdb ] && [ $tries -gt 0 ]; do
	usleep 50000
	tries=$((tries - 1))
done
{PRELUDE}
mount -t ext4 /dev/vdb /root/mnt
(
	(
{RUN_FIO.replace("@JOBS@", fio_jobs())}
	) && status=0 || status=$?
	echo $status >/root/tmp/fio
) &
round=0
while [ ! -e /root/tmp/fio ]; do
	echo 3 >/proc/sys/vm/drop_caches
	for pass in 1 2; do
		set -- $(sha1sum </root/mnt/known)
		if [ $1 != @SUM@ ]; then
			echo "pass $pass of round $round: the known file reads as $1"
			exit 1
		fi
	done
	round=$((round + 1))
	echo "round=$round"
done
wait
[ "$(cat /root/tmp/fio)" = 0 ]
echo 3 >/proc/sys/vm/drop_caches
cd /root/mnt
sha256sum file-*
cd /
umount /root/mnt
"""


class Qmp:
    """QEMU's control channel."""

    def __init__(self, path, process):
        limit = time.monotonic() + LIMIT_SECONDS
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT_SECONDS)
        while self.socket.connect_ex(str(path)):
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"QEMU did not start: {process.poll()}")
            time.sleep(0.02)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        self.lines.readline()  # who it is
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        """The result of a command; RuntimeError where it fails or QEMU has gone."""
        try:
            self.socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
            answer = {"event": ""}
            while "event" in answer:
                answer = json.loads(self.lines.readline() or '{"error": "QEMU has gone"}')
        except OSError as error:
            raise RuntimeError(f"{name}: {error}") from error
        if "error" in answer:
            raise RuntimeError(f"{name}: {answer['error']}")
        return answer["return"]

    def wait_for(self, name, done):
        """Ask until the answer is one that @done says yes to."""
        limit = time.monotonic() + LIMIT_SECONDS
        while True:
            answer = self.command(name)
            if done(answer):
                return answer
            if time.monotonic() > limit:
                raise RuntimeError(f"{name} still says {answer}")
            time.sleep(0.05)


@dataclass
class Guest:
    """What every QEMU of one run is started with."""

    vmm: str
    work: Path
    image: int  # descriptor of the data disk
    root: Path
    kernel: Path
    initrd: Path

    def port(self, name):
        return ["-chardev", f"file,id={name},path={self.work / name},append=on", "-serial", f"chardev:{name}"]


class Generation:
    """A QEMU with its servers: the first boots, the others wait for the one before."""

    def __init__(self, guest, number):
        self.folder = guest.work / f"qemu-{number}"
        self.folder.mkdir()
        self.incoming = self.folder / "incoming" if number else None
        self.servers = [
            Server(guest.vmm, self.folder / "root.socket", f"path={guest.root},ro,queues=2"),
            Server(guest.vmm, self.folder / "data.socket", f"path=/proc/self/fd/{guest.image},queues=2", (guest.image,)),
        ]
        for server in self.servers:
            server.start()
            server.wait_ready()
        with open(self.folder / "stderr", "wb") as errors:
            self.process = subprocess.Popen(
                self.command(guest), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, preexec_fn=die_with_parent
            )
        self.qmp = Qmp(self.folder / "qmp", self.process)

    def command(self, guest):
        disks = []
        for name in ("root", "data"):
            disks += ["-chardev", f"socket,id={name},path={self.folder / name}.socket,reconnect-ms=1000"]
            disks += ["-device", f"vhost-user-blk-pci,chardev={name},num-queues=2,disable-legacy=on"]
        return [
            *newest_qemu().command(),
            "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max,-la57", "-M", "q35,memory-backend=ram", "-bios", str(QBOOT),
            "-object", "memory-backend-memfd,id=ram,size=384M,share=on", "-m", "384M", "-smp", "2",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off",
            *[word for port in ("console", "output", "result") for word in guest.port(port)], *disks,
            "-kernel", str(guest.kernel), "-initrd", str(guest.initrd),
            "-append", f"console=ttyS0 quiet panic=-1 {EMULATED_PARAMETERS}",
            *(["-incoming", f"unix:{self.incoming}"] if self.incoming else []),
        ]  # fmt: skip

    def end(self, problems):
        """Both kinds of process; QEMU by itself, if it is well."""
        try:
            if self.process.wait(LIMIT_SECONDS):
                problems.append(f"{self.folder.name} ended with {self.process.returncode}")
        except subprocess.TimeoutExpired:
            problems.append(f"{self.folder.name} hangs")
            self.process.kill()
            self.process.wait()
        problems += [f"a server of {self.folder.name} ended with {s.process.returncode}" for s in self.servers if s.stop() != 0]


    def kill(self):
        """What is left of it."""
        for process in (self.process, *(server.process for server in self.servers)):
            if process.poll() is None:
                process.kill()
                process.wait()


def rounds(work):
    return read_text(work / "output").count("round=")


def wait_for_rounds(generation, work, more):
    """Until the guest has summed its file @more times."""
    want, limit = rounds(work) + more, time.monotonic() + LIMIT_SECONDS
    while rounds(work) < want:
        if generation.process.poll() is not None:
            raise RuntimeError(f"the guest ended in round {rounds(work)}")
        if time.monotonic() > limit:
            raise RuntimeError(f"the guest hangs in round {rounds(work)}")
        time.sleep(0.1)


def migrate(source, target):
    """Live, over a socket. What was copied, in words."""
    source.qmp.command("migrate-set-parameters", **{"max-bandwidth": BANDWIDTH})
    source.qmp.command("migrate", uri=f"unix:{target.incoming}")
    done = source.qmp.wait_for("query-migrate", lambda m: m.get("status") in ("completed", "failed", "cancelled"))
    if done["status"] != "completed":
        raise RuntimeError(f"the migration {done['status']}: {done.get('error-desc')}")
    target.qmp.wait_for("query-status", lambda s: s["status"] == "running")
    source.qmp.command("quit")
    ram = done["ram"]
    return f"{ram['transferred'] >> 20} MiB, {ram['dirty-sync-count']} rounds, down for {done['downtime']} ms"


def run_guest(guest, migrations):
    """From the first QEMU through all the others; a list of problems."""
    problems, generations = [], [Generation(guest, 0)]
    try:
        for number in range(1, migrations + 1):
            wait_for_rounds(generations[-1], guest.work, 2)
            generations.append(Generation(guest, number))
            print(f"    migration {number}: {migrate(*generations[-2:])}", flush=True)
            generations[-2].end(problems)
        generations[-1].end(problems)
    except RuntimeError as error:
        problems.append(str(error))
    finally:
        for generation in generations:
            generation.kill()
    return problems


def make_data(work):
    """The data disk with its known file: the image, and the file's checksum."""
    known = random.Random(1).randbytes(24 << 20)
    (work / "files").mkdir()
    (work / "files/known").write_bytes(known)
    make_ext4(work / "data.img", work / "files", (3 * FILE_MIB + 96) << 20)
    return work / "data.img", hashlib.sha1(known).hexdigest()


def test(vmm, kernel, report, work, migrations):
    data, digest = make_data(work)
    script = GUEST.replace("@SUM@", digest).replace("@SECONDS@", str(SECONDS_EACH * (migrations + 1)))
    initrd = write_initrd(work / "initrd", base_initrd(kernel), {"early": script})
    with open(data, "r+b") as image:
        guest = Guest(vmm, work, image.fileno(), debian_root(("fio",)), kernel.bzimage, initrd)
        problems = run_guest(guest, migrations)
    result = read_text(work / "result").strip()
    if result != "0":
        problems.append(f"the guest's result is {result or 'missing'}")
    logs = [*work.glob("qemu-*/stderr"), work / "console", work / "output"]
    report.case(f"fio writes and verifies through {migrations} migrations", problems, logs)
    print(f"    {rounds(work)} rounds")
    report.case("the disk from outside", check_file_system(data) + check_files(data, "/", sums_in(read_text(work / "output")), work / "found"))


def main(arguments):
    if not QBOOT.exists():
        skip("there is no qboot firmware")
    try:
        kernel = debian_kernel()
        newest_qemu()
        debian_root(("fio",))
    except AptError as error:
        skip(f"Debian's archive cannot be reached: {error}")
    report = Report()
    with scratch_folder("migrate") as work:
        test(arguments[0], kernel, report, work, int(os.environ.get("VMM_MIGRATIONS", "2")))
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
