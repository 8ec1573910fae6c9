"""Artefacts kept between runs, outside the source tree.

Everything that is slow to fetch or to make (kernels, root disks, base initramfs images) is built once into a
folder of its own under ${XDG_CACHE_HOME:-~/.cache}/vmm.  A manifest with the size and the SHA-256 of each file is
checked before every use; what does not match is thrown away and built again.  Two runs at once are serialised by
a lock on the artefact.
"""
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

MANIFEST = "manifest.json"


def note(message):
    """One line of progress for the person waiting; never on stdout, which belongs to the guest."""
    print(f"dev: {message}", file=sys.stderr, flush=True)


def cache_root():
    """The cache folder, created on first use."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(base) / "vmm"
    root.mkdir(parents=True, exist_ok=True)
    return root


def file_sha256(path):
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def key_of(*parts):
    """A short name for the inputs of an artefact: strings, or paths whose contents count."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else str(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def locked(name):
    """Hold the lock called @name: one builder at a time."""
    with open(cache_root() / f".{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write_manifest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    entries = {str(path.relative_to(folder)): [path.stat().st_size, file_sha256(path)] for path in files}
    (folder / MANIFEST).write_text(json.dumps(entries, indent=1), encoding="utf-8")


def _is_intact(folder):
    try:
        entries = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all(
            (folder / name).stat().st_size == size and file_sha256(folder / name) == digest
            for name, (size, digest) in entries.items()
        )
    except (OSError, ValueError):
        return False


def artefact(name, key, build):
    """The folder of artefact @name made from the inputs @key, built by @build(folder) unless it is there intact.

    A build happens in a temporary folder beside it that is renamed when complete, so an interrupted one leaves
    nothing that could be mistaken for a result.  Older versions (another key) of the same artefact are removed.
    """
    folder = cache_root() / f"{name}-{key}"
    with locked(name):
        if folder.exists():
            if _is_intact(folder):
                return folder
            note(f"the cached {name} is damaged: making it again")
            shutil.rmtree(folder)
        work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache_root()))
        try:
            build(work)
            _write_manifest(work)
            work.chmod(0o755)
            work.rename(folder)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        for old in cache_root().glob(f"{name}-????????????"):
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)
    return folder
