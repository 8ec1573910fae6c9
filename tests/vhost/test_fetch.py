#!/usr/bin/env python3
"""What apt has not fetched, though it said so, is an error that callers know, not the end of an iteration. Status 0 or 1."""
import os
import sys
import tempfile
from pathlib import Path

from support.debian import Apt, AptError

PLAN = "Inst passt (0.0~git2-1 Debian:unstable [amd64])\nInst libc6 (1:2.41-3 Debian:unstable [amd64])\n"


class CutShort(Apt):
    """An apt whose plan is PLAN, and whose folder of archives is ours."""

    def __init__(self, home):
        super().__init__("sid")
        self.home = Path(home)
        self.is_fresh = True

    def run(self, *command, cwd=None):
        return PLAN if "--simulate" in command else ""


def error_of(call, *arguments):
    try:
        return call(*arguments)
    except AptError as error:
        return str(error)


def main():
    failed = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_CACHE_HOME"] = home  # for locks
        archives = Path(home) / "cache/archives"
        archives.mkdir(parents=True)
        apt = CutShort(home)
        (archives / "passt_0.0~git2-1_amd64.deb").touch()
        half = error_of(apt.download_with_dependencies, ("passt",))
        if "libc6_1%3a2.41-3" not in half:
            failed.append(f"half of a set: {half}")
        (archives / "libc6_1%3a2.41-3_amd64.deb").touch()
        whole = error_of(apt.download_with_dependencies, ("passt",))
        if not isinstance(whole, list) or len(whole) != 2:
            failed.append(f"a whole set: {whole}")
        if "passt_*.deb" not in error_of(apt.download, "passt", home):
            failed.append("a single package")
    for what in failed:
        print(f"FAILED {what}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
