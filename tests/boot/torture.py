"""fio in the native Linux guest verifies every block, while we change the size and the limits of its disk.

usage: python3 -m boot.torture VMM

Rounds of random depth, sizes, discards and flushes on four queues; between two rounds the driver is unbound and bound
again, which resets the device.  (Queues are reset with requests under way by the built-in guest: cli.torture.)
VMM_FIO_SECONDS says how long fio runs in all (10), VMM_TORTURE_SEED repeats a run; VMM_NATIVE_KERNEL: see native.py.
"""
import os
import random
import re
import sys

from boot.checks import Report, require_native_kernel
from boot.native import PARAMETERS, PRELUDE, TRIES, kernel_trouble
from support.control import Client, Meddler
from support.linux_guest import base_initrd, write_initrd
from support.machine import Machine
from support.rootdisk import debian_root
from support.scratch import run_main, scratch_folder

MIB = 1 << 20
QUEUES = 4
AREA_MIB = 32  # of each job
LARGEST_MIB = 4 * QUEUES * AREA_MIB
ROUND_SECONDS = 20
WAYS = ("direct", "packed")

GLOBAL = """[global]
filename=/dev/vdb
thread
direct=1
ioengine=io_uring
time_based
verify=crc32c
verify_fatal=1
verify_state_save=0
randrepeat=0
"""

ROUND = """
cat >/root/tmp/job <<'END'
@JOBS@
END
chroot /root /usr/bin/fio --eta=never --output-format=terse --output=/tmp/report /tmp/job || fail "fio: status $?"
echo "round @NUMBER@: queues $(ls /sys/block/vdb/mq | wc -l), sectors $(cat /sys/block/vdb/size)"
echo virtio1 >/sys/bus/virtio/drivers/virtio_blk/unbind || fail "unbind: status $?"
echo virtio1 >/sys/bus/virtio/drivers/virtio_blk/bind || fail "bind: status $?"
"""

SCRIPT = (
    PRELUDE.replace("trap 'finish $?' EXIT\nset -e\n", "")
    + """
fail() {
	dmesg | tail -n 25
	cat /root/tmp/job
	cut -c 1-400 /root/tmp/report
	echo "FIO-FAILED: $1"
	sleep 100000
}
echo "the script runs"
@ROUNDS@
echo FIO-PASSED
sleep 100000
"""
)


def jobs(chance, seconds):
    """A round: one job for each queue, with an area and habits of its own."""
    text = GLOBAL + f"runtime={seconds}\n"
    for number in range(QUEUES):
        sizes = chance.sample(("4k", "8k", "12k", "64k", "128k"), 3)
        shares = chance.choice(((80, 10, 10), (40, 30, 30), (20, 40, 40)))
        text += "\n".join((
            f"[job-{number}]", f"offset={number * AREA_MIB}M", f"size={AREA_MIB}M", f"cpus_allowed={number}",
            f"rw={chance.choice(('randwrite', 'randtrimwrite'))}", "bssplit=" + ":".join(f"{size}/{share}" for size, share in zip(sizes, shares)),
            f"iodepth={chance.choice((1, 2, 8, 32, 64))}", f"fsync={chance.choice((4, 16, 64))}",
            f"verify_backlog={chance.choice((8, 64, 512))}",
            "",
        ))  # fmt: skip
    return text


def script(chance, seconds):
    """The guest's job for so many seconds."""
    rounds = max(2, seconds // ROUND_SECONDS)
    texts = (
        ROUND.replace("@JOBS@", jobs(chance, max(1, seconds // rounds))).replace("@NUMBER@", str(number))
        for number in range(rounds)
    )
    return SCRIPT.replace("@ROUNDS@", "".join(texts)), rounds


def torture(vmm, kernel, work, way, seconds, chance):
    """Problems of one run, and what it printed."""
    text, rounds = script(chance, seconds)
    with open(work / "data", "wb") as out:
        out.truncate(LARGEST_MIB * MIB)
    initrd = write_initrd(work / "initrd", base_initrd(), {"early": text})
    options = [
        "--disable-sandbox", "-m", "512", "-c", str(QUEUES), "-s", work / "s", "-r", debian_root(("fio",)),
        "--block", f"path={work}/data,queues={QUEUES},{way}", "-i", initrd, "-p", PARAMETERS,
        "--serial", f"type=file,path={work}/console,console", "--serial", "type=stdout,num=2",
        "--serial", "type=sink,num=3", kernel,
    ]  # fmt: skip
    with Machine(vmm, options, work) as machine:
        if not machine.wait_for(b"script runs", 60):
            return [f"no guest runs: {machine.errors()}"]
        meddler = Meddler(work / "s", "block1", QUEUES * AREA_MIB, LARGEST_MIB)
        machine.wait_for(b"FIO-", seconds * 10 + 300)
        problems = meddler.stop()
        with Client(work / "s") as client:
            client.result("stop")
        status = machine.wait()
        seen = machine.seen.decode(errors="replace").replace("\r", "")
        print(f"    {way}: {rounds} rounds, requests {meddler.counts}, resizes {meddler.resizes}, limits {meddler.limits}")
        if status != 0 or "FIO-PASSED" not in seen:
            problems.append(f"status {status}: {seen[-12000:]}")
        if seen.count(": queues 4, sectors") != rounds:
            problems.append(f"not {rounds} rounds on four queues: {seen[-500:]}")
        if len(set(re.findall(r"sectors (\d+)", seen))) < min(rounds, 2):
            problems.append("the guest never saw another size")
        return problems


def main(arguments):
    (vmm,) = arguments
    kernel = require_native_kernel()
    seed = int(os.environ.get("VMM_TORTURE_SEED", random.randrange(1 << 32)))
    print(f"VMM_TORTURE_SEED={seed}")
    chance = random.Random(seed)
    report = Report()
    seconds = int(os.environ.get("VMM_FIO_SECONDS", "10"))
    for way in WAYS:
        for attempt in range(1, TRIES + 1):
            with scratch_folder("torture") as work:
                try:
                    problems = torture(vmm, kernel, work, way, max(2, seconds // len(WAYS)), chance)
                except (AssertionError, OSError, ValueError) as problem:
                    problems = [f"{type(problem).__name__}: {problem}"]
                trouble = kernel_trouble(work / "console")
                if problems and trouble and attempt < TRIES:
                    print(f"    {way}: try {attempt}: the test kernel failed by itself: {trouble}", flush=True)
                    continue
                report.case(way, problems, [work / "console"])
                break
        sys.stdout.flush()
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
