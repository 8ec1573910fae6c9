"""What the guest was told is on disk is there when vmm is killed at any moment, and nothing leaks.

usage: python3 -m faults.killed VMM GUEST

The built-in guest writes a block, flushes, and says so on its serial port. SIGKILL hits the main process or, in turns,
all processes of the run at a random moment. VMM_KILL_ROUNDS says how often (16).
"""
import os
import random
import signal
import subprocess
import sys
import time

from faults.ends import PATIENCE_S, Setting, kill_run, wait_until_gone
from guest.pattern import pattern
from support.needs import SKIPPED, has_kvm
from support.scratch import die_with_parent, run_main, scratch_folder

BLOCK, SECTOR = 4096, 512
ROUNDS = 4096  # of the guest: more than it gets to


def told(out):
    """The blocks the guest said are flushed: a line that is cut off does not count."""
    return [int(line.split()[1]) for line in out.split(b"\n")[:-1] if line.startswith(b"flushed ")]


def kill_one(setting, seed, delay, everybody, more):
    """A run that is killed @delay seconds after its first flush: what it said, and what is left of it."""
    command = setting.command("faults.durable")
    command[command.index("-p") + 1] += f" rounds={ROUNDS} seed={seed}"
    disk = command.index(f"path={setting.folder}/disk0,id=disk0,queues=2")
    command[disk] += more
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True, preexec_fn=die_with_parent,
    ) as process:  # fmt: skip
        seen, deadline = b"", time.monotonic() + PATIENCE_S
        while b"flushed 0" not in seen and time.monotonic() < deadline:
            data = os.read(process.stdout.fileno(), 4096)
            if not data:
                break
            seen += data
        time.sleep(delay)
        if everybody:
            kill_run(process.pid)
        else:
            process.send_signal(signal.SIGKILL)
        seen += process.stdout.read()
        process.wait()
        return seen, wait_until_gone(process.pid)


def check_image(path, blocks, seed):
    """What is wrong with the image: each told block is as written, any other as written, in part, or zero."""
    problems = []
    data = path.read_bytes()
    for number in range(len(data) // BLOCK):
        got = data[number * BLOCK : (number + 1) * BLOCK]
        if number not in blocks and not any(got):
            continue
        wanted = pattern(number * BLOCK // SECTOR, BLOCK // SECTOR, seed)
        if got == wanted:
            continue
        if number in blocks:
            problems.append(f"block {number} was flushed and is not there")
        elif any(got[at : at + SECTOR] not in (wanted[at : at + SECTOR], bytes(SECTOR)) for at in range(0, BLOCK, SECTOR)):
            problems.append(f"block {number}: foreign data")
    return problems


def main(arguments):
    vmm, guest = arguments
    if not has_kvm():
        return SKIPPED
    seed = int(os.environ.get("VMM_KILL_SEED", time.time()))
    print(f"seed {seed}")
    chance, failed, total = random.Random(seed), 0, 0
    for number in range(int(os.environ.get("VMM_KILL_ROUNDS", "16"))):
        with scratch_folder("killed") as folder:
            setting = Setting(vmm, guest, folder)
            more = ",direct=true" if number % 3 == 0 else ""
            before = setting.files()
            out, left = kill_one(setting, number, chance.random() * 0.15, number % 2, more)
            blocks = told(out)
            problems = check_image(folder / "disk0", set(blocks), number)
            if left:
                problems.append(f"processes left: {left}")
            if setting.files() != before:
                problems.append(f"files left: {setting.files()}")
            if not blocks:
                problems.append(f"nothing was flushed: {out[-300:]}")
            if problems:
                failed += 1
                print(f"FAIL round {number}{more}: {problems[:10]}", flush=True)
            total += len(blocks)
    print(f"{total} flushed blocks were looked for, {failed} rounds failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    run_main(main)
