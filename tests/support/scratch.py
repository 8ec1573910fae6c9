"""Temporary folders, child processes and terminal modes that do not outlive us."""
import contextlib
import ctypes
import os
import shutil
import signal
import sys
import tempfile
import termios
from pathlib import Path

PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def scratch_folder(name):
    """A folder under $TMPDIR that is gone afterwards, unless VMM_KEEP_SCRATCH is set."""
    folder = Path(tempfile.mkdtemp(prefix=f"vmm-{name}-"))
    try:
        yield folder
    finally:
        if os.environ.get("VMM_KEEP_SCRATCH"):
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def terminal_restored():
    """Whatever happens inside, the terminal on standard input is as before afterwards."""
    modes = termios.tcgetattr(0) if os.isatty(0) else None
    try:
        yield
    finally:
        if modes:
            with contextlib.suppress(termios.error):  # the terminal may be gone
                termios.tcsetattr(0, termios.TCSADRAIN, modes)


def write_all(descriptor, data):
    """Write all of @data."""
    while data:
        data = data[os.write(descriptor, data) :]


def die_with_parent():
    """For subprocess's preexec_fn: the child is killed when we end, however that happens."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def exit_on_signals():
    """Turn SIGTERM and SIGHUP into an exception, so that everything is cleaned up on the way out."""

    def leave(number, _frame):
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def run_main(main):
    """Run @main(arguments) as a program: its return value is the exit status; Ctrl-C gives 130."""
    exit_on_signals()
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os._exit(1)
