"""What options look like from inside a Linux: disks, serial ports, consoles, tables, the keyboard.

usage: python3 -m boot.native_options VMM

VMM_NATIVE_KERNEL: see native.py.
"""
import hashlib
import os
import re
import socket
import struct
import threading
import time

from boot.checks import Report, check_status, read_text, require_native_kernel
from boot.native import PARAMETERS
from cli.ends import Terminal
from support.linux_guest import base_initrd, write_initrd
from support.machine import Machine
from support.scratch import run_main, scratch_folder

MIB = 1 << 20

# Prints name=value lines on the second serial port.  Opening a port empties its receive FIFO, as on real hardware:
# what comes in first may be lost, and echoed.
INSIDE = r"""
exec 3<>/dev/ttyS2 4<>/dev/ttyS3 </dev/null >/dev/ttyS1 2>&1
stty raw -echo </dev/ttyS1
stty raw -echo <&3
stty raw -echo <&4
line_of() {
	while read -r line; do
		case $line in from*) echo "$line"; return ;; esac
	done
}
for disk in /sys/block/vd*; do
	echo "$(basename $disk)=$(cat $disk/serial) ro=$(cat $disk/ro) sectors=$(cat $disk/size)" \
		"block=$(cat $disk/queue/logical_block_size) discard=$(($(cat $disk/queue/discard_max_bytes) > 0))" \
		"queues=$(ls $disk/mq | wc -l) tags=$(cat $disk/mq/0/nr_tags) cache=$(cat $disk/queue/write_cache | tr ' ' -)"
done
echo "cmdline=$(cat /proc/cmdline)"
echo "table=$(sha256sum </sys/firmware/acpi/tables/OEMX)"
echo "consoles=$(sed 's/ .*//' /proc/consoles | sort | tr '\n' ' ')"
echo "names=$(cat /sys/class/virtio-ports/*/name | tr '\n' ' ')"
echo "input=$(line_of <&3)"
echo "third port" >&3
echo "fourth port" >&4
echo "socket=$(line_of <&4)"
for port in /sys/class/virtio-ports/*; do
	[ "$(cat $port/name)" = org.example.agent ] && echo "to the agent" >/dev/$(basename $port)
done
echo "to the console" >/dev/hvc0
stty raw -echo </dev/hvc0
stty raw -echo </dev/ttyS1
stty raw -echo <&3
stty raw -echo <&4
"""

KEYBOARD = """
stty raw -echo
echo READY
echo "keys=$(head -c 4 | hexdump -v -e '1/1 "%02x"')"
stty size | sed 's/^/size=/'
stty sane
"""


def acpi_table(signature, body):
    """A table with a right checksum."""
    head = struct.pack("<4sIBB6s8sI4sI", signature, 36 + len(body), 1, 0, b"VMMVMM", b"VMMTEST ", 1, b"TEST", 1)
    table = bytearray(head + body)
    table[9] = -sum(table) & 0xFF
    return bytes(table)


def answer_once(listener, received):
    """The far side of a serial port: say a line, take what comes."""
    connection = listener.accept()[0]
    with connection:
        connection.sendall(b"...\nfrom the socket\n")
        for data in iter(lambda: connection.recv(4096), b""):
            received.append(data)


def image(work, name):
    with open(work / name, "wb") as out:
        out.truncate(8 * MIB)
    return work / name


def test_inside(vmm, kernel, work, report):
    """One boot with many options; what the guest sees of each."""
    initrd = write_initrd(work / "initrd", base_initrd(), {"early": INSIDE})
    table = acpi_table(b"OEMX", os.urandom(100))
    (work / "table").write_bytes(table)
    (work / "input").write_text("...\nfrom a file\n")
    a, b, c, d, e = (image(work, name) for name in "abcde")
    received = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(work / "socket"))
        listener.listen()
        threading.Thread(target=answer_once, args=(listener, received), daemon=True).start()
        options = [
            "-m", "256", "-i", initrd, "--acpi-table", work / "table",
            "--block", f"path={a},id=alpha,queue-size=64,block-size=4096", "--block", f"path={b},id=bravo,ro",
            "--rwdisk", f"{c},sparse=false", "-d", d, "--rwroot", f"{e},id=root",
            "--serial", "type=sink", "--serial", "type=stdout,num=2",
            "--serial", f"type=file,num=3,path={work}/third,input={work}/input",
            "--serial", f"type=unix,num=4,path={work}/socket",
            "--console", f"type=file,name=org.example.agent,path={work}/agent",
            "--console", f"type=file,console,path={work}/hvc0",
            "-p", PARAMETERS, "-p", "first=1", "-p", "second=2", kernel,
        ]  # fmt: skip
        with Machine(vmm, options, work) as machine:
            report.case("a guest with many options", check_status(machine.wait(), 0), [work / "stderr"])
            output = machine.seen.decode(errors="replace")
    answers = dict(re.findall(r"^(\w+)=(.*?)\r?$", output, re.MULTILINE))
    rows = (
        ("vda", "alpha ro=0 sectors=16384 block=4096 discard=1 queues=1 tags=64 cache=write-back"),
        ("vdb", "bravo ro=1 sectors=16384 block=512 discard=0 queues=1 tags=256 cache=write-back"),
        ("vdc", " ro=0 sectors=16384 block=512 discard=0 queues=1 tags=256 cache=write-back"),
        ("vdd", " ro=1 sectors=16384 block=512 discard=0 queues=1 tags=256 cache=write-back"),
        ("vde", "root ro=0 sectors=16384 block=512 discard=1 queues=1 tags=256 cache=write-back"),
        ("table", hashlib.sha256(table).hexdigest() + "  -"),
        ("names", "org.example.agent "),
        ("input", "from a file"),
        ("socket", "from the socket"),
    )
    for name, wanted in rows:
        got = answers.get(name)
        report.case(f"inside: {name}", [] if got == wanted else [f"{got!r}, not {wanted!r}"])
    words = answers.get("cmdline", "").split()
    wanted = ["console=hvc0", "root=/dev/vde", "rw", "first=1", "second=2"]
    places = [words.index(word) if word in words else -1 for word in wanted]
    in_order = -1 not in places and places == sorted(places)
    report.case("inside: kernel arguments", [] if in_order else [f"{wanted} not in {words}"])
    report.case("inside: the console", [] if "hvc0" in answers.get("consoles", "") else [str(answers.get("consoles"))])
    for name, wanted in (("third", "third port\n"), ("agent", "to the agent\n")):
        got = read_text(work / name)
        report.case(f"outside: {name}", [] if got.endswith(wanted) else [f"{got!r}, not {wanted!r}"])
    got = read_text(work / "hvc0")
    report.case("outside: hvc0", [] if "to the console" in got else [repr(got)])
    report.case("outside: socket", [] if b"".join(received).endswith(b"fourth port\n") else [repr(received)])


def test_keyboard(vmm, kernel, work, report):
    """Ctrl-C and a doubled Ctrl-A reach the guest from the terminal; Ctrl-A x ends it."""
    initrd = write_initrd(work / "initrd-keys", base_initrd(), {"early": KEYBOARD})
    problems = []
    with Terminal(vmm, ["-m", "256", "-i", initrd, "-p", PARAMETERS, kernel]) as terminal:
        try:
            terminal.wait_for(b"READY")
            time.sleep(0.2)
            terminal.type(b"k\x03\x01\x01\xff")
            terminal.wait_for(b"keys=6b0301ff")
            terminal.check_end(0)
        except AssertionError as error:
            problems = [str(error)]
    report.case("the terminal's keys", problems)


def main(arguments):
    (vmm,) = arguments
    kernel = require_native_kernel()
    report = Report()
    with scratch_folder("native-options") as work:
        test_inside(vmm, kernel, work, report)
        test_keyboard(vmm, kernel, work, report)
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
