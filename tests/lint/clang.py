#!/usr/bin/env python3
"""clang-format and clang-tidy over the tree.

usage: clang.py format ROOT          every C file has the form of .clang-format
       clang.py tidy ROOT BUILD      the product's files pass .clang-tidy

Exit status 77: skipped, because the tool is not here or is not the version the form is defined by.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

VERSION = "14"  # Debian 12's; another version has other ideas of the same form
PRODUCT = ("src/", "sync/", "iouring/", "virtio/", "arch/")


def has_tool(name):
    """Whether @name is here, in the version that counts."""
    if not shutil.which(name):
        print(f"skipped: {name} is not installed")
        return False
    text = subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout
    if not re.search(rf"version {VERSION}\.", text):
        print(f"skipped: {name} is not version {VERSION}")
        return False
    return True


def c_files(root):
    """All C files of the tree, build folders left out."""
    folders = ["include", "bench", "tests", *(p.rstrip("/") for p in PRODUCT)]
    return [f for folder in folders for f in sorted((root / folder).rglob("*.[ch]"))]


def check_format(root):
    files = [str(f) for f in c_files(root)]
    done = subprocess.run(["clang-format", "--style=file", "--dry-run", "-Werror", *files],
                          capture_output=True, text=True, check=False)
    wrong = sorted({line.split(":")[0] for line in done.stderr.splitlines() if "error:" in line})
    for name in wrong:
        print(f"{os.path.relpath(name, root)}: clang-format -i would change it")
    print(f"{len(files) - len(wrong)} of {len(files)} files have the form")
    return 1 if wrong or not files else 0


def check_tidy(root, build):
    commands = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    known = {os.path.relpath(c["file"], root) for c in commands}
    files = sorted(f for f in known if f.startswith(PRODUCT) and f.endswith(".c")
                   and not f.startswith("arch/x86_64/guest/"))

    def tidy(name):
        return subprocess.run(["clang-tidy", "-p", build, "--quiet", root / name],
                              capture_output=True, text=True, check=False)

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in pool.map(tidy, files):
            failed += done.returncode != 0
            if done.returncode:
                print(done.stdout)
    print(f"{len(files) - failed} of {len(files)} files pass")
    return 1 if failed or not files else 0


def main():
    what, root = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    if not has_tool(f"clang-{what}"):
        return 77
    return check_format(root) if what == "format" else check_tidy(root, pathlib.Path(sys.argv[3]))


if __name__ == "__main__":
    sys.exit(main())
