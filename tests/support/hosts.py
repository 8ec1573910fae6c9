"""Hosts of other kinds, made for one run of a program: an ordinary user, calls that are refused, fewer rights."""
import ctypes
import os
import platform
import shutil
import stat
import struct

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 24, 38, 22, 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
LOAD, JUMP_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x45, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16  # where they lie in struct seccomp_data
EPERM, ENOSYS = 1, 38
CAP_SYS_ADMIN = 21
CLONE_NEWUSER = 0x10000000
CLONE_NEW = CLONE_NEWUSER | 0x6E020000  # mount, cgroup, uts, ipc, pid, net
NEW_CALLS = {"io_uring_setup": 425, "clone3": 435}  # have the same number everywhere
CALLS = {
    "x86_64": {"clone": 56, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, **NEW_CALLS},
    "aarch64": {"clone": 220, "unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41, **NEW_CALLS},
}
NOBODY, KVM_GROUP = 65534, 4242


def compile_refusals(rules):
    """A seccomp program: @rules are (number, bits of the first argument of which one must be set or 0: always, error)."""
    code = []
    for number, bits, error in rules:
        look = [(LOAD, 0, 0, FIRST_ARGUMENT), (JUMP_SET, 0, 1, bits)] if bits else []
        code += [(LOAD, 0, 0, NUMBER), (JUMP_EQUAL, 0, len(look) + 1, number), *look]
        code.append((RETURN, 0, 0, SECCOMP_RET_ERRNO | error))
    code.append((RETURN, 0, 0, SECCOMP_RET_ALLOW))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def refuse(*rules):
    """For subprocess's preexec_fn: see compile_refusals(), with names of calls."""
    calls = CALLS[platform.machine()]
    program = compile_refusals([(calls[name], bits, error) for name, bits, error in rules])
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program, len(program))

    def prepare():
        header = struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0):
            os._exit(99)

    return prepare


def no_user_namespaces():
    """A host that forbids them."""
    return refuse(("clone", CLONE_NEWUSER, EPERM), ("unshare", CLONE_NEWUSER, EPERM), ("clone3", 0, ENOSYS))


def no_namespaces():
    """A container as most run it: no namespaces, no mounts, and root is not allowed to administer."""
    refused = [(name, CLONE_NEW, EPERM) for name in ("clone", "unshare")]
    refused += [(name, 0, EPERM) for name in ("setns", "mount", "umount2", "pivot_root")]
    install = refuse(*refused, ("clone3", 0, ENOSYS))

    def prepare():
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0)  # of an ordinary user: has not got it
        install()

    return prepare


class OrdinaryUser:
    """Somebody who is nobody but in a group that may use @folder/kvm, and owns @folder; for tests run by root.

    has_kvm is false where the file system of @folder has no device nodes.
    """

    def __init__(self, folder):
        self.kvm = folder / "kvm"
        os.mknod(self.kvm, stat.S_IFCHR | 0o660, os.stat("/dev/kvm").st_rdev)
        os.chown(self.kvm, 0, KVM_GROUP)
        os.chmod(self.kvm, 0o660)  # whatever the umask was
        self.give(folder)
        try:
            os.close(os.open(self.kvm, os.O_RDWR))
            self.has_kvm = True
        except OSError:
            self.has_kvm = False

    @staticmethod
    def give(path):
        """Make it theirs."""
        os.chown(path, NOBODY, NOBODY)

    def copy(self, path, folder):
        """A copy of a program where they may reach it."""
        return shutil.copy(path, folder)

    @staticmethod
    def become():
        """For subprocess's preexec_fn."""
        os.setgroups([KVM_GROUP])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
