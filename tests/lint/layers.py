#!/usr/bin/env python3
"""Every #include points up the layer table, and every library header stays in its own folder.

usage: layers.py ROOT      exit status 1 when a rule is broken, one line each
"""
import pathlib
import re
import sys

# A layer and what it may include: docs/architecture.md, "Layers".
MAY_INCLUDE = {
    "base": set(),
    "sync": {"base"},
    "mem": {"base", "sync"},
    "iouring": {"base", "sync"},
    "bus": {"base", "sync"},
    "virtio": {"base", "sync", "mem", "bus"},
    "dev": {"base", "sync", "mem", "iouring", "bus", "virtio"},
    "arch": {"base", "sync", "mem", "bus"},
    "vm": {"base", "sync", "mem", "iouring", "bus", "virtio", "dev", "arch"},
    "cli": {"base", "vm", "arch"},
}

# A folder and its layer; the longest match wins.
FOLDERS = {
    "src/base": "base", "sync": "sync", "src/mem": "mem", "iouring": "iouring",
    "src/bus": "bus", "virtio": "virtio", "virtio/dev": "dev", "src/dev": "dev",
    "arch": "arch", "src/vm": "vm", "src/cli": "cli",
}

# System headers with one home.
LIBRARY_HOMES = [
    (re.compile(r"linux/kvm\.h"), ["arch/"]),
    (re.compile(r"liburing"), ["iouring/", "include/iouring/"]),
    (re.compile(r"urcu"), ["sync/", "include/sync/"]),
    (re.compile(r"numa(if)?\.h"), ["src/mem/"]),
    (re.compile(r"seccomp\.h"), ["src/vm/"]),
    (re.compile(r"jansson\.h"), ["src/vm/", "src/cli/"]),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def layer_of(path):
    """The layer a file belongs to, None outside the layers."""
    if path.startswith("include/"):
        return path.split("/")[1]
    best = max((f for f in FOLDERS if path.startswith(f + "/")), key=len, default=None)
    return FOLDERS.get(best)


def broken_rules(root, path):
    """One message for each include of the file that breaks a rule."""
    layer = layer_of(path)
    if layer is None or path.startswith("arch/x86_64/guest/"):
        return
    for bracket, name in INCLUDE.findall((root / path).read_text(encoding="utf-8")):
        first = name.split("/")[0]
        if bracket == '"' and "/" in name and first in MAY_INCLUDE:
            if first != layer and first not in MAY_INCLUDE[layer]:
                yield f"{path}: layer {layer} may not include {name} (layer {first})"
        elif bracket == "<":
            for pattern, homes in LIBRARY_HOMES:
                if pattern.search(name) and not any(path.startswith(h) for h in homes):
                    yield f"{path}: <{name}> belongs to {', '.join(homes)}"


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    messages = []
    checked = 0
    for folder in ["include", "src", "sync", "iouring", "virtio", "arch"]:
        for file in sorted((root / folder).rglob("*.[ch]")):
            path = file.relative_to(root).as_posix()
            messages += broken_rules(root, path)
            checked += 1
    print("\n".join(messages) if messages else f"{checked} files keep to the layers")
    return 1 if messages or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
