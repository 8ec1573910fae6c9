"""Words on the command line that need no machine: help wherever it is asked for, mistakes named as they were made.

usage: python3 -m cli.words VMM
"""
import subprocess
import sys

USAGE = 2

# what, words of the one line on standard error, arguments
MISTAKES = (
    ("one letter of several", ["-z: "], ["run", "-zq", "k"]),
    ("a letter behind one that is known", ["-z: "], ["run", "-vz", "k"]),
    ("a letter that lacks its value", ["-m: ", "value"], ["run", "k", "-vm"]),
    ("letters of a device", ["-z: "], ["device", "block", "-vz"]),
    ("letters of a command", ["-x: "], ["stop", "-xy", "s"]),
    ("a value for a switch", ["--no-smt=1: "], ["run", "--no-smt=1", "k"]),
    ("help for two commands", ["'stop'", "one command"], ["help", "run", "stop"]),
    ("help for none", ["fly", "unknown command"], ["help", "fly"]),
    ("a socket twice", ["--socket", "twice"], ["device", "block", "--socket", "a", "--socket", "b", "--block", "path=d"]),
    ("a descriptor twice", ["--fd", "twice"], ["device", "block", "--fd", "5", "--fd", "6", "--block", "path=d"]),
    ("a descriptor with a sign", ["--fd", "number"], ["device", "block", "--fd", "+5", "--block", "path=d"]),
    ("a root disk for another VM", ["--block", "root"], ["device", "block", "--socket", "a", "--block", "path=d,root"]),
    ("the host measured", ["--host", "--json"], ["bench", "--host", "--rounds", "5"]),
    ("the host drawn", ["--host", "--json"], ["bench", "--plot", "a.svg", "--host"]),
    ("quick in five rounds", ["--quick", "--rounds"], ["bench", "--rounds", "5", "--quick"]),
    ("rounds twice", ["rounds", "twice"], ["bench", "--rounds", "5", "--rounds", "6"]),
    ("rounds with a sign", ["--rounds", "1 to 25"], ["bench", "--rounds", " -18446744073709551613"]),
    ("a folder without a name", ["--dir", "value"], ["bench", "--dir", ""]),
    ("a picture without a name", ["--plot", "value"], ["bench", "--plot", ""]),
)

# what, first line on standard output, arguments
HELP = (
    ("right behind the command", "Usage: vmm run", ["run", "--help"]),
    ("behind a kernel", "Usage: vmm run", ["run", "-m", "1G", "vmlinuz", "--help"]),
    ("behind a device", "Usage: vmm device block", ["device", "block", "--help"]),
    ("behind an action", "Usage: vmm disk resize", ["disk", "resize", "--help"]),
    ("of a command that is not there yet", "Usage: vmm snapshot", ["snapshot", "x", "--help"]),
    ("as a letter", "Usage: vmm bench", ["bench", "-h"]),
    ("as a command", "Usage: vmm stop", ["help", "stop"]),
    ("alone", "Usage: vmm COMMAND", ["--help"]),
)


def run(vmm, args):
    """Status, standard output, standard error."""
    done = subprocess.run([vmm, *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def mistake_problem(vmm, words, args):
    """What is wrong with the answer to a mistake, or None."""
    status, out, err = run(vmm, args)
    missing = [word for word in words if word not in err]
    if status != USAGE or out or missing or err.count("\n") != 1:
        return f"status {status}, without {missing}: {out}{err}"
    return None


def help_problem(vmm, first, args):
    """What is wrong with the help, or None."""
    status, out, err = run(vmm, args)
    if status or err or not out.startswith(first):
        return f"status {status}: {out[:60]!r} {err}"
    return None


def main():
    """Exit status 1 if anything is not as it should be."""
    vmm, failed = sys.argv[1], 0
    problems = [(what, mistake_problem(vmm, words, args)) for what, words, args in MISTAKES]
    problems += [(f"help {what}", help_problem(vmm, first, args)) for what, first, args in HELP]
    for what, problem in problems:
        failed += problem is not None
        print(f"{'FAIL' if problem else 'ok'}   {what}{': ' + problem if problem else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
