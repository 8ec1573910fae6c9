"""What is compared: cells (one piece of work each), peers that do the work, and how a run goes through them.

A group is what has one set-up: its peers are started side by side, then each cell is run by one peer after the other,
so that what else the machine does meets them alike.  Peers change their order from round to round.
"""
import contextlib
import fnmatch
import os
import sys
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """One piece of work.  @labels are the words that pictures and tables sort it by."""

    group: str  # "vhost/null", "guest/file/2 vCPUs"
    name: str  # "read 4k, depth 32, polling"

    @property
    def key(self):
        return f"{self.group}/{self.name}"


@dataclass
class Results:
    """For each (cell key, peer name) the figures of every round, in order."""

    rounds: dict = field(default_factory=dict)
    counts: dict = field(default_factory=dict)  # of the extra round in which perf counts
    notes: dict = field(default_factory=dict)

    def add(self, key, peer, figures):
        self.rounds.setdefault((key, peer), []).append(figures)

    def groups(self):
        """Cell keys of each group, and the peers, in the order they were measured."""
        found = {}
        for key, peer in self.rounds:
            group, name = key.rsplit("/", 1)
            names, peers = found.setdefault(group, ([], []))
            if name not in names:
                names.append(name)
            if peer not in peers:
                peers.append(peer)
        return found


class Progress:
    """One line on the terminal with what runs now and how much time is left; without one, a line now and then."""

    def __init__(self, steps):
        self.steps = steps  # estimated seconds of all that is to be done
        self.done = 0.0
        self.started = time.monotonic()
        self.shown = 0.0
        self.is_terminal = sys.stderr.isatty()

    def step(self, text, seconds):
        """@text begins, which should take @seconds."""
        now = time.monotonic()
        pace = (now - self.started) / self.done if self.done > 5 else 1.0
        left = (self.steps - self.done) * pace
        self.done += seconds
        if not self.is_terminal and now - self.shown < 30:
            return
        self.shown = now
        line = f"{text}; about {_minutes(left)} left, load {os.getloadavg()[0]:.1f}"
        if self.is_terminal:
            print(f"\r\033[K{line[:118]}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def end(self):
        if self.is_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        print(f"measured for {_minutes(time.monotonic() - self.started)}", file=sys.stderr)


def _minutes(seconds):
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def wanted(key, pattern):
    """Does @pattern (a part of the key, or a shell pattern for all of it) choose the cell @key?"""
    return not pattern or pattern in key or fnmatch.fnmatch(key, pattern)


def in_turn(items, number):
    """@items, beginning with another one in each round @number."""
    start = number % len(items)
    return items[start:] + items[:start]


def run_rounds(groups, rounds, results, progress):
    """Every cell of every group by every peer, @rounds times; yields the number of each round that is done."""
    for number in range(rounds):
        for group in groups:
            progress.step(f"round {number + 1} of {rounds}: {group.name}: start", group.start_seconds)
            with contextlib.ExitStack() as stack:
                running = [(peer, stack.enter_context(group.start(peer))) for peer in group.peers]
                for cell in group.cells:
                    for peer, place in in_turn(running, number):
                        progress.step(f"round {number + 1} of {rounds}: {cell.key}: {peer}", group.cell_seconds)
                        figures = group.measure(place, cell)
                        figures["load"] = os.getloadavg()[0]
                        results.add(cell.key, peer, figures)
        yield number + 1


def estimate(groups, rounds):
    """Seconds that run_rounds() should take."""
    return rounds * sum(g.start_seconds + len(g.cells) * len(g.peers) * g.cell_seconds for g in groups)
