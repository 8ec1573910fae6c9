"""Debian's cloud kernels: the package unpacked, the image decompressed, the modules wanted."""
import lzma
import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from support.cache import artefact, cache_root, key_of, note
from support.debian import Apt

# Linux boot protocol, offsets into the bzImage's setup header.
SETUP_SECTS = 0x1F1
PAYLOAD_OFFSET = 0x248

# What a host or a guest of ours may want from the package; the rest of it is not kept.
MODULES = (
    "virtio_pci", "virtio_blk", "virtio_net", "virtio-rng", "virtio_console", "virtio_balloon", "virtiofs",
    "vmw_vsock_virtio_transport", "ext4", "crc32c_generic", "kvm", "kvm-intel", "kvm-amd", "tun", "vhost_net",
    "vhost_vsock", "null_blk", "loop",
)  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel: release "6.1.0-…", the bzImage, the ELF inside it, a folder with modules in order."""

    release: str
    bzimage: Path
    vmlinux: Path
    modules: Path

    def modules_for(self, names):
        """The modules (paths, in the order to load them) for @names and what they need; built-in ones are left out."""
        order = []

        def want(name):
            path = self.modules / f"{module_name(name)}.ko"
            if path.exists() and path not in order:
                for needed in module_needs(path.read_bytes()):
                    want(needed)
                order.append(path)

        for name in names:
            want(name)
        return order


def module_name(name):
    """A module's name as the kernel writes it."""
    return re.sub(r"\.ko.*$", "", name).replace("-", "_")


def module_needs(data):
    """The modules that the module in @data says it depends on (its .modinfo)."""
    found = re.search(rb"\0depends=([^\0]*)\0", data)
    return [name for name in found[1].decode().split(",") if name] if found else []


def decompress(data):
    """@data unpacked, whichever of the kernel's compressions it is in; what follows the stream is ignored."""
    if data.startswith(b"\x7fELF"):
        return data
    if data.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor().decompress(data)
    if data.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31).decompress(data)
    for magic, tool in ((b"\x28\xb5\x2f\xfd", ["zstd", "-dcq"]), (b"\x02\x21\x4c\x18", ["lz4", "-dcq"])):
        if data.startswith(magic):
            # The size that follows the stream makes the tool fail at the very end, with all the data out.
            return subprocess.run(tool, input=data, capture_output=True, check=False).stdout
    raise ValueError(f"unknown compression: starts with {data[:4].hex()}")


def extract_vmlinux(bzimage):
    """The ELF image inside the bytes of a @bzimage."""
    setup_bytes = ((bzimage[SETUP_SECTS] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", bzimage, PAYLOAD_OFFSET)
    elf = decompress(bzimage[setup_bytes + offset : setup_bytes + offset + length])
    if not elf.startswith(b"\x7fELF"):
        raise ValueError("the payload is not an ELF image")
    return elf


def _keep_modules(tree, wanted, folder):
    """Copy the modules @wanted and all they need from the unpacked @tree to @folder, decompressed."""
    available = {module_name(path.name): path for path in tree.rglob("*.ko*")}
    todo = [module_name(name) for name in wanted]
    while todo:
        name = todo.pop()
        target = folder / f"{name}.ko"
        if name in available and not target.exists():
            data = available[name].read_bytes()
            target.write_bytes(decompress(data))
            todo += map(module_name, module_needs(target.read_bytes()))


def _build(series, folder):
    with tempfile.TemporaryDirectory(prefix=".kernel-", dir=cache_root()) as work:
        apt = Apt()
        package = apt.download(apt.newest_kernel(series), work)
        note(f"unpacking {package.name}")
        tree = Path(work) / "tree"
        subprocess.run(["dpkg-deb", "-x", package, tree], check=True)
        image = next(tree.glob("boot/vmlinuz-*"))
        shutil.copyfile(image, folder / "bzImage")
        (folder / "vmlinux").write_bytes(extract_vmlinux(image.read_bytes()))
        (folder / "release").write_text(image.name.removeprefix("vmlinuz-"), encoding="utf-8")
        (folder / "modules").mkdir()
        _keep_modules(tree / "lib/modules", MODULES, folder / "modules")


def debian_kernel(series="6.1"):
    """Debian's newest cloud kernel of @series, fetched and unpacked when it is not in the cache."""
    folder = artefact(f"kernel-{series}", key_of(Path(__file__)), lambda work: _build(series, work))
    release = (folder / "release").read_text(encoding="utf-8")
    return Kernel(release, folder / "bzImage", folder / "vmlinux", folder / "modules")
