"""What this host's /dev/kvm can do: run a stock kernel, or only the special ones."""
import ctypes
import fcntl
import json
import os
import struct
import subprocess

KVM_CREATE_VM = 0xAE01
KVM_CREATE_VCPU = 0xAE41
KVM_GET_MSRS = 0xC008AE88

# A KVM in software answers to this MSR; it interprets ring 0, which a stock kernel does not survive.
SOFTWARE_KVM_MSR = 0x4B564D11


def _has_software_msr():
    """Ask a throw-away vCPU; OSError when there is no usable /dev/kvm."""
    descriptors = []
    try:
        descriptors.append(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
        descriptors.append(fcntl.ioctl(descriptors[0], KVM_CREATE_VM, 0))
        descriptors.append(fcntl.ioctl(descriptors[1], KVM_CREATE_VCPU, 0))
        # struct kvm_msrs: count, padding; then one entry: index, reserved, value
        request = ctypes.create_string_buffer(struct.pack("<IIIIQ", 1, 0, SOFTWARE_KVM_MSR, 0, 0), 24)
        return fcntl.ioctl(descriptors[2], KVM_GET_MSRS, request) == 1
    except OSError as error:
        if len(descriptors) == 3:
            return False  # the MSR is refused: an ordinary KVM
        raise error
    finally:
        for descriptor in reversed(descriptors):
            os.close(descriptor)


def _kind_by_vmm(vmm):
    """What `vmm bench --host` says: "hardware", "software", "none"; None when it does not say."""
    try:
        done = subprocess.run([vmm, "bench", "--host", "--json"], capture_output=True, text=True, timeout=20, check=False)
        return json.loads(done.stdout)["kvm"]["kind"]
    except (OSError, ValueError, LookupError, TypeError, subprocess.TimeoutExpired):
        return None


def why_no_stock_kernel(vmm):
    """Why this host cannot run a stock kernel natively, in words; None when it can."""
    if not os.path.exists("/dev/kvm"):
        return "there is no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no permission to use /dev/kvm (membership in the group kvm would give it)"
    kind = _kind_by_vmm(vmm)
    if kind is None:
        try:
            kind = "software" if _has_software_msr() else "hardware"
        except OSError as error:
            return f"/dev/kvm does not work here: {error.strerror}"
    return None if kind == "hardware" else f"this host's KVM is {kind} and cannot run a stock kernel"
