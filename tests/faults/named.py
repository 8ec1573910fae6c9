"""Whatever the user names, it is opened on a host that has nothing left: who is to blame, and what is to be done?

usage: python3 -m faults.named VMM GUEST

Each file of a table is opened in a run in which strace makes that one call fail. A limit, or want of memory or room, is
the host's fault: exit status 1, and the remedy. A name that is wrong is the user's: exit status 2, and "check".
"""
import shutil
import sys

from faults.ends import adopt_orphans, run_below_strace
from support.needs import SKIPPED, has_kvm, has_program
from support.scratch import run_main, scratch_folder

HOST, USAGE = 1, 2
# Error, exit status, a word of the remedy.
ERRORS = (
    ("EMFILE", HOST, "RLIMIT_NOFILE"),
    ("EMFILE", HOST, "ulimit -n"),
    ("ENFILE", HOST, "fs.file-max"),
    ("ENOMEM", HOST, "memory"),
    ("EIO", HOST, "dmesg"),
    ("ENOENT", USAGE, "check"),
    ("EACCES", USAGE, ""),
)


def table(folder, guest):
    """What is named, the word of it that the line must have, the file whose opening fails, the arguments."""
    for name in ("initrd", "acpi", "bios", "disk", "input"):
        (folder / name).write_bytes(bytes(65536))
    for name in ("serial", "console"):
        (folder / name).write_bytes(b"")
    (folder / "vm.json").write_text("{}")
    kernel = folder / "kernel"
    shutil.copy(guest, kernel)
    sink = ("--serial", "type=sink")
    return (
        ("kernel", "kernel", kernel, (*sink, kernel)),
        ("initrd", "--initrd", folder / "initrd", (*sink, "--initrd", folder / "initrd", kernel)),
        ("table", "--acpi-table", folder / "acpi", (*sink, "--acpi-table", folder / "acpi", kernel)),
        ("firmware", "--bios", folder / "bios", (*sink, "--bios", folder / "bios")),
        ("disk", "--block", folder / "disk", (*sink, "--block", f"path={folder}/disk", kernel)),
        ("serial port", "--serial", folder / "serial", ("--serial", f"type=file,path={folder}/serial", kernel)),
        ("its input", "--serial", folder / "input", ("--serial", f"type=sink,input={folder}/input", kernel)),
        ("console", "--serial", folder / "console", (*sink, "--console", f"type=file,path={folder}/console", kernel)),
        ("configuration", "--config", folder / "vm.json", (*sink, "--config", folder / "vm.json", kernel)),
    )


def problems(vmm, row, error, status, remedy):
    """What is wrong with the end of a run in which the file of @row cannot be opened."""
    _, word, path, arguments = row
    options = ["-P", path, "-e", "trace=openat", "-e", f"inject=openat:error={error}"]
    end = run_below_strace(options, [vmm, "run", "--disable-sandbox", *arguments])
    found = end.problems(ends=(status,))
    found += [f"no word of {w!r}: {end.err}" for w in (word, str(path), remedy) if w not in end.err]
    return found


def main(arguments):
    vmm, guest = arguments
    if not (has_program("strace") and has_kvm()):
        return SKIPPED
    adopt_orphans()
    failed = runs = 0
    with scratch_folder("named") as folder:
        for row in table(folder, guest):
            for error, status, remedy in ERRORS:
                found = problems(vmm, row, error, status, remedy)
                runs += 1
                failed += bool(found)
                if found:
                    print(f"FAIL {row[0]} {error}: {found}", flush=True)
    print(f"{runs} runs, {failed} ended badly")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    run_main(main)
