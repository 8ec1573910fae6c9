"""The tests that want /dev/kvm (label guest), run in the emulated host: for machines that have none.

usage: python3 -m emulated.guest BUILD [PATTERN]

BUILD is a build's folder; the tests are those that ctest knows there, chosen by a regular expression: "." for nearly
all of them, half an hour.  They run in a small Debian of their own, as in the host's bare initramfs the jail of devices
is refused.
"""
import json
import os
import re
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from boot.checks import Report, read_text, show_log
from emulated.host import EmulatedHost, Outcome
from support.kernel import debian_kernel
from support.needs import SKIPPED
from support.rootdisk import copy_disk, debian_root, make_ext4
from support.scratch import run_main, scratch_folder

PACKAGES = ("python3", "strace", "libcmocka0", "libjansson4", "liburcu8", "liburing2", "libnuma1")
SOURCE = Path(__file__).resolve().parents[2]
WORK_BYTES = 4 << 30  # of the disk with the tests and all that they make
MEMORY_MIB = 3072
HOSTS = 3
PATIENCE = 3  # times as long as on a real machine
# One measures, one wants more memory; the attacks are so slow there that somebody seems to spin.
LEFT_OUT = ("guest/bench", "guest/memory-above-4g", "guest/attack")
# Without a pattern: what takes minutes there, and what other tests of the list nearly say as well.
SLOW = ("guest/options", "guest/ends", "guest/torture", "guest/attack", "guest/kills", "vhost/", "faults/")

RUN = """#!/bin/sh
root=/debian
mkdir -p $root
for disk in /sys/block/vd?; do
	case $(cat $disk/serial) in
	debian) mount -t ext4 /dev/${disk##*/} $root || exit 9 ;;
	work) work=/dev/${disk##*/} ;;
	esac
done
mkdir -p $root/vmm $root/host
mount -t ext4 $work $root/vmm || exit 9
mount --bind $root/vmm/tmp $root/tmp
for folder in dev proc sys; do mount --rbind /$folder $root/$folder; done
mount -t tmpfs tmpfs $root/run
# run NAME SECONDS COMMAND...: leave its output and exit status in /out, and send both back
run() {
	name=$1 seconds=$2
	shift 2
	started=$(cut -d. -f1 /proc/uptime)
	unshare -m sh -c 'cd /debian && pivot_root . host && exec chroot . env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
		"$@" </dev/null' sh timeout -s KILL $seconds "$@" >/out/$name.output 2>&1
	echo $? >/out/$name.status
	(cd /out && save $name.*)
	echo "$name: status $(cat /out/$name.status) after $(($(cut -d. -f1 /proc/uptime) - started)) s"
}
"""


@dataclass
class GuestTest:
    """One test as ctest knows it."""

    name: str
    command: list
    environment: list
    seconds: float

    @property
    def file(self):
        return self.name.replace("/", "-")


def tests_of(build, pattern):
    """The tests of @build that want KVM and match @pattern."""
    command = ["ctest", "-L", "guest", "--show-only=json-v1"]
    listed = subprocess.run(command, cwd=build, capture_output=True, text=True, check=True).stdout
    found = []
    for test in json.loads(listed)["tests"]:
        properties = {item["name"]: item["value"] for item in test["properties"]}
        command, environment = test["command"], list(properties.get("ENVIRONMENT", []))
        if Path(command[0]).name == "cmake":  # cmake -E env NAME=VALUE... COMMAND
            words = command[3:]
            while re.match(r"\w+=", words[0]):
                environment.append(words.pop(0))
            command = words
        if Path(command[0]).name.startswith("python3"):
            command = ["python3", *command[1:]]
        is_chosen = re.search(pattern, test["name"]) if pattern else not test["name"].startswith(SLOW)
        if is_chosen and (test["name"] not in LEFT_OUT or pattern == test["name"]):
            found.append(GuestTest(test["name"], command, environment, float(properties.get("TIMEOUT", 120))))
    return found


class GuestTests:
    """The session: a disk with all that the tests need, the host, and what came out."""

    def __init__(self, build, tests, work):
        self.build, self.tests, self.work = build, tests, work
        self.results = work / "results"
        self.host = EmulatedHost(debian_kernel("6.1"), memory_mib=MEMORY_MIB)
        self.disks = {"debian": work / "debian.img", "work": work / "work.img"}
        for serial, path in self.disks.items():
            self.host.add_disk(path, serial)

    def _inside(self, word):
        """A word of a command line as it is in there."""
        return word.replace(str(self.build), "/vmm/build").replace(str(SOURCE), "/vmm/source")

    def _prepare(self):
        """Fresh disks: an earlier host may have died in the middle of a write."""
        copy_disk(debian_root(PACKAGES), self.disks["debian"])
        tree = self.work / "tree"
        shutil.copytree(SOURCE / "tests", tree / "source/tests")
        (tree / "tmp").mkdir()
        for word in {word for test in self.tests for word in test.command}:
            if word.startswith(f"{self.build}/") and Path(word).is_file():
                target = tree / "build" / Path(word).relative_to(self.build)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(word, target)
        make_ext4(self.disks["work"], tree, WORK_BYTES)
        shutil.rmtree(tree)

    def _script(self, tests):
        lines = [RUN]
        for test in tests:
            words = map(self._inside, [*test.environment, *test.command])
            lines.append(shlex.join(["run", test.file, str(int(test.seconds * PATIENCE)), "env", *words]))
        return "\n".join(lines) + "\n"

    def run(self):
        """Run what has no result yet, in one host if it lives so long; the outcome lists the hosts."""
        outcome = Outcome(results=self.results)
        todo = self.tests
        while todo and len(outcome.attempts) < HOSTS:
            self._prepare()
            self.host.run_once(self._script(todo), outcome, 300 + PATIENCE * sum(test.seconds for test in todo))
            if not outcome.has_no_answer():
                break
            todo = [test for test in todo if not read_text(self.results / f"{test.file}.status")]
        return outcome

    def examine(self, report):
        """A case for each test."""
        for test in self.tests:
            status = read_text(self.results / f"{test.file}.status").strip()
            output = self.results / f"{test.file}.output"
            if status == str(SKIPPED):
                print(f"skipped {test.name}: {''.join(read_text(output).strip().splitlines()[-1:])}")
                continue
            problems = [] if status == "0" else [f"it ended with {status or 'nothing'}, not 0"]
            report.case(test.name, problems, [output])


def main(arguments):
    build, pattern = Path(arguments[0]).resolve(), "".join(arguments[1:2])
    if os.access("/dev/kvm", os.R_OK | os.W_OK) and not pattern:
        print("this machine has /dev/kvm: they run there (give a pattern to run some of them here all the same)")
        return SKIPPED
    tests = tests_of(build, pattern)
    report = Report()
    started = time.monotonic()
    with scratch_folder("guest-tests") as work:
        session = GuestTests(build, tests, work)
        outcome = session.run()
        for attempt in outcome.attempts:
            print(f"emulated host: {attempt}")
        if outcome.has_no_answer():
            show_log(work / "results/console.log", 40)
        session.examine(report)
    print(f"{len(tests)} tests in {time.monotonic() - started:.0f} s")
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
