"""An initramfs archive ("newc" cpio), written without root and the same for the same input every time."""
import os
import stat
from pathlib import Path


class Cpio:
    """Collects files, then write() makes the archive.  Parents of a file are added as needed."""

    def __init__(self):
        self._entries = {}

    def add_folder(self, name, mode=0o755):
        self._add(name, stat.S_IFDIR | mode, b"")

    def add_bytes(self, name, data, mode=0o644):
        self._add(name, stat.S_IFREG | mode, data)

    def add_file(self, name, source, mode=None):
        """The contents of the file @source, with its permissions unless @mode says otherwise."""
        source = Path(source)
        self.add_bytes(name, source.read_bytes(), stat.S_IMODE(source.stat().st_mode) if mode is None else mode)

    def add_link(self, name, target):
        self._add(name, stat.S_IFLNK | 0o777, os.fsencode(target))

    def add_tree(self, name, source):
        """The folder @source with all that is in it."""
        for path in sorted(Path(source).rglob("*")):
            inner = f"{name}/{path.relative_to(source)}"
            if path.is_symlink():
                self.add_link(inner, os.readlink(path))
            elif path.is_dir():
                self.add_folder(inner)
            else:
                self.add_file(inner, path)

    def __contains__(self, name):
        return name.strip("/") in self._entries

    def _add(self, name, mode, data):
        name = name.strip("/")
        parent = os.path.dirname(name)
        if parent and parent not in self._entries:
            self.add_folder(parent)
        self._entries[name] = (mode, data)

    def write(self, path):
        """Write the archive to @path."""
        with open(path, "wb") as out:
            for inode, (name, (mode, data)) in enumerate(self._entries.items(), start=1):
                _write_entry(out, inode, name, mode, data)
            _write_entry(out, 0, "TRAILER!!!", 0, b"")
            out.write(b"\0" * (-out.tell() % 512))


def _write_entry(out, inode, name, mode, data):
    """One entry: a header of thirteen 8-digit hexadecimal numbers, the name, the data; each padded to 4 bytes."""
    raw_name = os.fsencode(name) + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    numbers = (inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(raw_name), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + raw_name
    out.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))
