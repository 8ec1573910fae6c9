"""The jail of `vmm device block`: what its process has left, hosts that refuse parts of it, and the death of the process.

usage: python3 -m vhost.jail VMM CLIENT TRESPASSER
"""
import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

from boot.checks import Report
from support.hosts import no_namespaces
from support.scratch import die_with_parent, run_main, scratch_folder
from vhost.client import VARIANTS, expect, finish_client, make_image, start_client
from vhost.servers import Server, serving

KILLS = 6  # one after the other: fewer than it takes to be given up
PATIENCE_S = 20
FLUSH = 4  # VIRTIO_BLK_T_FLUSH
REFUSED = "a network namespace, an empty root"


def wait_for(what, seconds=PATIENCE_S):
    """The first true value of @what()."""
    limit = time.monotonic() + seconds
    while not (value := what()):
        if time.monotonic() > limit:
            raise TimeoutError("it does not come")
        time.sleep(0.005)
    return value


def jail_of(pid):
    """What is wrong with the jail of process @pid, when it serves."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    wanted = {"NoNewPrivs": "1", "Seccomp": "2", "CapEff": 16 * "0", "CapPrm": 16 * "0", "CapBnd": 16 * "0"}
    problems = [f"{name} is {status[name]}" for name, value in wanted.items() if status[name] != value]
    if status["NSpid"].split()[-1] != "1":
        problems.append("it has no pid namespace of its own")
    if os.listdir(f"/proc/{pid}/root"):
        problems.append("its root is not empty")
    for space in ("user", "mnt", "net", "ipc", "uts", "cgroup"):
        if os.readlink(f"/proc/{pid}/ns/{space}") == os.readlink(f"/proc/self/ns/{space}"):
            problems.append(f"it shares the {space} namespace with the host")
    return problems


def is_confined(pid):
    """It has entered its list of system calls, the last thing that it does before it serves."""
    return "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text()


def test_jail(vmm, report, work):
    keys = f"path={make_image(work)},queues=2"
    with serving(vmm, work / "socket", keys) as server:
        pid = wait_for(server.device_pid)
        wait_for(lambda: is_confined(pid))
        problems = jail_of(pid)
        if server.stop() != 0:
            problems.append(f"it ended with {server.process.returncode}")
        if Path(f"/proc/{pid}").exists():
            problems.append("the device's process is still there")
        report.case("all of it", problems)
    for option in ("--sandbox=off", "--disable-sandbox"):
        with serving(vmm, work / "socket", keys, option) as server:
            report.case(option, ["it has a process more"] if server.device_pid() else [])


def test_place(vmm, report, work):
    """Names below the folder it was started in, though making the jail leads through other roots."""
    make_image(work)
    keys, name = "path=disk.img,queues=1", "below"
    with serving(os.path.abspath(vmm), name, keys, wrap=("env", "--chdir", str(work))) as server:
        pid = kill_device(server)
        wait_for(lambda: server.device_pid() not in (None, pid))
        problems = [] if server.stop() == 0 else [f"it ended with {server.process.returncode}"]
        if (work / name).exists():
            problems.append("it left its socket")
        report.case("a socket below the working folder", problems)


def test_hosts(vmm, client, report, work):
    """@vmm where there are no namespaces."""
    command = [vmm, "device", "block", "--socket", str(work / "socket"), "--block", f"path={make_image(work)},queues=2"]
    unable = no_namespaces()

    def prepare():
        die_with_parent()
        unable()

    done = subprocess.run(
        [*command, "--sandbox=require"], capture_output=True, text=True, timeout=PATIENCE_S, preexec_fn=prepare, check=False
    )
    problems = [] if done.returncode == 1 else [f"exit status {done.returncode}, not 1"]
    if REFUSED not in done.stderr or len(done.stderr.splitlines()) != 1:
        problems.append(f"it said {done.stderr}")
    if (work / "socket").exists():
        problems.append("it left its socket")
    report.case("--sandbox=require where it cannot be", problems)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=prepare) as process:
        wait_for((work / "socket").exists)
        problems, _ = finish_client(start_client(client, work / "socket", "--seconds", "0.2", "--reconnect"))
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE_S)[1]
    if REFUSED not in said or process.returncode:
        problems.append(f"it ended with {process.returncode} and said {said}")
    report.case("--sandbox=auto there", problems)
    report.case("a mode that is none", expect([*command, "--sandbox=perhaps"], 2, "give auto, require or off"))


def test_lists(vmm, client, trespasser, report, work):
    """@trespasser has the server and its worker make a call that is on neither list."""
    preload = ("env", f"LD_PRELOAD={trespasser}")
    command = [vmm, "device", "block", "--socket", str(work / "socket"), "--block", "format=null,size=1G,queues=1"]
    done = subprocess.run([*preload, *command], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    problems = [] if done.returncode == 1 else [f"exit status {done.returncode}, not 1"]
    if "listener: system call socket (" not in done.stderr:
        problems.append(f"it said {done.stderr}")
    report.case("a call that is not on the list", problems)
    with serving(vmm, work / "socket", f"path={make_image(work)},queues=2", "--seccomp-log-failures", wrap=preload) as server:
        pid = wait_for(server.device_pid)
        wait_for(lambda: is_confined(pid))
        problems, _ = finish_client(start_client(client, work / "socket", "--seconds", "0.2", "--sleep"))
        if server.device_pid() != pid:
            problems.append("its process was replaced")
        if server.stop() != 0:
            problems.append(f"it ended with {server.process.returncode}")
        report.case("--seccomp-log-failures lets it pass", problems)


def kill_device(server, former=None):
    """Kill the process that has the device, another than @former, unless all is over; which it was."""

    def next_one():
        pid = server.device_pid()
        return server.process.poll() is not None or (pid != former and pid)

    pid = wait_for(next_one)
    if pid is not True:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pid


def test_deaths(vmm, client, report, work):
    """Its process is killed under load: the next one takes over, each request completes exactly once."""
    keys = f"path={make_image(work)},queues=2"
    for name in ("split", "packed, indirect, interrupts"):
        with serving(vmm, work / "socket", keys) as server:
            process = start_client(client, work / "socket", "--reconnect", "--seconds", "2.5", *VARIANTS[name])
            pid = None
            for _ in range(KILLS):
                server.wait_busy()
                time.sleep(random.uniform(0, 0.05))
                pid = kill_device(server, pid)
            problems, figures = finish_client(process)
            if not problems and not figures["reconnects"]:
                problems = ["the client never noticed"]
            if server.stop() != 0:
                problems.append(f"it ended with {server.process.returncode}")
            report.case(f"{KILLS} deaths, {name}", problems)


def kill_in_stop(process, pid):
    """Kill device process @pid of @process when that has been told to stop, and waits for it; its exit status."""

    def descriptors():
        return len(os.listdir(f"/proc/{process.pid}/fd"))

    before = descriptors()
    os.kill(pid, signal.SIGSTOP)
    process.terminate()
    wait_for(lambda: descriptors() < before)  # it has let go of the other
    os.kill(pid, signal.SIGKILL)
    return process.wait(PATIENCE_S)


def test_stop(vmm, report, work):
    """Its process is killed when it is to stop: no failure, unless nobody can go on with what it had in flight."""
    disk = "format=null,size=1G,queues=1"
    with serving(vmm, work / "socket", disk) as server:
        pid = wait_for(server.device_pid)
        wait_for(lambda: is_confined(pid))
        status = kill_in_stop(server.process, pid)
        problems = [] if status == 0 else [f"it ended with {status}"]
        if (work / "socket").exists():
            problems.append("it left its socket")
        report.case("killed while it stops", problems)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = Server(vmm, None, disk, descriptors=[theirs.fileno()])
        server.command = [vmm, "device", "block", "--fd", str(theirs.fileno()), "--block", disk]
        server.start()
        pid = wait_for(server.device_pid)
        wait_for(lambda: is_confined(pid))
        status = kill_in_stop(server.process, pid)
        report.case("the same with an inherited connection", [] if status == 1 else [f"it ended with {status}"])


def test_budget(vmm, report, work):
    """One that dies again and again is given up, with status 1 and no socket left; also where who starts it ignores ends."""
    ignoring = ("env", "--ignore-signal=CHLD")
    with serving(vmm, work / "socket", "format=null,size=1G,queues=1", wrap=ignoring) as server:
        pid = None
        while pid is not True:
            pid = kill_device(server, pid)
        problems = [] if server.process.wait(PATIENCE_S) == 1 else [f"exit status {server.process.returncode}, not 1"]
        if (work / "socket").exists():
            problems.append("it left its socket")
        report.case("given up after many deaths", problems)


def flushes_of(client, socket):
    """Write 4 MiB again and again and flush after each; what the client says of a request that fails."""
    command = [client, "--socket", str(socket), "--queues", "1", "--depth", "1", "--bs", "4096", "--span-mib", "4"]
    command += ["--sequential", "--write", "100", "--flush-every", "1025", "--seconds", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.stderr.strip() if done.returncode else ""


def test_lost_writes(vmm, client, report, work):
    """
    A disk below the image is full for a while, so writes that were taken are lost. The kernel tells that once, and
    the process that it told dies: the next one knows all the same.
    """
    small, failed = work / "small", f"request of type {FLUSH}: status 1"
    mounts = (
        f"mount -t tmpfs -o size=16m none {small} && head -c 14M /dev/zero >{small}/ballast && "
        f"truncate -s 64M {small}/ext4 && mke2fs -q -F -t ext4 -O ^has_journal {small}/ext4 && mkdir {small}/on && "
        f"mount -o loop {small}/ext4 {small}/on && truncate -s 16M {small}/on/disk.img"
    )
    wrap = ("env", f"PATH={os.environ['PATH']}:/usr/sbin:/sbin", "unshare", "-m", "sh", "-c", f'{mounts} && exec "$@"', "sh")
    small.mkdir()
    if os.geteuid() != 0 or subprocess.run([*wrap, "true"], capture_output=True, check=False).returncode:
        print("left out: lost writes need root, mke2fs and a loop device")
        return
    with serving(vmm, work / "socket", f"path={small}/on/disk.img,queues=1", wrap=wrap) as server:
        said = [flushes_of(client, work / "socket")]
        os.unlink(f"/proc/{server.process.pid}/root/{small}/ballast")
        pid = kill_device(server)
        wait_for(lambda: server.device_pid() not in (None, pid))
        said.append(flushes_of(client, work / "socket"))
        problems = [f"the client said '{words}', not '{failed}'" for words in said if failed not in words]
        report.case("what one process lost the next one knows", problems)


def main(arguments):
    vmm, client, trespasser = arguments
    report = Report()
    with scratch_folder("vhost-jail") as work:
        test_jail(vmm, report, work)
        test_place(vmm, report, work)
        test_hosts(vmm, client, report, work)
        test_lists(vmm, client, trespasser, report, work)
        test_deaths(vmm, client, report, work)
        test_stop(vmm, report, work)
        test_budget(vmm, report, work)
        test_lost_writes(vmm, client, report, work)
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
