"""Kills of device processes, and how long each kept the guest waiting: counted for each type of device."""
import statistics
import threading
import time
from dataclasses import dataclass, field

PATIENCE_S = 30
TICK_S = 0.001


def quantile(values, share):
    """The smallest of @values that at least @share of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def in_words(pauses_us):
    """Median, 99th percentile and longest of some pauses."""
    if not pauses_us:
        return "none measured"
    median, late, longest = (us / 1000 for us in (statistics.median(pauses_us), quantile(pauses_us, 0.99), max(pauses_us)))
    return f"median {median:.1f} ms, p99 {late:.1f} ms, longest {longest:.1f} ms"


@dataclass
class Tally:
    """What was done to one type of device, and what came of it."""

    kills: int = 0
    requests: int = 0
    outages_us: list = field(default_factory=list)  # from the loss of the process to the start of the queues of the next
    waits_us: list = field(default_factory=list)  # of the guest's requests: the longest, as many as there were kills


class Watch:
    """Asks over the control socket how long a device was away, after each kill."""

    def __init__(self, client):
        self.client = client

    def state(self, name):
        """The device @name as `vmm status` has it."""
        return next(device for device in self.client.result("devices") if device["name"] == name)

    def restarts(self, name):
        return self.state(name)["restarts"]

    def outage_us(self, name, before, is_over):
        """Wait for the next process of @name, which had @before of them; how long it took. None: @is_over, or the VM is."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_over.is_set():
            state = self.state(name)
            if state["needs_reset"]:
                raise AssertionError(f"{name} was given up")
            if state["restarts"] > before:
                return state["last_pause_us"]
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} has no process again after {PATIENCE_S} s")
            time.sleep(TICK_S)
        return None


class Killer(threading.Thread):
    """Ends the process of a device, again and again: see kill_one() of those who derive from it.

    The first AssertionError ends it and is kept in problem.
    """

    def __init__(self, kills, types):
        super().__init__(daemon=True)
        self.left = kills
        self.share = (kills + 1) // 2  # at most, of one boot: there are two kinds of them
        self.at_begin = kills
        self.tallies = {name: Tally() for name in types}
        self.problem = None
        self.is_over = threading.Event()

    def run(self):
        while self.left > 0 and not self.is_over.is_set():
            try:
                self.kill_one()
            except AssertionError as problem:
                self.problem = problem
                return
            except (OSError, ValueError, LookupError, StopIteration):
                time.sleep(0.01)  # the machine comes or goes

    def begin_boot(self):
        """The next boot has its share."""
        self.at_begin = self.left

    def has_share(self):
        return self.at_begin - self.left < self.share

    def kill_one(self):
        raise NotImplementedError

    def stop(self):
        """End it; AssertionError if it met one."""
        self.is_over.set()
        self.join(2 * PATIENCE_S)
        if self.problem:
            raise self.problem

    def total(self):
        return sum(tally.kills for tally in self.tallies.values())

    def report(self, words):
        """What came of each type; @words: its name for people."""
        for name, tally in self.tallies.items():
            if not tally.kills:
                continue
            more = f"; {tally.requests} requests" if tally.requests else ""
            print(f"{words[name]}: {tally.kills} kills{more}")
            print(f"    no process: {in_words(tally.outages_us)}")
            if tally.waits_us:
                print(f"    the guest waited: {in_words(tally.waits_us)}")
