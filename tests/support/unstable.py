"""Programs of Debian's unstable suite, for tests with versions newer than the system's.

They are unpacked into a folder of the cache and run through that folder's own linker and libraries, so nothing of them
meets the system's.
"""
import shutil
import tempfile
from pathlib import Path

from support.cache import artefact, cache_root, key_of, note
from support.debian import Apt, unpack_all

RELEASE = "sid"
LINKER = "usr/lib64/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def _build(packages, folder):
    debs = Apt(RELEASE).download_with_dependencies(packages)
    note(f"unpacking {len(debs)} packages of Debian {RELEASE}")
    with tempfile.TemporaryDirectory(prefix=".unstable-", dir=cache_root()) as work:
        tree = Path(work) / "tree"
        unpack_all(debs, tree)
        shutil.rmtree(tree / "usr/share", ignore_errors=True)
        tree.rename(folder / "tree")


def unstable_command(package, program):
    """The words that start @program of @package, which is fetched when it is not in the cache; options follow.

    AptError where it cannot be fetched.
    """
    key = key_of(Path(__file__), RELEASE, package)
    tree = artefact(f"unstable-{package}", key, lambda folder: _build((package,), folder)) / "tree"
    return [str(tree / LINKER), "--library-path", str(tree / LIBRARIES), "--argv0", program, str(tree / "usr/bin" / program)]
