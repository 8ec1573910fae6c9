"""What the emulated host boots from: a base archive, cached, and one with what the caller wants to carry in."""
import re
import subprocess
import tempfile
from pathlib import Path

from support.cache import artefact, key_of
from support.cpio import Cpio
from support.linux_guest import BUSYBOX, add_busybox, add_modules

HERE = Path(__file__).parent
INIT = HERE / "init"
SAVE = HERE / "save"
KVM_HOLD = HERE / "kvm_hold.c"

HOST_MODULES = (
    "virtio_pci", "virtio_blk", "virtio_net", "virtio-rng", "crc32c_generic", "ext4", "kvm", "kvm-amd", "tun",
    "vhost_net", "vhost_vsock", "null_blk", "loop",
)  # fmt: skip

FOLDERS = ("dev", "proc", "sys", "tmp", "run", "mnt", "out", "newroot", "root", "etc", "sbin", "usr/bin", "usr/sbin")


def _build_base(modules, folder):
    with tempfile.TemporaryDirectory() as work:
        hold = f"{work}/kvm_hold"
        subprocess.run(["cc", "-O2", "-static", "-o", hold, KVM_HOLD], check=True)
        archive = Cpio()
        for name in FOLDERS:
            archive.add_folder(name)
        add_busybox(archive)
        add_modules(archive, modules)
        archive.add_file("sbin/kvm_hold", hold, 0o755)
        archive.add_file("sbin/save", SAVE, 0o755)
        archive.add_file("init", INIT, 0o755)
        archive.add_bytes("etc/passwd", b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
        archive.add_bytes("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        archive.write(folder / "base.cpio")


def base_image(kernel):
    """The cached base archive for a host that runs @kernel."""
    modules = kernel.modules_for(HOST_MODULES)
    key = key_of(Path(__file__), INIT, SAVE, KVM_HOLD, BUSYBOX, *modules)
    return artefact(f"host-{kernel.release}", key, lambda folder: _build_base(modules, folder)) / "base.cpio"


def libraries_of(program):
    """The shared libraries and the loader that @program needs, as the paths it looks for."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"=> (/\S+)", listing) + re.findall(r"^\s+(/\S+ld-linux\S+)", listing, re.MULTILINE)


class Cargo:
    """What is carried into the emulated host on top of the base."""

    def __init__(self):
        self.archive = Cpio()

    def add_program(self, path, target=None):
        """The program @path and its libraries; as @target, or under its own name in /usr/bin."""
        path = Path(path)
        self.archive.add_file(target or f"usr/bin/{path.name}", path, 0o755)
        for library in libraries_of(path):
            if library not in self.archive:
                self.archive.add_file(library, Path(library).resolve(), 0o755)

    def add_path(self, source, target):
        """The file or the folder @source, as @target."""
        if Path(source).is_dir():
            self.archive.add_tree(target, source)
        else:
            self.archive.add_file(target, source)

    def add_text(self, text, target, mode=0o644):
        self.archive.add_bytes(target, text.encode(), mode)

    def write(self, base, target):
        """Write the host's whole initramfs to @target: @base and then the cargo."""
        with open(target, "wb") as out:
            data = Path(base).read_bytes()
            out.write(data + b"\0" * (-len(data) % 512))
            self.archive.write(f"{target}.cargo")
            out.write(Path(f"{target}.cargo").read_bytes())
        Path(f"{target}.cargo").unlink()
