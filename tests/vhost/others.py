"""Linux on devices that other people's programs serve, with the frontend of ours.

usage: python3 -m vhost.others VMM block     qemu-storage-daemon: fio writes and verifies, and it is replaced meanwhile
       python3 -m vhost.others VMM fs        virtiofsd: files go both ways
       python3 -m vhost.others VMM net       passt: an address by DHCP, and TCP to and from a program of the host

VMM_NATIVE_KERNEL names the kernel.
"""
import contextlib
import hashlib
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from socket import SHUT_RDWR, create_server

from boot.checks import (
    Report, check_file_system, check_files, check_status, read_text, require_native_kernel, skip, sums_in,
)
from boot.native import FILE_MIB, PRELUDE, QUEUES, RUN_FIO, WRITE_JOBS, NativeGuest, check_result, fio_seconds
from support.debian import AptError
from support.rootdisk import debian_root, make_ext4
from support.scratch import die_with_parent, run_main, scratch_folder
from support.unstable import unstable_command

START_SECONDS = 20
WAIT_SECONDS = 200
VIRTIOFSD = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")
DATA_MIB = QUEUES * FILE_MIB + 64

# The second server has a larger disk: when Linux sees that, it is on the second server.
BLOCK_JOB = f"""{PRELUDE}
mount -t ext4 /dev/vdb /root/mnt
echo "queues=$(ls /sys/block/vdb/mq | wc -l)"
{RUN_FIO.replace("@JOBS@", WRITE_JOBS)}
cd /root/mnt
sync
echo 3 >/proc/sys/vm/drop_caches
echo IDLE
while [ "$(cat /sys/block/vdb/size)" = {DATA_MIB * 2048} ]; do sleep 0.1; done
echo "size=$(cat /sys/block/vdb/size)"
echo 3 >/proc/sys/vm/drop_caches
sha256sum file-*
cd /
umount /root/mnt
"""

FS_JOB = f"""{PRELUDE}
mount -t virtiofs folder /root/mnt
cd /root/mnt
sha256sum from-host
head -c 3000000 /dev/urandom >from-guest
mkdir sub
cp from-host sub/copy
sync
sha256sum from-guest
cd /
umount /root/mnt
"""

NET_BYTES = 5_000_000
NET_JOB = f"""{PRELUDE}
cat >/lease <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
set -- $router
ip route add default via "$1" dev "$interface" onlink
echo "$1" >/router
END
chmod +x /lease
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -n -q -t 20 -T 1 -s /lease
ip addr show eth0
head -c {NET_BYTES} /dev/urandom >/from-guest
sha256sum /from-guest | sed 's| /| |'
timeout 60 nc "$(cat /router)" @PORT@ </from-guest >/from-host
sha256sum /from-host | sed 's| /| |'
"""


class Daemon:
    """A server that listens on a socket."""

    def __init__(self, socket, command):
        self.socket, self.command, self.process = socket, [str(word) for word in command], None

    def start(self):
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        limit = time.monotonic() + START_SECONDS
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"{self.command[0]} did not start: {self.process.poll()}")
            time.sleep(0.01)

    def end(self):
        self.process.kill()
        self.process.wait()


def storage_daemon(image, socket):
    return Daemon(socket, [
        "qemu-storage-daemon", "--blockdev", f"driver=file,filename={image},node-name=disk",
        "--export", f"type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path={socket},"
        "writable=on,num-queues=2",
    ])  # fmt: skip


def replace_when_idle(daemon, image, output, boot):
    """Another server, with a larger disk, once the guest says that it has nothing in flight."""
    limit = time.monotonic() + WAIT_SECONDS
    while "IDLE" not in read_text(output):
        if not boot.is_alive() or time.monotonic() > limit:
            return
        time.sleep(0.05)
    daemon.end()
    with open(image, "r+b") as handle:
        handle.truncate((DATA_MIB + 16) << 20)
    daemon.start()


def test_block(guest, report):
    image, socket = guest.work / "data.img", guest.work / "socket"
    (guest.work / "empty").mkdir()
    make_ext4(image, guest.work / "empty", DATA_MIB << 20)
    daemon = storage_daemon(image, socket)
    daemon.start()
    answer = []
    job = BLOCK_JOB.replace("@SECONDS@", str(fio_seconds()))
    options = ["-c", "2", "-r", str(debian_root(("fio",))), "--vhost-user-blk", str(socket)]
    boot = threading.Thread(target=lambda: answer.extend(guest.boot("block", {"early": job}, options)))
    boot.start()
    replace_when_idle(daemon, image, guest.work / "block.output", boot)
    boot.join()
    daemon.end()
    status, result, output = answer
    problems = check_status(status, 0) + check_result(result)
    if f"size={(DATA_MIB + 16) * 2048}" not in output:
        problems.append("the guest did not see the other server's disk")
    report.case("qemu-storage-daemon: fio, and a second server", problems, guest.logs("block"))
    print("    " + " ".join(line for line in output.splitlines() if "=" in line))
    report.case("the disk from outside", check_file_system(image) + check_files(image, "/", sums_in(output), guest.work / "files"))


def sum_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_fs(guest, report):
    program = next((path for path in VIRTIOFSD if os.access(path, os.X_OK)), None)
    if not program:
        skip("there is no virtiofsd")
    folder, socket = guest.work / "folder", guest.work / "socket"
    folder.mkdir()
    (folder / "from-host").write_bytes(os.urandom(5_000_000))
    older = program == VIRTIOFSD[1]
    share = ["-o", f"source={folder}", "-o", "cache=auto"] if older else ["--shared-dir", folder]
    daemon = Daemon(socket, [program, f"--socket-path={socket}", *share])
    daemon.start()
    options = ["-c", "2", "-r", str(debian_root()), "--vhost-user-fs", f"{socket}:folder"]
    status, result, output = guest.boot("fs", {"early": FS_JOB}, options)
    problems = check_status(status, 0) + check_result(result)
    sums = sums_in(output)
    for name in ("from-host", "from-guest"):
        path = folder / name
        if not path.exists() or sums.get(name) != sum_of(path):
            problems.append(f"{name}: guest and host see different files")
    if not problems and sum_of(folder / "sub" / "copy") != sums["from-host"]:
        problems.append("the copy differs")
    report.case("virtiofsd: files go both ways", problems, guest.logs("fs"))
    daemon.end()


def exchange(listener, data, got):
    """Take one connection: as much as @data is long goes to @got, and @data goes back."""
    with contextlib.suppress(OSError):  # whoever sees too little tells
        connection, _ = listener.accept()
        with connection:
            sender = threading.Thread(target=connection.sendall, args=(data,))
            sender.start()
            while len(got) < len(data) and (piece := connection.recv(65536)):
                got += piece
            sender.join()


def passt_command():
    """The words that start a passt that speaks vhost-user; leaves with the reason where there is none."""
    text = ""
    if shutil.which("passt"):
        help_ = subprocess.run(["passt", "--help"], capture_output=True, text=True, check=False)
        text = help_.stdout + help_.stderr
    if "vhost-user" in text:
        return ["passt"]
    try:
        return unstable_command("passt", "passt")
    except (AptError, OSError, subprocess.CalledProcessError) as error:
        skip(f"no passt that speaks vhost-user (versions since 2024_11 do), and none to be fetched: {str(error).splitlines()[0]}")


def test_net(guest, report):
    socket = guest.work / "socket"
    daemon = Daemon(socket, [*passt_command(), "--foreground", "--quiet", "--vhost-user", "--socket", socket])
    data, got = os.urandom(NET_BYTES), bytearray()
    with create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=exchange, args=(listener, data, got))
        server.start()
        daemon.start()
        job = NET_JOB.replace("@PORT@", str(listener.getsockname()[1]))
        options = ["-r", str(debian_root()), "--vhost-user-net", f"{socket},mac=02:00:00:00:00:01"]
        status, result, output = guest.boot("net", {"early": job}, options)
        listener.shutdown(SHUT_RDWR)  # for a guest that never came
        server.join(WAIT_SECONDS)
    problems = check_status(status, 0) + check_result(result)
    if "02:00:00:00:00:01" not in output or "inet " not in output:
        problems.append("the guest got no address")
    sums = sums_in(output)
    if sums.get("from-host") != hashlib.sha256(data).hexdigest():
        problems.append("the guest did not get what the host sent")
    if sums.get("from-guest") != hashlib.sha256(got).hexdigest():
        problems.append(f"the host did not get what the guest sent: {len(got)} of {NET_BYTES} bytes")
    report.case(f"passt: an address by DHCP, {NET_BYTES} bytes each way by TCP", problems, guest.logs("net"))
    daemon.end()


def main(arguments):
    vmm, what = arguments
    kernel = require_native_kernel()
    if what == "block" and not shutil.which("qemu-storage-daemon"):
        skip("there is no qemu-storage-daemon")
    report = Report()
    with scratch_folder("others") as work:
        {"block": test_block, "fs": test_fs, "net": test_net}[what](NativeGuest(vmm, Path(kernel), work), report)
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
