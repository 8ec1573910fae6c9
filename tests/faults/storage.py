"""Storage that fails while the guest uses it: no space, a limit of size, an image that shrinks, calls that fail.

usage: python3 -m faults.storage VMM GUEST

The guest writes and reads a whole disk: each request must be answered, what was answered with OK must be there, the
other disk must work, and vmm must end as usual. Cases that need root are left out without it, and say so.
"""
import os
import re
import resource
import shutil
import subprocess
import sys
import time

from faults.ends import PATIENCE_S, End, Setting, kill_run, run, run_below_strace, run_processes, wait_until_gone
from support.needs import SKIPPED, has_kvm
from support.scratch import die_with_parent, run_main, scratch_folder

MIB = 1 << 20
TEST = "faults.trouble,faults.witness"


def answers(out):
    """What the guest counted: (ok, failed) for writes, reads and flushes."""
    found = re.search(r"trouble writes (\d+) (\d+) reads (\d+) (\d+) flushes (\d+) (\d+)", out)
    if not found:
        return None
    numbers = list(map(int, found.groups()))
    return dict(zip(("writes", "reads", "flushes"), zip(numbers[::2], numbers[1::2])))


def judge(what, end, must_fail):
    """Whether the run @end is as it must be, and of @must_fail some failed and some did not."""
    problems = end.problems(ends=(0,))
    counted = answers(end.out)
    if not counted:
        problems.append(f"the guest did not get to its end: {end.out[-500:]}")
    for kind in must_fail if counted else ():
        ok, failed = counted[kind]
        if not ok or not failed:
            problems.append(f"{kind}: {ok} ok, {failed} failed: the fault was not there")
    if problems:
        print(f"FAIL {what}: {problems}\n{end.err[-2000:]}", flush=True)
    else:
        print(f"ok {what}: {counted}", flush=True)
    return not problems


def run_with_trouble(command, make, again_s=0):
    """Run @command; make(session) when the guest has begun, and again every @again_s seconds. How it ended."""
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, preexec_fn=die_with_parent,
    ) as process:  # fmt: skip
        seen, status = b"", None
        while b"begin" not in seen and (data := os.read(process.stdout.fileno(), 4096)):
            seen += data
        make(process.pid)
        deadline = time.monotonic() + PATIENCE_S
        while again_s and process.poll() is None and time.monotonic() < deadline:
            time.sleep(again_s)
            make(process.pid)
        try:
            out, err = process.communicate(timeout=max(1, deadline - time.monotonic()))
            status = process.returncode
        except subprocess.TimeoutExpired:
            kill_run(process.pid)
            out, err = process.communicate()
        left = wait_until_gone(process.pid)
        kill_run(process.pid)
    return End(status, seen + out, err, left)


def limit_of_size(setting):
    """RLIMIT_FSIZE, set when guest memory, which is a file too, is there: EFBIG beyond it. For all processes: the
    disk's own among them."""

    def limit(session):
        for pid in run_processes(session):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4 * MIB, 4 * MIB))

    return judge("file size limit", run_with_trouble(setting.command(TEST), limit), ("writes",))


def mounted(setting, mount, more=""):
    """Run with the folder of disk0 a small file system made by the shell command @mount, in a namespace of its own."""
    small = setting.folder / "small"
    small.mkdir(exist_ok=True)
    disk0 = f"path={setting.folder}/disk0,id=disk0,queues=2"
    command = [f"path={small}/disk0{more}" if part == disk0 else str(part) for part in setting.command(TEST)]
    script = f'mount --make-rprivate / && {mount} && truncate -s 16M {small}/disk0 && exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, "sh", *command]


def no_space_tmpfs(setting):
    """ENOSPC from a tmpfs of 4 MiB."""
    if os.geteuid() != 0:
        print("left out: a full tmpfs needs root")
        return True
    return judge("full tmpfs", run(mounted(setting, f"mount -t tmpfs -o size=4m none {setting.folder}/small")), ("writes",))


def no_space_ext4(setting):
    """ENOSPC from an ext4 of 8 MiB, past the page cache and through it."""
    image = setting.folder / "ext4"
    with open(image, "wb") as out:
        out.truncate(8 * MIB)
    mkfs = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", image]
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    if os.geteuid() != 0 or not shutil.which("mke2fs", path=environment["PATH"]):
        print("left out: a full ext4 needs root and mke2fs")
        return True
    subprocess.run(mkfs, check=True, env=environment)
    mount = f"mount -o loop {image} {setting.folder}/small"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False).returncode:
        print("left out: no loop devices here")
        return True
    good = True
    for more in ("", ",direct=true"):
        end = run(mounted(setting, mount, more))
        good &= judge(f"full ext4{more}", end, ("writes",))
    return good


def shrinking(setting):
    """The image is cut to a sixteenth while the guest uses it: reads come up short, and nobody dies of it."""
    command = setting.command(TEST)
    command[command.index("-p") + 1] += " lossy=1"
    end = run_with_trouble(command, lambda _: os.truncate(setting.folder / "disk0", MIB), 0.005)
    return judge("shrinking image", end, ())


# io_uring is refused, so that disks are served by calls which strace can make fail. Without the sandbox: strace
# changes the number of the call to -1, and seccomp ends a confined process for that.
POOL = ("-e", "inject=io_uring_setup:error=EPERM")


def failing_calls(setting):
    """EIO and ENOSPC now and then from the calls that move data and flush.

    Of reads only what is tried again: doorbells are read by the same call, and one that cannot be read ends the device.
    """
    if not shutil.which("strace"):
        print("left out: strace is not installed")
        return True
    good = True
    for what, must_fail, rules in (
        ("EIO now and then", ("writes",), ("pwritev2:error=EIO:when=50+11",)),
        ("ENOSPC now and then", ("writes",), ("pwritev2:error=ENOSPC:when=50+5",)),
        ("EINTR and EAGAIN", (), ("preadv2:error=EINTR:when=50+7", "pwritev2:error=EAGAIN:when=50+7")),
        ("flushes that fail", ("flushes",), ("fdatasync:error=EIO:when=2",)),
    ):
        options = [option for rule in rules for option in ("-e", f"inject={rule}")]
        calls = "io_uring_setup," + ",".join(rule.split(":")[0] for rule in rules)
        trace = ["--seccomp-bpf", "-e", f"trace={calls}", *POOL, *options]
        end = run_below_strace(trace, setting.command(TEST, vmm_options=("--disable-sandbox",)))
        good &= judge(what, end, must_fail)
    return good


def main(arguments):
    vmm, guest = arguments
    if not has_kvm():
        return SKIPPED
    failed = 0
    for case in (limit_of_size, no_space_tmpfs, no_space_ext4, shrinking, failing_calls):
        with scratch_folder("storage") as folder:
            failed += not case(Setting(vmm, guest, folder, (4 if case is failing_calls else 16) * MIB))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    run_main(main)
