"""QEMUs to test with and to compare with: the one that is installed, and the newest that Debian has.

The newest is unpacked from Debian's unstable suite into a folder of the cache and runs through that folder's own
linker and libraries, so nothing of it meets the system's.
"""
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from support.cache import artefact, cache_root, key_of, note
from support.debian import Apt, unpack_all

RELEASE = "sid"
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "qemu-utils")
LIBRARIES = "usr/lib/x86_64-linux-gnu"

# What its packages bring that no virtual machine of ours asks for: half of the folder.
UNWANTED = ("usr/share/icons", "usr/share/perl", "usr/lib/x86_64-linux-gnu/perl", "usr/share/qemu/skiboot.lid", "usr/share/mime")


@dataclass(frozen=True)
class Qemu:
    """One QEMU: its version as "11.1.0", and how its programs are started."""

    version: str
    tree: Path = None  # None: what is installed

    def command(self, program="qemu-system-x86_64"):
        """The words that start @program; options follow."""
        if not self.tree:
            return [program]
        linker = self.tree / "usr/lib64/ld-linux-x86-64.so.2"
        paths = f"{self.tree / LIBRARIES}:{self.tree / LIBRARIES / 'qemu'}"
        words = [str(linker), "--library-path", paths, "--argv0", program, str(self.tree / "usr/bin" / program)]
        return words + (["-L", str(self.tree / "usr/share/qemu")] if program.startswith("qemu-system") else [])

    def firmware(self, name):
        """The path of the firmware file @name, which QEMU is told to boot."""
        root = self.tree or Path("/")
        found = [root / "usr/share" / folder / name for folder in ("qemu", "seabios") if (root / "usr/share" / folder / name).exists()]
        return found[0] if found else None


def version_of(command):
    """The version that the QEMU program started by @command says it has."""
    text = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"version (\d+(?:\.\d+)+)", text)[1]


def installed_qemu():
    """The QEMU that is installed, None without one."""
    return Qemu(version_of(["qemu-system-x86_64"])) if shutil.which("qemu-system-x86_64") else None


def _build(folder):
    debs = Apt(RELEASE).download_with_dependencies(PACKAGES)
    note(f"unpacking {len(debs)} packages for a newer QEMU")
    with tempfile.TemporaryDirectory(prefix=".qemu-", dir=cache_root()) as work:
        tree = Path(work) / "tree"
        unpack_all(debs, tree)
        for name in UNWANTED:
            path = tree / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        tree.rename(folder / "tree")
    qemu = Qemu("", folder / "tree")
    (folder / "version").write_text(version_of(qemu.command()), encoding="utf-8")


def newest_qemu():
    """The newest QEMU of Debian, fetched when it is not in the cache."""
    folder = artefact("qemu", key_of(Path(__file__), RELEASE, *PACKAGES), _build)
    return Qemu((folder / "version").read_text(encoding="utf-8"), folder / "tree")
