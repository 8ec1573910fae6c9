"""What a guest was told is on disk, is in the image when vmm is killed at any moment.

usage: python3 -m boot.killed VMM

In the guest, writers on several queues write a block or a file, flush it, and then say so on a serial port. vmm is
killed with SIGKILL; whatever was said must be in the images. VMM_KILL_LOOPS says how often (4); VMM_NATIVE_KERNEL:
see native.py.
"""
import os
import random
import re
import shutil
import signal
import subprocess
import time

from boot.checks import PATH, Report, require_native_kernel
from boot.native import PARAMETERS
from support.linux_guest import base_initrd, write_initrd
from support.machine import Machine
from support.rootdisk import make_ext4
from support.scratch import run_main, scratch_folder

MIB = 1 << 20
BLOCK = 4096
SECTOR = 512
WRITERS = 3
REGION = 2048  # blocks of each writer

# vda: blocks, each of a writer's own; vdb: an ext4 with files.
INSIDE = f"""
stty raw -echo </dev/ttyS1
exec 9>/dev/ttyS1
mkdir /mnt
mount -t ext4 /dev/vdb /mnt || exit
content() {{
	yes "writer $1 number $2" | head -c {BLOCK}
}}
block_writer() {{
	n=0
	while [ $n -lt {REGION} ]; do
		content $1 $n | dd of=/dev/vda bs={BLOCK} iflag=fullblock seek=$(($1 * {REGION} + n)) conv=notrunc,fsync 2>/dev/null &&
			echo "block $1 $n" >&9
		n=$((n + 1))
	done
}}
file_writer() {{
	n=0
	while [ $n -lt {REGION} ]; do
		content f $n | dd of=/mnt/file-$n conv=fsync 2>/dev/null && echo "file f $n" >&9
		n=$((n + 1))
	done
}}
for writer in $(seq 0 {WRITERS - 1}); do
	block_writer $writer &
done
file_writer
wait
"""


def content(writer, number):
    """What a writer writes."""
    line = f"writer {writer} number {number}\n".encode()
    return (line * (BLOCK // len(line) + 1))[:BLOCK]


def kill_one(vmm, kernel, work, more, chance):
    """A machine that is killed while it writes; what it said before."""
    (work / "empty").mkdir()
    with open(work / "blocks", "wb") as out:
        out.truncate(WRITERS * REGION * BLOCK)
    make_ext4(work / "files", work / "empty", 64 * MIB)
    initrd = write_initrd(work / "initrd", base_initrd(), {"early": INSIDE})
    options = [
        "-m", "256", "-c", "1", "-i", initrd, "--serial", f"type=file,path={work}/console,console",
        "--serial", "type=stdout,num=2", "--block", f"path={work}/blocks,queues=4{more}",
        "--block", f"path={work}/files{more}", "-p", PARAMETERS, kernel,
    ]  # fmt: skip
    with Machine(vmm, options, work) as machine:
        if not machine.wait_for(b"file f 0"):
            raise AssertionError(f"no write is told: {machine.errors()}")
        end = time.monotonic() + chance.random() * 3
        while (left := end - time.monotonic()) > 0:
            machine.wait_for(b"never said", left)
        machine.stop(signal.SIGKILL)
        return machine.seen.decode(errors="replace")


def check_blocks(work, said):
    """Every block told is there; others are as before or as written, sector by sector."""
    told = {(int(writer), int(number)) for writer, number in re.findall(r"block (\d+) (\d+)\r?\n", said)}
    problems = []
    with open(work / "blocks", "rb") as image:
        for writer in range(WRITERS):
            for number in range(REGION):
                data, wanted = image.read(BLOCK), content(writer, number)
                if data == wanted or (not any(data) and (writer, number) not in told):
                    continue
                sectors = ((data[at : at + SECTOR], wanted[at : at + SECTOR]) for at in range(0, BLOCK, SECTOR))
                if (writer, number) in told:
                    problems.append(f"block {number} of writer {writer} was told and is not there")
                elif any(any(got) and got != want for got, want in sectors):
                    problems.append(f"block {number} of writer {writer}: foreign data")
    return len(told), problems


def check_files(work, said):
    """The journal repairs the file system, and every file told is in it."""
    told = [int(number) for number in re.findall(r"file f (\d+)\r?\n", said)]
    done = subprocess.run(["e2fsck", "-p", work / "files"], env=PATH, capture_output=True, text=True, check=False)
    problems = [] if done.returncode <= 1 else [f"e2fsck: status {done.returncode}: {done.stdout}"]
    (work / "out").mkdir()
    subprocess.run(["debugfs", "-R", f"rdump / {work}/out", work / "files"], env=PATH, capture_output=True, check=True)
    for number in told:
        path = work / f"out/file-{number}"
        if not path.exists() or path.read_bytes() != content("f", number):
            problems.append(f"file {number} was told and is not there")
    return len(told), problems


def main(arguments):
    (vmm,) = arguments
    kernel = require_native_kernel()
    report = Report()
    chance = random.Random()
    with scratch_folder("killed") as work:
        for number in range(int(os.environ.get("VMM_KILL_LOOPS", "4"))):
            folder = work / str(number)
            folder.mkdir()
            more = ",direct" if number % 2 else ""
            try:
                said = kill_one(vmm, kernel, folder, more, chance)
                blocks, problems = check_blocks(folder, said)
                files, more_problems = check_files(folder, said)
                problems += more_problems
            except AssertionError as error:
                blocks, files, problems = 0, 0, [str(error)]
            what = f"killed after {blocks} blocks and {files} files{more.replace(',', ', ')}"
            report.case(what, problems[:10], [folder / "stderr", folder / "console"])
            shutil.rmtree(folder)
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
