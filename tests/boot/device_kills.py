"""Linux does not notice that the processes of its devices are killed again and again.

usage: python3 -m boot.device_kills VMM CPUS

fio writes and verifies on disks of every kind, while the entropy device is read and lines go through the console, with one
port or with three. VMM_KILLS says how often (10), VMM_KILL_SECONDS after how long no further boot begins (no limit).
For each type of device: kills, and the pauses.
"""
import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

from boot.checks import Report, check_file_system, check_files, check_status, read_text, require_native_kernel, sums_in
from boot.native import FIO_GLOBAL, PRELUDE, RUN_FIO, NativeGuest, check_result
from jail.kills import Peer
from jail.pauses import Killer, Watch
from jail.streams import Broken, gaps, known_stream, repeats, same
from support.control import Client
from support.rootdisk import debian_root, make_ext4
from support.scratch import run_main, scratch_folder

JOBS = 2  # of fio on each disk
FILE_MIB = 24
INPUT_BYTES = 32 << 20
LINE_BYTES = 64  # at most, of a write of the guest's shell
BUFFER_BYTES = 4096  # of Linux's console for input
SLOWEST = 300  # latencies that the guest prints for each disk
PAUSE_S = (0.0, 0.06)
SETTLE_S = 0.02  # each process may do something first: eight in a row that do nothing are given up
RATE = 8  # kills in a second, about
LOAD_SECONDS = (5, 40)  # in one boot
PATIENCE_S = 60  # for all the rest of it
DISKS = {"block1": ("direct", ",direct"), "block2": ("cached", ""), "block3": ("packed", ",packed=on")}
TYPES = {
    "block1": "disk, file with O_DIRECT", "block2": "disk, file in the page cache", "block3": "disk, packed rings",
    "block4": "disk, null", "rng": "entropy", "console": "console, one port", "ports": "console, three ports",
}  # fmt: skip


def fio_jobs():
    """All files are written once, then at random with a checksum in each block, all disks at once."""
    lines, fill = [], True
    for stage in ("fill", "random"):
        for name, _ in DISKS.values():
            for number in range(JOBS):
                lines += [f"[{stage}-{name}-{number}]", f"directory=/mnt/{name}", f"filename=file-{name}-{number}"]
                lines += ["rw=write", "do_verify=0"] if fill else ["rw=randwrite", "time_based", "runtime=@SECONDS@"]
                lines += ["stonewall"] if number == 0 and name == "direct" else []
                lines += [] if fill or number else [f"write_lat_log=/tmp/{name}"]
        fill = False
    lines += ["[null]", "filename=/dev/vde", "verify=0", "rw=randrw", "time_based", "runtime=@SECONDS@", "write_lat_log=/tmp/null"]
    head = [line for line in FIO_GLOBAL.splitlines() if not line.startswith(("directory=", "size="))]
    return "\n".join([*head, f"size={FILE_MIB}M", "iodepth=16", "log_avg_msec=10", "log_max_value=1", *lines]) + "\n"


MOUNTS = "".join(f"mkdir -p /root/mnt/{name}\nmount -t ext4 /dev/vd{'bcd'[i]} /root/mnt/{name}\n" for i, (name, _) in enumerate(DISKS.values()))
# A port may be opened once: reader and writer share a descriptor.
CONSOLE = {
    "console": """
exec 8<>/dev/hvc0
stty raw -echo <&8
put_lines a >&8 &
writers=$!
""",
    "ports": f"""
tries=200
while [ ! -c /dev/port-a ] || [ ! -c /dev/port-b ] || [ ! -c /dev/port-c ]; do
	tries=$((tries - 1))
	[ $tries -gt 0 ]
	usleep 50000
	for port in /sys/class/virtio-ports/*; do
		[ ! -e $port/name ] || ln -sf /dev/${{port##*/}} /dev/port-$(cat $port/name)
	done
done
exec 8<>/dev/port-a 9<>/dev/port-b
put_lines a >&8 &
writers=$!
put_lines b >&9 &
writers="$writers $!"
cat <&9 >/dev/port-c &
head -c {INPUT_BYTES} <&8 | sha256sum >/input &
writers="$writers $!"
""",
}

# The loops start no programs: this kernel is apt to trip over its own patch in execve().
JOB = f"""{PRELUDE}
mount -t tmpfs tmpfs /root/mnt
{MOUNTS}
put_lines() {{
	n=0
	while [ -e /running ]; do echo "$1 $n"; n=$((n + 1)); done
	echo $n >/lines-$1
}}
touch /running
@CONSOLE@
dd if=/dev/hwrng of=/root/tmp/random bs=16 2>/dev/null &
random=$!
echo LOAD
{RUN_FIO.replace("@JOBS@", fio_jobs())}
echo DONE
rm /running
wait $writers
kill $random
wait $random || true
sleep 1
echo "random=$(head -c 2000000 /root/tmp/random | wc -c)"
echo "zipped=$(head -c 2000000 /root/tmp/random | gzip | wc -c)"
for name in direct cached packed null; do
	echo "slow $name $(cat /root/tmp/${{name}}_clat.*.log | cut -d, -f2 | sort -nr | head -n {SLOWEST} | tr '\n' ' ')"
done
for letter in a b; do [ ! -e /lines-$letter ] || echo "lines $letter $(cat /lines-$letter)"; done
[ ! -e /input ] || sed 's/-/input/' /input
echo 3 >/proc/sys/vm/drop_caches
for name in direct cached packed; do
	(cd /root/mnt/$name && sha256sum file-*)
	umount /root/mnt/$name
done
"""
KERNEL_COMPLAINTS = re.compile(r"^.*(?:is not a head|out of range|I/O error|EXT4-fs error).*$", re.MULTILINE)


def is_ours(pid):
    """Does the process @pid descend from this one?"""
    while pid > 1:
        if pid == os.getpid():
            return True
        status = (Path("/proc") / str(pid) / "stat").read_text()
        pid = int(status.rsplit(")", 1)[1].split()[1])
    return False


def find_devices(names):
    """The processes of devices below us, by name."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "comm").read_text().strip() in names and is_ours(int(entry.name)):
                found[(entry / "comm").read_text().strip()] = int(entry.name)
    return found


class LinuxKiller(Killer):
    """Kills devices of the guest that runs, while it is at its load."""

    def __init__(self, kills, work):
        super().__init__(kills, TYPES)
        self.output, self.socket, self.client, self.console = work / "load.output", work / "control", None, "console"

    def kill_one(self):
        output = read_text(self.output)
        if "LOAD" not in output or "DONE" in output or not self.has_share():
            self.client = None
            time.sleep(0.05)
            return
        self.client = self.client or Client(self.socket)
        watch = Watch(self.client)
        time.sleep(random.uniform(*PAUSE_S))
        name, pid = random.choice(sorted(find_devices([name for name in TYPES if name != "ports"]).items()))
        before = watch.restarts(name)
        os.kill(pid, signal.SIGKILL)
        tally = self.tallies[self.console if name == "console" else name]
        tally.kills += 1
        self.left -= 1
        outage_us = watch.outage_us(name, before, self.is_over)
        if outage_us:
            tally.outages_us.append(outage_us)
        time.sleep(SETTLE_S)


def check_entropy(output):
    """Bytes came, and gzip finds nothing in them that repeats; a list of problems."""
    sizes = {name: int(size) for name, size in re.findall(r"^(random|zipped)=(\d+)", output, re.MULTILINE)}
    if sizes.get("random") and sizes["zipped"] >= sizes["random"]:
        return []
    return [f"entropy: {sizes}"]


class LinuxLoad:
    """One boot of Linux with everything busy."""

    def __init__(self, guest, killer, cpus, has_ports):
        self.guest, self.killer, self.cpus, self.has_ports = guest, killer, cpus, has_ports
        self.work, self.peer, self.input = guest.work, None, os.urandom(INPUT_BYTES)
        self.images = {name: self.work / f"{name}.img" for name, _ in DISKS.values()}

    def prepare(self):
        """New disks, and the far ends of the console."""
        (self.work / "empty").mkdir(exist_ok=True)
        for image in self.images.values():
            make_ext4(image, self.work / "empty", (JOBS * FILE_MIB + 32) << 20)
        for name in ("a.out", "c.out", "b.socket", "control"):
            (self.work / name).unlink(missing_ok=True)
        (self.work / "a.in").write_bytes(self.input)
        if self.has_ports:
            self.peer = Peer(self.work / "b.socket", pace_s=0.01)

    def options(self):
        chosen = ["-c", str(self.cpus), "-s", self.work / "control", "-r", debian_root(("fio",))]
        for name, more in DISKS.values():
            chosen += ["--block", f"path={self.images[name]},queues={JOBS}{more}"]
        chosen += ["--block", f"format=null,size=64M,queues={JOBS}"]
        first = f"type=file,path={self.work}/a.out"
        if not self.has_ports:
            return [str(word) for word in [*chosen, "--console", first]]
        consoles = (f"{first},input={self.work}/a.in,name=a", f"type=unix,path={self.work}/b.socket,name=b", f"type=file,path={self.work}/c.out,name=c")
        return [str(word) for word in [*chosen, *(word for keys in consoles for word in ("--console", keys))]]

    def run(self, report, seconds):
        console = self.killer.console = "ports" if self.has_ports else "console"
        self.killer.begin_boot()
        before = {name: tally.kills for name, tally in self.killer.tallies.items()}
        job = JOB.replace("@CONSOLE@", CONSOLE[console]).replace("@SECONDS@", str(seconds))
        status, result, output = self.guest.boot("load", {"early": job}, self.options(), self.prepare)
        kills = {name: tally.kills - before[name] for name, tally in self.killer.tallies.items()}
        logs = self.guest.logs("load")
        problems = check_status(status, 0) + check_result(result)
        problems += KERNEL_COMPLAINTS.findall(read_text(self.work / "load.console")) + check_entropy(output)
        report.case(f"{sum(kills.values())} kills, {TYPES[console]}: the guest saw none", problems, logs)
        for name, image in self.images.items():
            sums = {path: digest for path, digest in sums_in(output).items() if name in path}
            folder = self.work / f"files-{name}"
            report.case(f"{name}: the disk from outside", check_file_system(image) + check_files(image, "/", sums, folder))
            shutil.rmtree(folder, ignore_errors=True)
        report.case("the console from outside", self.check_console(output, kills["ports"]), logs)
        self.note_waits(output, kills)

    def check_console(self, output, kills):
        """What came out against what went in; a list of problems."""
        counts = {letter: int(count) for letter, count in re.findall(r"^lines (\w) (\d+)", output, re.MULTILINE)}
        wanted = {letter: b"".join(b"%c %d\n" % (ord(letter), n) for n in range(count)) for letter, count in counts.items()}
        try:
            same(wanted["a"], (self.work / "a.out").read_bytes())
            if self.has_ports:
                self.check_ports(output, wanted["b"], kills)
        except (Broken, KeyError) as problem:
            return [f"console: {problem}"]
        return []

    def check_ports(self, output, wanted, kills):
        self.peer.end()
        twice = repeats(wanted, bytes(self.peer.got), LINE_BYTES)
        lost = gaps(self.peer.sent, (self.work / "c.out").read_bytes(), BUFFER_BYTES)
        print(f"    socket: {len(twice)} writes repeated, {len(lost)} reads lost, of {kills} kills")
        if len(twice) > kills or len(lost) > kills:
            raise Broken(f"{len(twice)} repeats and {len(lost)} gaps")
        if sums_in(output).get("input") != hashlib.sha256(self.input).hexdigest():
            raise Broken("the guest read other input than there was")

    def note_waits(self, output, kills):
        """fio's slowest completions in 10 ms: of each disk as many as it was killed."""
        slow = dict(re.findall(r"^slow (\w+) ([\d ]+)", output, re.MULTILINE))
        for name, tally in self.killer.tallies.items():
            words = slow.get({"block4": "null"}.get(name, DISKS.get(name, ("",))[0]), "").split()
            tally.waits_us += [int(ns) // 1000 for ns in words[: kills[name]]]


def main(arguments):
    vmm, cpus = arguments
    report = Report()
    wanted = int(os.environ.get("VMM_KILLS", "10"))
    deadline = time.monotonic() + float(os.environ.get("VMM_KILL_SECONDS", "inf"))
    with scratch_folder("device-kills") as work:
        guest = NativeGuest(vmm, require_native_kernel(), work)
        killer = LinuxKiller(wanted, work)
        killer.start()
        boots = 0
        try:
            while (killer.left > 0 and time.monotonic() < deadline) or boots < 2:
                if killer.problem or report.failures:
                    break
                seconds = max(LOAD_SECONDS[0], min(LOAD_SECONDS[1], killer.left // RATE))
                guest.limit_s = PATIENCE_S + 4 * seconds
                LinuxLoad(guest, killer, int(cpus), boots % 2 == 1).run(report, seconds)
                boots += 1
        finally:
            killer.is_over.set()
            killer.join()
        report.case(f"{killer.total()} kills in {boots} boots", [str(killer.problem)] if killer.problem else [])
        killer.report(TYPES)
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
