"""Root disks for guests: real Debian packages unpacked onto an ext4 image, without root and without debootstrap.

The packages' own set-up scripts are not run; what a shell needs of their work (merged /usr, accounts, the linker's
cache) is done here.
"""
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from support.cache import artefact, cache_root, key_of, note
from support.debian import Apt, unpack_all

INIT = Path(__file__).parent.parent / "boot/guest/init"

BASE_PACKAGES = (
    "base-files", "base-passwd", "bash", "busybox-static", "coreutils", "dash", "e2fsprogs", "findutils", "grep",
    "gzip", "hostname", "kmod", "mount", "ncurses-base", "procps", "sed", "tar", "usr-is-merged", "util-linux",
)  # fmt: skip

MIB = 1 << 20
FREE_BYTES = 128 * MIB


def _finish(tree):
    """What the packages' set-up scripts would have done, as far as it is needed."""
    for name in ("passwd", "group"):
        shutil.copyfile(tree / f"usr/share/base-passwd/{name}.master", tree / f"etc/{name}")
    (tree / "etc/hostname").write_text("debian\n", encoding="utf-8")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost debian\n", encoding="utf-8")
    (tree / "etc/fstab").write_text("", encoding="utf-8")
    (tree / "etc/mtab").symlink_to("/proc/self/mounts")
    shell = tree / "usr/bin/sh"
    if not os.path.lexists(shell):
        shell.symlink_to("dash")
    shutil.copyfile(INIT, tree / "usr/sbin/init")
    (tree / "usr/sbin/init").chmod(0o755)
    for folder in ("dev", "proc", "sys", "run", "tmp", "mnt", "root", "var/tmp"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    subprocess.run(["/sbin/ldconfig", "-r", tree], check=True)


def _tree_bytes(tree):
    """Room for @tree on a file system of 4 KiB blocks."""
    return sum((path.lstat().st_size + 4095) // 4096 * 4096 + 512 for path in tree.rglob("*"))


def make_ext4(image, tree, size_bytes):
    """An ext4 file system in the file @image, holding @tree, all owned by root."""
    with open(image, "wb") as out:
        out.truncate(size_bytes)
    # For anybody but root, a user namespace makes their files look like root's.
    as_root = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
    options = ["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", "root", "-E", "root_owner=0:0", "-d", str(tree)]
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    subprocess.run([*as_root, "mke2fs", *options, str(image)], check=True, env=environment)


def _build(packages, folder):
    debs = Apt().download_with_dependencies(packages)
    note(f"making a root disk of {len(debs)} Debian packages")
    with tempfile.TemporaryDirectory(prefix=".root-", dir=cache_root()) as work:
        tree = Path(work)
        tree.chmod(0o755)
        unpack_all(debs, tree)
        _finish(tree)
        size_bytes = (_tree_bytes(tree) * 11 // 10 + FREE_BYTES) // MIB * MIB
        make_ext4(folder / "root.ext4", tree, size_bytes)


def debian_root(extra_packages=()):
    """The image of a small Debian root disk with @extra_packages.  Shared and cached: copy it before writing to it."""
    packages = [*BASE_PACKAGES, *extra_packages]
    name = "-".join(["root", *extra_packages])
    key = key_of(Path(__file__), INIT, *packages)
    return artefact(name, key, lambda folder: _build(packages, folder)) / "root.ext4"


def copy_disk(image, target):
    """A private copy of a disk @image, holes kept."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, target], check=True)
    Path(target).chmod(0o644)
    return Path(target)
