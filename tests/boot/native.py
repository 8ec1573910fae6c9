"""Boot a Linux that this host's KVM runs at native speed, even where that KVM is in software.

usage: python3 -m boot.native VMM disk CPUS     fio writes and verifies, a second boot verifies again
       python3 -m boot.native VMM loop          boots in a row, and how long each takes from exec to init
       python3 -m boot.native VMM ends          power-off, reset

VMM_NATIVE_KERNEL names the kernel (a vmlinux with everything built in); without it these tests are skipped.
VMM_FIO_SECONDS says how long fio writes, VMM_NATIVE_LOOPS how many boots there are in a row.
"""
import os
import re
import select
import statistics
import subprocess
import time

from boot.checks import Report, check_file_system, check_files, check_status, read_text, require_native_kernel, sums_in  # fmt: skip
from support.linux_guest import base_initrd, serial_arguments, write_initrd
from support.rootdisk import debian_root, make_ext4
from support.scratch import die_with_parent, run_main, scratch_folder

PARAMETERS = "panic=-1 io_delay=none lapic=notscdeadline no-kvmapf tsc=reliable quiet"
BOOT_SECONDS = 60
TRIES = 3
INIT_MARK = b"INIT-REACHED"
QUEUES = 4
FILE_MIB = 48

# Jobs run in the initrd, under busybox's shell, whose commands are part of it; fio comes from the root disk.  That
# keeps the number of programs started small: with several vCPUs on a busy machine this kernel is apt to trip over
# its own patch in execve(), under any VMM.
PRELUDE = """
exec </dev/null >/dev/ttyS1 2>&1
stty raw -echo </dev/ttyS1
mount -t ext4 -o ro /dev/vda /root
mount -t devtmpfs dev /root/dev
mount -t proc proc /root/proc
mount -t tmpfs tmpfs /root/tmp
finish() {
	stty raw -echo </dev/ttyS1
	echo $1 >/dev/ttyS2
	stty raw -echo </dev/ttyS2
	poweroff -f
}
trap 'finish $?' EXIT
set -e
"""

FIO_GLOBAL = f"""[global]
directory=/mnt
size={FILE_MIB}M
thread
bs=4k
iodepth=32
direct=1
ioengine=io_uring
verify=crc32c
verify_fatal=1
verify_state_save=0
group_reporting
"""


def fio_jobs(name, *options):
    """One fio job for each queue, each with a file of its own; they start when the jobs before are done."""
    jobs = [[f"[{name}-{number}]", f"filename=file-{number}", *options] for number in range(QUEUES)]
    jobs[0].append("stonewall")
    return "".join("\n".join(job) + "\n" for job in jobs)


# Every block gets a checksum of its own first, so that the later boot can verify all of them.
WRITE_JOBS = (
    FIO_GLOBAL
    + fio_jobs("fill", "rw=write", "do_verify=0")
    + fio_jobs("random", "rw=randwrite", "time_based", "runtime=@SECONDS@")
)
VERIFY_JOBS = FIO_GLOBAL + fio_jobs("verify", "rw=read")

RUN_FIO = """
cat >/root/tmp/job <<'END'
@JOBS@
END
chroot /root /usr/bin/fio --eta=never --output-format=terse --output=/tmp/report /tmp/job || { cat /root/tmp/report; exit 1; }
"""

FIO_WRITE = f"""{PRELUDE}
mount -t ext4 /dev/vdb /root/mnt
echo "queues=$(ls /sys/block/vdb/mq | wc -l)"
{RUN_FIO.replace("@JOBS@", WRITE_JOBS)}
echo "iops=$(grep '^3;' /root/tmp/report | cut -d';' -f49 | tail -n 1)"
echo 3 >/proc/sys/vm/drop_caches
cd /root/mnt
sha256sum file-*
cd /
umount /root/mnt
"""

FIO_VERIFY = f"""{PRELUDE}
mount -t ext4 -o ro /dev/vdb /root/mnt
{RUN_FIO.replace("@JOBS@", VERIFY_JOBS)}
cd /root/mnt
sha256sum file-*
"""


def kernel_trouble(console):
    """What the test kernel says on its @console of a failure of its own; None when it does not."""
    found = re.search(r"(BUG: .*|Oops: .*|rcu: .*stall.*)", read_text(console))
    return found[0].strip() if found else None


class NativeGuest:
    """Runs vmm with the native kernel, in one scratch folder."""

    def __init__(self, vmm, kernel, work):
        self.vmm = vmm
        self.kernel = kernel
        self.work = work
        self.limit_s = BOOT_SECONDS + fio_seconds() * 4  # of one boot

    def initrd(self, job):
        return str(write_initrd(self.work / "initrd", base_initrd(), job))

    def boot(self, name, job, options, prepare=lambda: None):
        """One boot with a job; vmm's exit status (None: it hung), the job's own, and the job's output.

        A boot in which the guest's kernel says that it failed is repeated, and that is put on record; @prepare makes
        what each try needs anew.
        """
        for attempt in range(1, TRIES + 1):
            prepare()
            answer = self._boot_once(name, job, options)
            trouble = kernel_trouble(self.work / f"{name}.console")
            if attempt == TRIES or not trouble:
                return answer
            print(f"    {name}: try {attempt}: the test kernel failed by itself: {trouble}", flush=True)

    def _boot_once(self, name, job, options):
        console, output, result = (self.work / f"{name}.{kind}" for kind in ("console", "output", "result"))
        for path in (console, output, result):
            path.unlink(missing_ok=True)
        command = [
            self.vmm, "run", "-m", "512", *options, "-i", self.initrd(job),
            "-p", PARAMETERS, *serial_arguments(console, output, result), self.kernel,
        ]  # fmt: skip
        with open(self.work / f"{name}.stderr", "wb") as errors:
            status = run_limited(command, errors, self.limit_s)
        return status, read_text(result).strip(), read_text(output)

    def logs(self, name):
        return [self.work / f"{name}.{kind}" for kind in ("stderr", "console", "output")]


def run_limited(command, errors, limit_s):
    """The exit status of @command, None when it is not done in time."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, preexec_fn=die_with_parent
    ) as process:
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return None


def fio_seconds():
    return int(os.environ.get("VMM_FIO_SECONDS", "5"))


def test_disk(guest, report, cpus):
    """Random writes with verification on four queues, then all of it again after a second boot and from outside."""
    root = ["-r", str(debian_root(("fio",)))]
    data = guest.work / "data.img"
    (guest.work / "empty").mkdir()
    make_ext4(data, guest.work / "empty", (QUEUES * FILE_MIB + 64) << 20)
    disk = f"path={data},queues={QUEUES}" + (",direct" if cpus > 1 else "")
    options = ["-c", str(cpus), *root, "--block", disk]
    job = FIO_WRITE.replace("@SECONDS@", str(fio_seconds()))
    status, result, output = guest.boot("write", {"early": job}, options)
    report.case(f"fio writes and verifies, {cpus} vCPUs", check_status(status, 0) + check_result(result), guest.logs("write"))
    print("    " + " ".join(line for line in output.splitlines() if "=" in line))
    sums = sums_in(output)
    report.case("the disk from outside", check_file_system(data) + check_files(data, "/", sums, guest.work / "files"))
    status, result, output = guest.boot("verify", {"early": FIO_VERIFY}, options)
    problems = check_status(status, 0) + check_result(result)
    problems += [] if sums_in(output) == sums else ["the second boot reads other data than the first wrote"]
    report.case("a second boot reads and verifies it", problems, guest.logs("verify"))


def check_result(result):
    return [] if result == "0" else [f"the guest's script ended with {result or 'nothing'}, not 0"]


def boot_once_timed(command, errors):
    """Seconds from exec to the first line of init, and vmm's exit status; None for what did not happen in time."""
    started = time.monotonic()
    reached_s = None
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, preexec_fn=die_with_parent
    ) as process:
        seen = b""
        while select.select([process.stdout], [], [], max(0, started + BOOT_SECONDS - time.monotonic()))[0]:
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return reached_s, process.wait(BOOT_SECONDS)
            seen += data
            if reached_s is None and INIT_MARK in seen:
                reached_s = time.monotonic() - started
        process.kill()
    return reached_s, None


def init_command(guest):
    """A vmm whose guest says on the console that it has come to init, and powers off."""
    initrd = guest.initrd({"early": f"echo {INIT_MARK.decode()}\n"})
    return [guest.vmm, "run", "-m", "256", "-i", initrd, "-p", PARAMETERS, guest.kernel]


def test_loop(guest, report):
    """Boots in a row, none of which may fail or hang."""
    count = int(os.environ.get("VMM_NATIVE_LOOPS", "5"))
    command = init_command(guest)
    times_s = []
    problems = []
    with open(guest.work / "loop.stderr", "wb") as errors:
        for number in range(count):
            reached_s, status = boot_once_timed(command, errors)
            if reached_s is None or status != 0:
                problems.append(f"boot {number}: init after {reached_s} s, vmm's exit status {status}")
            else:
                times_s.append(reached_s)
    report.case(f"{count} boots in a row", problems, [guest.work / "loop.stderr"])
    if times_s:
        print(
            f"    exec to init: median {statistics.median(times_s) * 1000:.0f} ms,"
            f" {min(times_s) * 1000:.0f} to {max(times_s) * 1000:.0f} ms"
        )


def test_ends(guest, report):
    """Power-off and reset. This kernel has one way to reset, a triple fault; debian.py has all the others."""
    root = str(debian_root())
    for name, end, expected in (("poweroff", "poweroff", 0), ("reboot", "reboot", 33), ("panic", "panic", 33)):
        status, result, _ = guest.boot(name, {"command": "true\n", "end": end}, ["-r", root])
        report.case(name, check_status(status, expected) + check_result(result), guest.logs(name))


def main(arguments):
    vmm, what, *rest = arguments
    kernel = require_native_kernel()
    report = Report()
    with scratch_folder("native") as work:
        guest = NativeGuest(vmm, kernel, work)
        if what == "disk":
            test_disk(guest, report, int(rest[0]))
        elif what == "loop":
            test_loop(guest, report)
        else:
            test_ends(guest, report)
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
