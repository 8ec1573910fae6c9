"""A Linux guest of ours: its initrd, and the job it is given.

The initrd is two archives in a row: one made once per kernel (busybox, modules, an init), and a small one made for
each run that holds the job.  Output comes back over the second serial port and the exit status over the third, so
neither mixes with kernel messages.
"""
import shutil
import subprocess
from pathlib import Path

from support.cache import artefact, key_of
from support.cpio import Cpio

BUSYBOX = Path("/bin/busybox")
INITRD_INIT = Path(__file__).parent.parent / "boot/guest/initrd-init"
GUEST_MODULES = ("virtio_pci", "virtio_blk", "virtio-rng", "virtio_console", "crc32c_generic", "ext4")

# Spares an emulated machine seconds of calibration, self-tests and mitigations; harmless elsewhere.
EMULATED_PARAMETERS = (
    "mitigations=off nokaslr no_timer_check tsc=reliable random.trust_cpu=on cryptomgr.notests audit=0"
)


def add_busybox(archive):
    """Put busybox into @archive, with a name in /bin for each of its programs."""
    archive.add_file("bin/busybox", BUSYBOX, 0o755)
    for name in subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox":
            archive.add_link(f"bin/{name}", "busybox")


def add_modules(archive, modules):
    """Put the kernel @modules into /modules of @archive, with a file "order" that lists them."""
    for path in modules:
        archive.add_file(f"modules/{path.name}", path, 0o644)
    archive.add_bytes("modules/order", "".join(f"{path.stem}\n" for path in modules).encode())


def _build_initrd(modules, target):
    archive = Cpio()
    for folder in ("bin", "dev", "proc", "sys", "root", "modules"):
        archive.add_folder(folder)
    add_busybox(archive)
    add_modules(archive, modules)
    archive.add_file("init", INITRD_INIT, 0o755)
    archive.write(target)


def base_initrd(kernel=None):
    """The cached first archive for @kernel; without one, for a kernel that has everything built in."""
    modules = kernel.modules_for(GUEST_MODULES) if kernel else []
    name = f"initrd-{kernel.release}" if kernel else "initrd-builtin"
    key = key_of(Path(__file__), INITRD_INIT, BUSYBOX, *modules)
    return artefact(name, key, lambda folder: _build_initrd(modules, folder / "initrd")) / "initrd"


def write_initrd(target, base, job):
    """Write an initrd to @target: the archive @base and then the files of @job, a dict from name to text."""
    archive = Cpio()
    for name, text in job.items():
        archive.add_bytes(f"job/{name}", text.encode())
    shutil.copyfile(base, target)
    archive.write(f"{target}.job")
    with open(target, "ab") as out, open(f"{target}.job", "rb") as tail:
        out.write(b"\0" * (-out.tell() % 512))
        shutil.copyfileobj(tail, out)
    Path(f"{target}.job").unlink()
    return Path(target)


def serial_arguments(console, output, status):
    """vmm's options for a guest with a command: its kernel's console, the command's output and its exit status.

    @output is "stdout" or a path; the other two are paths.
    """
    output_type = "type=stdout,num=2" if output == "stdout" else f"type=file,num=2,path={output}"
    return [
        "--serial", f"type=file,num=1,console,path={console}",
        "--serial", output_type,
        "--serial", f"type=file,num=3,path={status}",
    ]  # fmt: skip
