"""Our vhost-user client against our server: every block that is read back is compared with what was written.

usage: python3 -m vhost.client VMM CLIENT verify     all ring formats and ways to wait, with and without O_DIRECT
       python3 -m vhost.client VMM CLIENT kills      SIGKILL at random moments: nothing lost, nothing done twice
       python3 -m vhost.client VMM CLIENT command    the command's own manners

VMM_KILLS says how many kills there are for each ring format (20).
"""
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

from boot.checks import Report
from support.scratch import die_with_parent, run_main, scratch_folder
from vhost.servers import Server, serving

IMAGE_MIB = 64
LIMIT_SECONDS = 120
WORK = ["--queues", "2", "--depth", "32", "--write", "50", "--flush-every", "300", "--span-mib", "32", "--verify"]
VARIANTS = {
    "split": [],
    "packed": ["--packed"],
    "split, indirect, interrupts": ["--indirect", "--sleep", "--depth", "128"],
    "packed, indirect, interrupts": ["--packed", "--indirect", "--sleep", "--depth", "128"],
}

# Who listens ends at once, and leaves the socket to a child that ends soon.
HEIR = """
import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
if not os.fork():
    time.sleep(0.5)
"""


def start_client(client, path, *options):
    return subprocess.Popen(
        [client, "--socket", str(path), *WORK, *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent,
    )  # fmt: skip


def finish_client(process):
    """What went wrong, and the client's figures."""
    try:
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return ["the client hangs"], {}
    if process.returncode:
        return [output.strip()], {}
    return [], json.loads(output)


def make_image(folder):
    image = folder / "disk.img"
    with open(image, "wb") as out:
        out.truncate(IMAGE_MIB << 20)
    return image


def test_verify(vmm, client, report, work):
    image = make_image(work)
    for mode in ("", ",direct"):
        for name, options in VARIANTS.items():
            with serving(vmm, work / "socket", f"path={image},queues=2{mode}") as server:
                problems, figures = finish_client(start_client(client, work / "socket", "--seconds", "1", *options))
                if not problems and not figures["verified"]:
                    problems = ["nothing was verified"]
                if server.stop() != 0:
                    problems.append(f"the server ended with {server.process.returncode}")
                if (work / "socket").exists():
                    problems.append("the socket is still there")
            report.case(name + mode, problems)


def test_kills(vmm, client, report, work):
    kills = int(os.environ.get("VMM_KILLS", "20"))
    image = make_image(work)
    for name, options in VARIANTS.items():
        server = Server(vmm, work / "socket", f"path={image},queues=2")
        server.start()
        process = start_client(client, work / "socket", "--reconnect", "--seconds", str(kills * 0.1), *options)
        for _ in range(kills):
            time.sleep(random.uniform(0.02, 0.15))
            server.kill()
            server.start()
        problems, figures = finish_client(process)
        # SIGTERM may find the last one before it has begun: then it ends as any program would
        if server.stop() not in (0, -signal.SIGTERM):
            problems.append(f"the last server ended with {server.process.returncode}")
        if not problems and not figures["reconnects"]:
            problems = ["the client never noticed"]
        report.case(f"{kills} kills, {name}", problems)
        if not problems:
            print(f"    {figures['requests']} requests, {figures['verified']} verified, {figures['reconnects']} reconnects")


def expect(command, status, words):
    """Run @command, which ends by itself: what is wrong about it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    problems = [] if done.returncode == status else [f"exit status {done.returncode}, not {status}"]
    lines = done.stderr.splitlines()
    if len(lines) != 1 or words not in done.stderr:
        problems.append(f"it said {lines}, not one line with '{words}'")
    return problems


def is_hung_up(probe):
    try:
        return probe.recv(1) == b""
    except ConnectionResetError:
        return True


def test_command(vmm, client, report, work):
    path, null = work / "socket", "format=null,size=1G,queues=1"
    base = [vmm, "device", "block"]
    for what, command, words in (
        ("no device", [vmm, "device"], "say which"),
        ("unknown device", [vmm, "device", "floppy"], "unknown device"),
        ("no socket", [*base, "--block", null], "give one of the two"),
        ("two sockets", [*base, "--socket", path, "--fd", "0", "--block", null], "give one of the two"),
        ("no disk", [*base, "--socket", path], "give it once"),
        ("two disks", [*base, "--socket", path, "--block", null, "--block", null], "give it once"),
        ("bad key", [*base, "--socket", path, "--block", "path=a,colour=red"], "unknown key"),
        ("missing image", [*base, "--socket", path, "--block", "path=/nonexistent"], "No such file"),
        ("bad descriptor", [*base, "--fd", "x", "--block", null], "number of a descriptor"),
        ("descriptor of something else", [*base, "--fd", "2", "--block", null], "no Unix socket"),
        ("a file in the way", [*base, "--socket", __file__, "--block", null], "no socket"),
        ("a path too long", [*base, "--socket", "/" + 120 * "x", "--block", null], "too long"),
        ("stray argument", [*base, "--socket", path, "--block", null, "x"], "unexpected"),
    ):
        report.case(what, expect([str(word) for word in command], 2, words))
    with serving(vmm, path, null):
        command = [vmm, "device", "block", "--socket", str(path), "--block", null]
        report.case("a socket in use", expect(command, 2, "in use"))
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            probe.sendall(b"GET / HTTP/1.0\r\n\r\n")
            report.case("who speaks another protocol is hung up on", [] if is_hung_up(probe) else ["an answer"])
        problems, _ = finish_client(start_null_client(client, path))
        report.case("and the next is served", problems)
    left = work / "left"
    subprocess.run([sys.executable, "-c", HEIR, str(left)], timeout=LIMIT_SECONDS, check=True)
    with serving(vmm, left, null) as server:  # it seems to listen, at once
        while server.process.poll() is None and not server.device_pid():
            time.sleep(0.01)
        problems = [f"it ended with {server.process.returncode}"] if server.process.poll() is not None else []
        problems = problems or finish_client(start_null_client(client, left))[0]
        report.case("a socket whose last holder is about to go", problems)
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with theirs:
        process = subprocess.Popen(
            [vmm, "device", "block", "--fd", str(theirs.fileno()), "--block", null], pass_fds=[theirs.fileno()]
        )
    ours.close()
    report.case("an inherited connection ends with its frontend", [] if process.wait(LIMIT_SECONDS) == 0 else ["status"])


def start_null_client(client, path):
    return subprocess.Popen(
        [client, "--socket", str(path), "--seconds", "0.2"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent,
    )  # fmt: skip


def main(arguments):
    vmm, client, what = arguments
    tests = {"verify": test_verify, "kills": test_kills, "command": test_command}
    report = Report()
    with scratch_folder("vhost") as work:
        tests[what](vmm, client, report, work)
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
