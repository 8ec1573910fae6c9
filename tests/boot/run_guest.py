"""`./dev run`: boot Debian with vmm, for a shell on this terminal or for one command.

usage: python3 -m boot.run_guest VMM [vmm options…] [-- COMMAND…]

The guest's disk is a copy that is thrown away at the end.  A command's output comes through the second serial port
and its exit status through the third, so the output is exact.  Where this host's KVM cannot run a stock kernel the
whole happens inside the emulated host.
"""
import os
import shlex
import subprocess
import sys
from pathlib import Path

from emulated.host import EmulatedHost, Terminal
from support.cache import note
from support.hostkind import why_no_stock_kernel
from support.kernel import debian_kernel
from support.linux_guest import EMULATED_PARAMETERS, base_initrd, serial_arguments, write_initrd
from support.rootdisk import copy_disk, debian_root
from support.scratch import die_with_parent, run_main, scratch_folder, terminal_restored

KERNEL_SERIES = os.environ.get("VMM_GUEST_KERNEL", "6.1")
NO_LIMIT_S = 30 * 24 * 3600


def split_arguments(arguments):
    """The vmm options and the command (None for a shell)."""
    if "--" not in arguments:
        return arguments, None
    place = arguments.index("--")
    command = " ".join(arguments[place + 1 :])
    return arguments[:place], command or None


def job_for(command):
    """The files that tell the guest what to do."""
    if command is not None:
        return {"command": command + "\n"}
    if not os.isatty(0):
        return {}
    size = os.get_terminal_size(0)
    term = shlex.quote(os.environ.get("TERM", "vt220"))
    return {"terminal": f"rows={size.lines} columns={size.columns} term={term}\n"}


def vmm_arguments(options, has_command, files):
    """vmm's command line; @files says where disk, initrd, kernel, and what the guest writes are found."""
    parameters = "quiet panic=-1" + files.get("parameters", "")
    arguments = ["run", *options, "--rwroot", files["disk"], "-i", files["initrd"], "-p", parameters]
    if has_command:
        arguments += serial_arguments(files["console"], "stdout", files["status"])
    return [*arguments, files["kernel"]]


def run_here(vmm, options, has_command, files):
    """Run vmm on this host's KVM; its exit status."""
    command = [vmm, *vmm_arguments(options, has_command, files)]
    stdin = subprocess.DEVNULL if has_command else None
    with terminal_restored(), subprocess.Popen(command, stdin=stdin, preexec_fn=die_with_parent) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait(10)
            raise


def run_emulated(vmm, options, has_command, files, work):
    """Run vmm inside the emulated host; its exit status there."""
    host = EmulatedHost(debian_kernel())
    host.cargo.add_program(vmm, "usr/bin/vmm")
    host.cargo.add_path(files["kernel"], "guest/kernel")
    host.cargo.add_path(files["initrd"], "guest/initrd")
    inner = {
        "disk": host.add_disk(files["disk"], "root"),
        "initrd": "/guest/initrd",
        "kernel": "/guest/kernel",
        "console": "/out/guest-console.log",
        "status": "/out/guest-status",
        "parameters": f" {EMULATED_PARAMETERS}",
    }
    words = shlex.join(["vmm", *vmm_arguments(options, has_command, inner)])
    script = "#!/bin/sh\nstty -F /dev/ttyS1 raw -echo\nstty -F /dev/ttyS2 raw -echo\n"
    if has_command:
        script += f"exec {words} </dev/null >/dev/ttyS1 2>/dev/ttyS2\n"
    else:
        script += f"exec setsid -c {words} </dev/ttyS1 >/dev/ttyS1 2>/dev/ttyS2\n"
    outcome = host.run(script, work / "results", NO_LIMIT_S, Terminal(interactive=not has_command))
    for name, target in (("guest-console.log", files["console"]), ("guest-status", files["status"])):
        if (work / "results" / name).exists():
            (work / "results" / name).rename(target)
    if outcome.status > 123:
        note(f"the emulated host failed: {outcome.attempts[-1]}")
        show_tail(work / "results/console.log")
    return outcome.status


def show_tail(path, lines=30):
    """The last lines of a log, on stderr."""
    if Path(path).exists():
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        print("\n".join(text.splitlines()[-lines:]), file=sys.stderr)


def exit_status(vmm_status, has_command, files):
    """The command's own status where there is one, else vmm's."""
    if not has_command:
        return vmm_status if vmm_status >= 0 else 128 - vmm_status
    try:
        return int(Path(files["status"]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        note(f"the guest did not finish the command; vmm's exit status is {vmm_status}; its console:")
        show_tail(files["console"])
        return vmm_status if vmm_status > 0 else 1


def main(arguments):
    vmm, *rest = arguments
    options, command = split_arguments(rest)
    has_command = command is not None
    kernel = debian_kernel(KERNEL_SERIES)
    reason = why_no_stock_kernel(vmm)
    with scratch_folder("run") as work:
        files = {
            "kernel": str(kernel.vmlinux),
            "initrd": str(write_initrd(work / "initrd", base_initrd(kernel), job_for(command))),
            "disk": str(copy_disk(debian_root(), work / "root.img")),
            "console": str(work / "console.log"),
            "status": str(work / "status"),
        }
        if reason:
            note(f"{reason}: running inside the emulated host (QEMU), which is slow")
            status = run_emulated(vmm, options, has_command, files, work)
        else:
            status = run_here(vmm, options, has_command, files)
        return exit_status(status, has_command, files)


if __name__ == "__main__":
    run_main(main)
