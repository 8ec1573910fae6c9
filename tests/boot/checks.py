"""What the boot tests look at after a guest has gone, and how they say what they found."""
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from support.cache import file_sha256
from support.native_kernel import native_kernel

PATH = {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "LC_ALL": "C"}

CLOCK_SECONDS = 600  # a guest's clock may be off by so much

# Run in the guest, on a root disk it may write to: what earlier boots left must be whole, new files are added.
WRITE_FILES = """
set -e
mkdir -p /root/data && cd /root/data
if [ -e SUMS ]; then sha256sum --quiet -c SUMS; fi
boot=$(ls | wc -l)
for size in 1 4096 70001 1500000; do head -c $size /dev/urandom >file-$boot-$size; done
sha256sum file-* >SUMS
sync
echo "release=$(uname -r)"
echo "cpus=$(nproc)"
echo "siblings=$(cat /sys/devices/system/cpu/cpu0/topology/thread_siblings_list)"
echo "package=$(cat /sys/devices/system/cpu/cpu0/topology/package_cpus_list)"
echo "time=$(date +%s)"
echo "msi=$(grep virtio /proc/interrupts | grep -c MSI)"
dmesg | grep -E 'I/O error|EXT4-fs error|BUG:|WARNING:|Call Trace' || true
cat SUMS
"""

READ_ONLY = """
set -e
echo "release=$(uname -r)"
! touch /etc/should-not-be-writable 2>/dev/null
cd / && find usr/bin -type f | head -n 40 | xargs sha256sum >/dev/null
"""


class Report:
    """Collects the results of one test program: a line for each case, an exit status at the end."""

    def __init__(self):
        self.failures = 0
        self.cases = 0

    def case(self, name, problems, details=()):
        """One case: it passed if there are no @problems; else they are shown with the files in @details."""
        self.cases += 1
        print(f"{'FAILED' if problems else 'ok'} {name}", flush=True)
        if not problems:
            return
        self.failures += 1
        for problem in problems:
            print(f"    {problem}")
        for path in details:
            show_log(path)

    def exit_status(self):
        print(f"{self.cases - self.failures} of {self.cases} cases passed")
        return 1 if self.failures or not self.cases else 0


def skip(reason):
    """Leave with the status that ctest takes for "skipped"; the last line is the reason."""
    print(reason)
    sys.exit(77)


def require_native_kernel():
    """The kernel of VMM_NATIVE_KERNEL; leaves with the reason where this test cannot be without it."""
    try:
        kernel = native_kernel()
    except OSError as err:
        print(f"VMM_NATIVE_KERNEL={os.environ['VMM_NATIVE_KERNEL']}: {err.strerror}")
        sys.exit(1)
    if not kernel:
        skip("VMM_NATIVE_KERNEL names no kernel that this host's KVM runs natively")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        skip("there is no /dev/kvm that we may use")
    return kernel


def read_text(path):
    """The text of a file; nothing when there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def show_log(path, lines=25):
    """The end of a log, indented."""
    text = read_text(path).splitlines()
    if text:
        print(f"    --- {Path(path).name}")
        for line in text[-lines:]:
            print(f"    | {line}")


def check_file_system(image):
    """e2fsck from outside, which must find nothing; a list of problems."""
    done = subprocess.run(["e2fsck", "-fn", image], env=PATH, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [f"e2fsck: status {done.returncode}: {done.stdout.strip()}"]


def check_files(image, folder, sums, work):
    """The files in @folder of the ext4 @image against the checksums @sums (name to SHA-256); a list of problems."""
    work.mkdir()
    command = ["debugfs", "-R", f"rdump {folder} {work}", str(image)]
    subprocess.run(command, env=PATH, capture_output=True, check=True)
    found = {path.name: file_sha256(path) for path in (work / Path(folder).name).glob("file-*")}
    problems = [f"{name} on the disk differs from what the guest wrote" for name in sums if found.get(name) != sums[name]]
    problems += [f"{name} is on the disk, but the guest did not report it" for name in found if name not in sums]
    return problems or ([] if sums else ["the guest reported no files"])


def sums_in(output):
    """The checksums in a guest's output."""
    return {name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", output, re.MULTILINE)}


def check_answers(output, release, cpus, started):
    """What the guest, booted some time after @started, said about itself; a list of problems."""
    answers = dict(re.findall(r"^(\w+)=(.*)$", output, re.MULTILINE))
    problems = []
    if answers.get("release") != release:
        problems.append(f"the guest runs {answers.get('release')}, not {release}")
    if answers.get("cpus") != str(cpus):
        problems.append(f"the guest sees {answers.get('cpus')} CPUs, not {cpus}")
    if not started - CLOCK_SECONDS < int(answers.get("time", 0)) < time.time() + CLOCK_SECONDS:
        problems.append(f"the guest's clock says {answers.get('time')}")
    if int(answers.get("msi", 0)) == 0:
        problems.append("no virtio interrupt is an MSI")
    for trouble in re.findall(r"^.*(?:I/O error|EXT4-fs error|BUG:|WARNING:|Call Trace).*$", output, re.MULTILINE):
        problems.append(f"in the guest's kernel log: {trouble.strip()}")
    return problems


def check_status(actual, expected):
    return [] if actual == expected else [f"vmm's exit status is {actual}, not {expected}"]
