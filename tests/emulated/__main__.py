"""Run a script in the emulated host:  PYTHONPATH=tests python3 -m emulated [options] SCRIPT RESULTS

The script runs as root; what it leaves in /out comes back in the folder RESULTS, with stdout.txt, dmesg.txt,
status and console.log.  Exit status: the script's; 124 timed out, 125 the host died (both after a second try).
"""
import argparse
from pathlib import Path

from emulated.host import EmulatedHost
from support.kernel import debian_kernel
from support.scratch import run_main


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script")
    parser.add_argument("results")
    parser.add_argument("--kernel", default="6.1", metavar="SERIES", help="Debian's kernel series for the host")
    parser.add_argument("--program", action="append", default=[], metavar="FILE[:TARGET]", help="carry in, with libraries")
    parser.add_argument("--add", action="append", default=[], metavar="FILE:TARGET", help="carry in a file or a folder")
    parser.add_argument("--disk", action="append", default=[], metavar="FILE:SERIAL", help="attach a disk image")
    parser.add_argument("--cpus", type=int, default=1, help="of the host")
    parser.add_argument("--memory", type=int, default=1536, metavar="MIB")
    parser.add_argument("--numa", type=int, default=1, metavar="NODES")
    parser.add_argument("--timeout", type=float, default=240, metavar="SECONDS")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the host's console")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    host = EmulatedHost(
        debian_kernel(options.kernel), options.cpus, options.memory, options.numa, verbose=options.verbose
    )
    for item in options.program:
        path, _, target = item.partition(":")
        host.cargo.add_program(path, target or None)
    for item in options.add:
        host.cargo.add_path(*item.split(":"))
    for item in options.disk:
        host.add_disk(*item.split(":"))
    outcome = host.run(Path(options.script).read_text(encoding="utf-8"), options.results, options.timeout)
    for attempt in outcome.attempts:
        print(f"emulated host: {attempt}")
    return outcome.status


if __name__ == "__main__":
    run_main(main)
