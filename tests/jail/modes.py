"""--sandbox=require, auto and off on hosts that give a jail all it wants, a part, or nothing; as root and as a user.

usage: python3 -m jail.modes VMM GUEST

Where nothing is missing, all three run the guest without a word. Where something is, `require` ends with status 1 and
names it, `auto` runs the guest and names it, `off` runs it without a word. And with `auto` every device can be given
another program (upgrade), which has the jail that the host gives.
"""
import os
import shutil
import subprocess
import sys
import time

from faults.ends import PATIENCE_S, Setting, run, wait_until_gone
from support.hosts import OrdinaryUser, no_namespaces, no_user_namespaces
from support.needs import SKIPPED, has_kvm
from support.scratch import die_with_parent, run_main, scratch_folder

TEST = "blk.sizes-direct,rng"
DEVICES = ("block0", "block1", "rng", "console")
USER, OTHERS = "user namespaces", "pid, mount, ipc, uts and cgroup namespaces"
NET, ROOT = "a network namespace", "an empty root"
ALL = (USER, OTHERS, NET, ROOT)
NO_MORE = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'


class Host:
    """How @command is run, and what a jail lacks there."""

    def __init__(self, name, lacks=(), prepare=None, wrap=(), is_user=False):
        self.name, self.lacks, self.prepare, self.wrap, self.is_user = name, ", ".join(lacks), prepare, list(wrap), is_user


def in_user_namespace(*more):
    """A command in front of another: it is root in a user namespace, as in a container of an ordinary user."""
    return ("unshare", "--user", "--map-root-user", *more)


def as_user(prepare=None):
    """An ordinary user of such a host."""

    def both():
        OrdinaryUser.become()
        if prepare:
            prepare()

    return both


HOSTS = (
    Host("as it is"),
    Host("no user namespaces, by seccomp", (USER,), no_user_namespaces()),
    Host("no namespaces at all", ALL, no_namespaces()),
    Host("root of a user namespace", (), wrap=in_user_namespace()),
    Host("root of a user and a mount namespace", (), wrap=in_user_namespace("--mount")),
    Host("user.max_user_namespaces=0", (USER,), wrap=(*in_user_namespace("sh", "-c", NO_MORE, "sh"),)),
    Host("the same with its own mounts", (USER,), wrap=(*in_user_namespace("--mount", "sh", "-c", NO_MORE, "sh"),)),
    Host("a user in group kvm", (), as_user(), is_user=True),
    Host("a user, no user namespaces", ALL, as_user(no_user_namespaces()), is_user=True),
    Host("a user, no namespaces at all", ALL, as_user(no_namespaces()), is_user=True),
)


def told(mode, lacks):
    """The end to be had: exit status, and the line on standard error."""
    if not lacks or mode == "off":
        return 0, ""
    if mode == "auto":
        return 0, f"vmm: sandbox: this host refuses devices: {lacks}; they run without\n"
    return 1, f"vmm: --sandbox=require: this host refuses devices: {lacks}; allow it, or say --sandbox=auto\n"


def upgrade(setting, host, options):
    """Give each device of a machine a copy of vmm to run: a list of what was said instead of yes."""
    socket, copy = setting.folder / "socket", shutil.copy(setting.vmm, setting.folder / "copy")
    command = [*host.wrap, *map(str, setting.command("hang", vmm_options=[*options, "-s", socket]))]

    def prepare():
        die_with_parent()
        if host.prepare:
            host.prepare()

    def say(*words):
        done = subprocess.run([setting.vmm, *words, socket], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        return [done.stderr] if done.returncode else []

    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          start_new_session=True, preexec_fn=prepare) as machine:  # fmt: skip
        try:
            deadline = time.monotonic() + PATIENCE_S
            while say("status") and machine.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            problems = [line for name in DEVICES for line in say("device", "restart", name, "--binary", copy)]
            problems += say("stop")
            problems += [] if machine.wait(PATIENCE_S) == 0 else [f"status {machine.returncode}"]
        finally:
            machine.kill()
        return problems + (["processes left"] if wait_until_gone(machine.pid) else [])


def check(vmm, guest, host, mode):
    """What is wrong with the end of a run: a list of lines; None where it cannot be tried."""
    with scratch_folder("modes") as folder:
        setting = Setting(vmm, guest, folder)
        options = [f"--sandbox={'auto' if mode == 'upgrade' else mode}"]
        if host.is_user:
            user = OrdinaryUser(folder)
            if not user.has_kvm:
                return None
            options += ["--kvm-device", str(user.kvm)]
            for file in folder.iterdir():
                if file != user.kvm:
                    user.give(file)
            setting.vmm, setting.guest = user.copy(vmm, folder), user.copy(guest, folder)
        if mode == "upgrade":
            return upgrade(setting, host, options)
        before = setting.files()
        end = run([*host.wrap, *setting.command(TEST, vmm_options=options)], host.prepare)
        status, line = told(mode, host.lacks)
        problems = end.problems(before=before, after=setting.files())
        if (end.status, end.err) != (status, line):
            problems.append(f"status {end.status}, not {status}; said {end.err!r}, not {line!r}")
        if status == 0 and "fail" in end.out.lower().replace("0 failed", ""):
            problems.append(f"the guest's tests: {end.out[-500:]}")
        return problems


def can_be(host):
    """Whether we can make such a host here."""
    if host.is_user and os.geteuid() != 0:
        return False
    if not host.wrap:
        return True
    probe = [*host.wrap, "true"]
    return shutil.which("unshare") and subprocess.run(probe, capture_output=True, check=False).returncode == 0


def main(arguments):
    """Every host with every mode."""
    vmm, guest = arguments
    if not has_kvm():
        return SKIPPED
    failed = 0
    for host in HOSTS:
        if not can_be(host):
            print(f"left out: {host.name}")
            continue
        for mode in ("require", "auto", "off", "upgrade"):
            problems = check(vmm, guest, host, mode)
            word = "left out" if problems is None else "FAIL" if problems else "ok"
            print(f"{word}: {host.name}, {mode} {problems or ''}", flush=True)
            failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    run_main(main)
