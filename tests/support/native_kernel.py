"""The Linux of VMM_NATIVE_KERNEL, which a software KVM runs natively, with its one known fault cured.

docs/testing.md tells of the fault: after a page fault in kernel mode that was finished on another CPU, two CPUs use the
per-CPU data of one.  In a built kernel that we know, the instruction that does it becomes a jump into the entry of an
exception that no processor raises (vector 15), and there a GS base of the kernel's is left alone.
"""
import os
import struct
from pathlib import Path

from support.cache import artefact, key_of

BASE, FILE_OFFSET = 0xFFFFFFFF81000000, 0x200000
SITE, STUB = 0xFFFFFFFF81602775, 0xFFFFFFFF81601690
WRGSBASE = bytes.fromhex("f3480faed8")
VECTOR_15 = bytes.fromhex("6a006a0f")  # push 0, push 15
SKIP_IF_NEGATIVE = bytes.fromhex("4885c07805")  # test rax, rax; js past the wrgsbase
JUMP = b"\xe9"


def _place(address):
    return address - BASE + FILE_OFFSET


def _jump(source, target):
    return JUMP + struct.pack("<i", target - (source + 5))


def _has_fault(data):
    site, stub = _place(SITE), _place(STUB)
    return data[site : site + len(WRGSBASE)] == WRGSBASE and data[stub : stub + len(VECTOR_15)] == VECTOR_15


def cured(data):
    """The kernel @data without the fault; as it is if it is another kernel."""
    if not _has_fault(data):
        return data
    result = bytearray(data)
    head = SKIP_IF_NEGATIVE + WRGSBASE
    thunk = head + _jump(STUB + len(head), SITE + len(WRGSBASE))
    result[_place(STUB) : _place(STUB) + len(thunk)] = thunk
    result[_place(SITE) : _place(SITE) + len(WRGSBASE)] = _jump(SITE, STUB)
    return bytes(result)


def native_kernel():
    """The path of a cured copy of the kernel that VMM_NATIVE_KERNEL names; None if it names none."""
    name = os.environ.get("VMM_NATIVE_KERNEL")
    if not name:
        return None
    source = Path(name)
    data = source.read_bytes()
    if not _has_fault(data):
        return name
    folder = artefact("native-kernel", key_of(Path(__file__), source), lambda work: (work / "vmlinux").write_bytes(cured(data)))
    return str(folder / "vmlinux")
