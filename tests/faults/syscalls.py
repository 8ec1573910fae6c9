"""Each system call of a start made to fail in turn.

usage: python3 -m faults.syscalls VMM GUEST

strace records the calls of a short run, from main() to the end; each of them is then made to fail in a run of its own.
Every run must end by itself and say in one line what was wrong, unless it can do without. VMM_FAULTS=all fails each
call; otherwise of those that look alike (same call, same file or request) the first and the last.

The sandbox is off: strace makes a call fail by changing its number to -1, which seccomp sees before the kernel does. A
process with a list of system calls is ended by that instead of getting the error.
"""
import os
import re
import sys
from collections import Counter

from faults.ends import Setting, run, run_below_strace
from support.needs import SKIPPED, has_kvm, has_program
from support.scratch import run_main, scratch_folder

OPTIONS = ("--disable-sandbox",)
# Not to be failed: what cannot fail with these arguments, and what ends or begins a process.
NEVER = {
    "brk", "exit", "exit_group", "execve", "rt_sigreturn", "rt_sigprocmask", "rt_sigaction", "futex", "gettid", "getpid",
    "getppid", "getuid", "geteuid", "getgid", "getegid", "set_robust_list", "set_tid_address", "rseq", "arch_prctl",
    "restart_syscall", "sched_yield", "wait4", "waitid", "kill", "tgkill", "umask", "getrusage", "clock_nanosleep",
    # glibc ends the process when it cannot give back the stack of a thread
    "munmap",
    # liburcu ends the process when this fails after it has registered for it, which no kernel does
    "membarrier",
}  # fmt: skip
# Nor these, by what they look like: they fail only for arguments that are wrong, which would be our own mistake.
NEVER_LOOKS = {
    ("write", "eventfd"), ("read", "eventfd"), ("fcntl", "F_GETFD"),
}  # fmt: skip
# The error a call fails with; any other: EIO.
ERRORS = {
    "openat": "EMFILE", "mmap": "ENOMEM", "mprotect": "ENOMEM", "munmap": "ENOMEM", "mremap": "ENOMEM",
    "madvise": "ENOMEM", "clone": "EAGAIN", "clone3": "EAGAIN", "fork": "EAGAIN", "vfork": "EAGAIN",
    "eventfd2": "EMFILE", "signalfd4": "EMFILE", "timerfd_create": "EMFILE", "epoll_create1": "EMFILE",
    "memfd_create": "ENOMEM", "socket": "EMFILE", "socketpair": "EMFILE", "pipe2": "EMFILE", "dup": "EMFILE",
    "dup2": "EMFILE", "dup3": "EMFILE", "fcntl": "EINVAL", "ftruncate": "ENOSPC", "fallocate": "ENOSPC",
    "pwrite64": "ENOSPC", "io_uring_setup": "ENOMEM", "io_uring_register": "ENOMEM", "io_uring_enter": "ENOMEM",
    "ioctl": "EINVAL", "poll": "ENOMEM", "ppoll": "ENOMEM", "epoll_wait": "EINVAL", "unshare": "EPERM",
    "setns": "EPERM", "mount": "EPERM", "umount2": "EPERM", "pivot_root": "EPERM", "seccomp": "EINVAL",
    "prctl": "EINVAL", "prlimit64": "EPERM", "capset": "EPERM", "setresuid": "EPERM", "setresgid": "EPERM",
    "setgroups": "EPERM", "landlock_create_ruleset": "EOPNOTSUPP", "set_mempolicy": "EPERM", "mbind": "EIO",
    "sched_setaffinity": "EINVAL", "sched_getaffinity": "EINVAL", "sched_setscheduler": "EPERM",
}  # fmt: skip


def looks(name, arguments):
    """What tells one call from another of the same name."""
    if name == "ioctl":
        return re.sub(r"^[^,]*, (\w+).*", r"\1", arguments)
    if name == "fcntl":
        return "".join(re.findall(r"F_\w+", arguments)[:1])
    if name in ("openat", "access", "faccessat2", "readlink", "mount", "memfd_create", "prctl", "mmap"):
        return re.sub(r"0x[0-9a-f]+|\b\d+\b|<.*>", "", arguments.split("=")[0])
    if name == "io_uring_register":
        return "".join(re.findall(r"IORING_\w+", arguments)[:1])
    if name in ("read", "write"):
        return "eventfd" if "[eventfd]" in arguments else ""
    return ""


def parse(line):
    """Thread, call and arguments of a line of strace's, or None."""
    found = re.match(r"(\d+) +(\w+)\((.*)", line)
    return found.groups() if found else None


def record(setting, log):
    """The calls from main() on, as (name, how many-th of its thread, looks)."""
    end = run(["strace", "-f", "-y", "-o", log, *setting.command(vmm_options=OPTIONS)])
    if end.status != 0:
        raise AssertionError(f"the run that is recorded: exit status {end.status}: {end.err}")
    seen, loader, calls, cache = Counter(), {}, [], False
    for line in log.read_text(errors="replace").splitlines():
        call = parse(line)
        if not call:
            continue
        thread, name, arguments = call
        seen[thread, name] += 1
        cache = cache or "ld.so.cache" in arguments
        if not loader and cache and name == "munmap":  # the dynamic loader lets go of its cache last
            loader = {known: count for (_, known), count in seen.items()}
        elif loader:
            calls.append((name, seen[thread, name], looks(name, arguments)))
    return [(name, number, look) for name, number, look in calls if number > loader.get(name, 0)]


def chosen(calls):
    """Which of them to fail: (name, number) and looks. A number is that of a call in every thread."""
    never = {(name, number) for name, number, look in calls if name in NEVER or (name, look) in NEVER_LOOKS}
    calls = [call for call in calls if call[:2] not in never]
    if os.environ.get("VMM_FAULTS") == "all":
        return sorted({(name, number): look for name, number, look in calls}.items())
    first, last = {}, {}
    for name, number, look in calls:
        first.setdefault((name, look), number)
        last[name, look] = number
    picked = {}
    for numbers in (first, last):
        picked.update({(name, number): look for (name, look), number in numbers.items()})
    return sorted(picked.items())


def fail_one(setting, name, number):
    """A run in which the @number-th call of @name of each thread fails; what is wrong with its end."""
    before = setting.files()
    error = ERRORS.get(name, "EIO")
    inject = f"inject={name}:error={error}:when={number}"
    options = ["--seccomp-bpf", "-e", f"trace={name}", "-e", inject]
    end = run_below_strace(options, setting.command(vmm_options=OPTIONS))
    return end, end.problems(before=before, after=setting.files())


def main(arguments):
    vmm, guest = arguments
    if not (has_program("strace") and has_kvm()):
        return SKIPPED
    failed, ends = 0, Counter()
    with scratch_folder("faults") as folder:
        setting = Setting(vmm, guest, folder)
        calls = chosen(record(setting, folder / "serial"))
        for (name, number), look in calls:
            end, problems = fail_one(setting, name, number)
            ends[end.status] += 1
            if problems:
                failed += 1
                print(f"FAIL {name} {number} ({look}): {problems}\n{end.err[-2000:]}", flush=True)
            elif os.environ.get("VMM_FAULTS_SHOW"):
                print(f"ok {name} {number} ({look}): {end.status} {end.err.strip()}", flush=True)
    print(f"{len(calls)} calls failed in turn, by exit status {dict(ends)}; {failed} ended badly")
    return 1 if failed or len(calls) < 100 else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    run_main(main)
