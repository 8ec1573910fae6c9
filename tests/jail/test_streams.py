#!/usr/bin/env python3
"""streams.py finds what is missing, doubled or changed. Exit status 0 or 1."""
import sys

from jail.streams import Broken, gaps, known_stream, lines, repeats, same

LINES, STREAM = lines("a", 5000), known_stream(200_000)


def without(data, at, size):
    return data[:at] + data[at + size :]


def doubled(data, at, size):
    return data[:at] + data[at - size :]


CASES = (
    (same, LINES, LINES, None),
    (same, LINES, LINES[:-1], Broken),
    (same, LINES, doubled(LINES, 640, 64), Broken),
    (repeats, (LINES, 64), LINES, []),
    (repeats, (LINES, 64), doubled(LINES, 640, 64), [64]),
    (repeats, (LINES, 64), doubled(doubled(LINES, 70_003, 1), 641, 17), [17, 1]),
    (repeats, (LINES, 64), doubled(LINES, 640, 65), Broken),
    (repeats, (LINES, 64), without(LINES, 640, 16), Broken),
    (repeats, (LINES, 64), LINES[:-1], Broken),
    (repeats, (LINES, 64), doubled(LINES, len(LINES), 64), [64]),
    (repeats, (LINES, 64), LINES + b"x", Broken),
    (gaps, (STREAM, 64), STREAM, []),
    (gaps, (STREAM, 64), STREAM[:777], []),
    (gaps, (STREAM, 64), without(STREAM, 1000, 64), [64]),
    (gaps, (STREAM, 64), without(without(STREAM, 100_000, 5), 1000, 1), [1, 5]),
    (gaps, (STREAM, 64), without(STREAM, 1000, 65), Broken),
    (gaps, (STREAM, 64), doubled(STREAM, 1000, 64), Broken),
    (gaps, (STREAM, 64), doubled(STREAM, 1000, 1), Broken),
    (gaps, (STREAM, 64), STREAM[:1000] + b"x" + STREAM[1001:], Broken),
)


def outcome(check, given, got):
    wanted, *rest = given if isinstance(given, tuple) else (given,)
    try:
        return check(wanted, got, *rest)
    except Broken:
        return Broken


def main():
    failed = 0
    for number, (check, given, got, expected) in enumerate(CASES):
        result = outcome(check, given, got)
        if result != expected:
            failed += 1
            print(f"FAILED case {number}, {check.__name__}: {result}, not {expected}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
