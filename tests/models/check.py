#!/usr/bin/env python3
"""Check a Promela model with spin: the model as it stands must hold, and each of its BROKEN_*
variants must fail, or the model would not notice that mistake in the code either."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
CC = ["cc", "-O1", "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=1500"]


def verify(model: pathlib.Path, defines: list[str], where: pathlib.Path) -> tuple[int, str]:
    """Number of errors spin finds in all reachable states, and its report."""
    subprocess.run(["spin", *(f"-D{d}" for d in defines), "-a", str(model)], cwd=where, check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run([*CC, "-o", "pan", "pan.c"], cwd=where, check=True)
    report = subprocess.run(["./pan", "-m400000"], cwd=where, check=True, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
    if "max search depth too small" in report or "reached -DMEMLIM" in report:
        sys.exit(f"{model.name}: the search was cut short\n{report}")
    return int(re.search(r"errors: (\d+)", report)[1]), report


def main() -> int:
    model = pathlib.Path(sys.argv[1]).resolve()
    sizes = sys.argv[2:]
    if not shutil.which("spin"):
        print("spin is not installed")
        return SKIPPED
    broken = sorted(set(re.findall(r"\bBROKEN_\w+", model.read_text())))
    failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        for variant in [None, *broken]:
            defines = sizes + ([variant] if variant else [])
            errors, report = verify(model, defines, pathlib.Path(tmp))
            states = re.search(r"([\d.e+]+) states, stored", report)[1]
            is_right = (errors > 0) == bool(variant)
            print(f"{model.stem} {variant or 'as it stands'}: {errors} errors, {states} states"
                  f"{'' if is_right else '  <-- WRONG'}")
            failed += not is_right
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
