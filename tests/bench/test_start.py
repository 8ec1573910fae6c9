"""What `./dev bench start` makes of its measurements: the arithmetic, and processes and memory it reads of."""
import contextlib
import io
import os
import statistics
import subprocess
import sys
import unittest

import start


class Arithmetic(unittest.TestCase):
    """From runs to figures."""

    def test_a_disk_costs_the_difference_by_disks(self):
        """Medians, so that one bad run does not count."""
        runs = {("jailed", 1): [(0.010, 0.004), (0.010, 0.004), (9, 9)], ("jailed", 9): [(0.018, 0.012), (0.018, 0.012), (0, 0)]}
        cost = start.cost_of_time(runs, "jailed")
        self.assertAlmostEqual(cost["wall_ms"], 1.0)
        self.assertAlmostEqual(cost["cpu_ms"], 1.0)

    def test_memory_is_counted_by_kind(self):
        """The middle of the rounds; a disk's own process, and what grows elsewhere."""
        few = start.median_memory([{"main": (1, kib), "disk": (1, 300)} for kib in (900, 1000, 5000)])
        many = start.median_memory([{"main": (1, 1800), "disk": (9, 2700)}])
        self.assertEqual(few["main"], {"processes": 1, "kib": 1000})
        self.assertEqual(start.cost_of_memory(few, many), {"kib": (4500 - 1300) / 8, "own_process_kib": 300})

    def test_each_machine_begins_a_round_in_turn(self):
        """So that none is always measured after the same other."""
        order = []
        settings = start.Settings.__new__(start.Settings)
        settings.command = lambda machine, test: machine
        found = settings.rounds(4, lambda machine: order.append(machine) or len(order), "first")
        self.assertEqual([len(runs) for runs in found.values()], [4, 4, 4, 4])
        self.assertEqual({order[number * 4] for number in range(4)}, set(start.Settings.MACHINES))

    def test_figures_are_printed(self):
        """For people: a line for each kind."""
        spread = start.spread([0.001, 0.002])
        self.assertAlmostEqual(spread["median"], statistics.median([1, 2]))
        cost = {"wall_ms": 1, "cpu_ms": 1, "kib": 300, "own_process_kib": 250}
        kinds = {"main": {"processes": 1, "kib": 1000}, "disk": {"processes": 9, "kib": 2700}}
        result = {"rounds": 7, "own_memory_kib": {"all": 3700, "kinds": kinds}, "own_memory_unjailed_kib": 900}
        result |= dict.fromkeys(("first_instruction_ms", "first_instruction_unjailed_ms", "cpu_ms"), spread)
        result["further_disk"] = {"jailed": cost, "unjailed": cost}
        with contextlib.redirect_stdout(io.StringIO()) as out:
            start.print_all(result)
        self.assertIn("disk     9 processes", out.getvalue())


class Processes(unittest.TestCase):
    """What is read of running ones."""

    def test_the_tree_is_found(self):
        """A shell that waits for its child."""
        with subprocess.Popen(["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE) as shell:
            shell.stdout.readline()
            tree = start.process_tree(shell.pid)
            self.assertEqual(tree[0], shell.pid)
            self.assertGreater(start.own_memory(tree[0]), 0)
            self.assertEqual(start.kind_of(tree[0], shell.pid), "main")
            os.kill(tree[1], 9)

    def test_kinds_go_by_names(self):
        """A process that calls itself as the zygote does."""
        name = "import sys; open('/proc/self/comm', 'w').write(sys.argv[1]); print(flush=True); input()"
        for comm, kind in (("vmm-zygote", "zygote"), ("block12", "disk"), ("rng", "entropy"), ("console", "console")):
            with subprocess.Popen([sys.executable, "-c", name, comm], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
                process.stdout.readline()
                self.assertEqual(start.kind_of(process.pid, 1), kind)
                process.communicate(b"\n")


if __name__ == "__main__":
    unittest.main()
