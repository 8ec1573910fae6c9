"""What the emulated host owes its users even when it dies: the results so far, and the next host goes on.

usage: python3 -m emulated.test_host
"""
from boot.checks import Report, check_status, read_text
from emulated.host import HOST_DIED, EmulatedHost, Outcome
from support.kernel import debian_kernel
from support.scratch import run_main, scratch_folder

LIMIT_SECONDS = 240

PANICS = """#!/bin/sh
echo first >/out/first
save first
seq 100000 >/out/second
save second first
echo lost >/out/lost
echo c >/proc/sysrq-trigger
sleep 1000
"""

ENDS = """#!/bin/sh
echo again >/out/first
save first
echo third >/out/third
echo "said on stdout"
exit 7
"""


def difference(path, wanted):
    """What is wrong about a file that came back; nothing when it is @wanted."""
    got = read_text(path)
    return [] if got == wanted else [f"{path.name} is {got[:40]!r}, not {wanted[:40]!r}"]


def main(_arguments):
    report = Report()
    with scratch_folder("emulated-host") as work:
        results = work / "results"
        outcome = Outcome(results=results)
        host = EmulatedHost(debian_kernel())
        host.run_once(PANICS, outcome, LIMIT_SECONDS)
        problems = [] if outcome.status == HOST_DIED else [f"status {outcome.status}, not that of a dead host"]
        problems += difference(results / "first", "first\n")
        problems += difference(results / "second", "".join(f"{number}\n" for number in range(1, 100001)))
        problems += ["what was not saved came back"] if (results / "lost").exists() else []
        report.case("a host that dies leaves what was saved", problems, [results / "console.log"])
        host.run_once(ENDS, outcome, LIMIT_SECONDS)
        problems = check_status(outcome.status, 7) + difference(results / "first", "again\n")
        problems += difference(results / "third", "third\n") + difference(results / "stdout.txt", "said on stdout\n")
        report.case("the next one adds to it", problems, [results / "console.log"])
        for attempt in outcome.attempts:
            print(f"    {attempt}")
    return report.exit_status()


if __name__ == "__main__":
    run_main(main)
