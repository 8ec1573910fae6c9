#!/usr/bin/env python3
"""watch.py tells who spins from who sleeps. Exit status 0 or 1."""
import subprocess
import sys

from guest.watch import watch

GUEST = """
import subprocess, sys, time
def say(line):
    print(line, flush=True)
def spin():
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        pass
for name, rest in (("sleeps", lambda: time.sleep(0.05)), ("spins", spin)):
    say("pause")
    rest()
    say("resume")
    say(f"ok {name} (1 us)")
child = subprocess.Popen([sys.executable, "-c", "print(flush=True)\\nwhile True: pass"], stdout=subprocess.PIPE)
child.stdout.readline()
say("pause")
time.sleep(0.05)
say("resume")
say("FAIL child: why")
child.kill()
"""


def look():
    with subprocess.Popen([sys.executable, "-c", GUEST], stdout=subprocess.PIPE) as process:
        return watch(process, 60)


def main():
    seen = {}
    for _ in range(20):  # a busy host may miss a pause
        lines, shares = look()
        seen.update(shares)
        if len(lines) != 9:
            sys.exit(f"lines: {lines}")
        if set(seen) == {"sleeps", "spins", "child"}:
            break
    else:
        sys.exit(f"never seen: {seen}")
    if min(seen["spins"], seen["child"]) < 0.005 + 2 * seen["sleeps"]:
        sys.exit(f"who sleeps and who spins? {seen}")


main()
