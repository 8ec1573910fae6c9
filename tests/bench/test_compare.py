"""What bench/compare makes of measurements: ratios, tables, pictures, which cells are chosen, what fio says."""
import contextlib
import math
import shutil
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

from compare import plot, report
from compare.guest import Answer, figures_of
from compare.plan import Cell, Progress, Results, estimate, in_turn, run_rounds, wanted
from compare.process import Measured
from compare.vhost import VhostGroup, cells_of

READ = "vhost/null/read 4k, depth 1, polling"
WRITE = "vhost/null/write 4k, depth 1, polling"


def results():
    """Two cells, two peers, five rounds; in the third another program disturbed both peers alike."""
    found = Results()
    for factor in (1, 1, 5, 1, 1):
        found.add(READ, "vmm", {"iops": 4000.0 / factor, "cpu_ns": 1000.0 * factor, "p50_us": 2.0})
        found.add(READ, "qemu 1.2.3", {"iops": 2000.0 / factor, "cpu_ns": 4000.0 * factor, "p50_us": 8.0})
        found.add(WRITE, "vmm", {"iops": 1000.0, "cpu_ns": 1000.0, "p50_us": 2.0})
    found.counts[READ, "vmm"] = {"system calls": 0.25}
    return found


class FakeGroup:
    """Counts instead of measuring."""

    start_seconds, cell_seconds = 0.0, 0.0
    name, peers = "fake", ["a", "b", "c"]
    cells = [Cell("fake", "x"), Cell("fake", "y")]

    def __init__(self):
        self.order = []

    def start(self, peer):
        return contextlib.nullcontext(peer)

    def measure(self, place, cell):
        self.order.append((place, cell.name))
        return {"iops": 1.0}


class Plan(unittest.TestCase):
    def test_every_peer_does_every_cell_in_changing_order(self):
        group, found = FakeGroup(), Results()
        done = list(run_rounds([group], 3, found, Progress(estimate([group], 3))))
        self.assertEqual(done, [1, 2, 3])
        self.assertEqual([len(rounds) for rounds in found.rounds.values()], [3] * 6)
        firsts = [group.order[i][0] for i in range(0, 18, 6)]
        self.assertEqual(firsts, ["a", "b", "c"])
        self.assertEqual(in_turn([1, 2, 3], 4), [2, 3, 1])

    def test_chooses_cells_by_a_part_or_a_pattern(self):
        self.assertTrue(wanted(READ, None) and wanted(READ, "null") and wanted(READ, "vhost/*polling"))
        self.assertFalse(wanted(READ, "file") or wanted(READ, "vhost/*sleeping"))

    def test_deep_queues_use_tables(self):
        for cell, options in cells_of("file"):
            self.assertEqual("depth 128" in cell.name, "--indirect" in options)
        context = SimpleNamespace(wants=lambda key: "write 128k" in key, seconds=1)
        self.assertTrue(all("write 128k" in cell.name for cell in VhostGroup("file", context, {}).cells))


class Report(unittest.TestCase):
    def test_ratios_are_of_neighbouring_runs(self):
        found = results()
        self.assertEqual(report.ratio(found, READ, "qemu 1.2.3", "iops"), 2.0)
        self.assertEqual(report.ratio(found, READ, "qemu 1.2.3", "cpu_ns"), 0.25)
        self.assertIsNone(report.ratio(found, WRITE, "qemu 1.2.3", "iops"))
        self.assertEqual(report.summary(found, READ, "vmm", "iops"), (4000.0, 4000.0, 4000.0))
        self.assertIsNone(report.summary(found, READ, "vmm", "kicks"))
        self.assertEqual(report.quartiles([1, 2, 3, 4, 5]), (2, 3, 4))
        self.assertEqual(report.quartiles([1, 9]), (1, 5, 9))

    def test_a_table_shows_what_was_measured(self):
        text = report.tables(results())
        row = next(line for line in text.splitlines() if "qemu 1.2.3" in line)
        self.assertEqual(row.split()[-3:], ["2.00", "0.25", "0.25"])
        self.assertIn("0.250", next(line for line in text.splitlines() if line.startswith("read 4k")))
        self.assertNotIn("p99", text)
        self.assertTrue(report.tables(results(), is_markdown=True).startswith("| vhost/null |"))

    def test_cells_together_are_a_geometric_mean(self):
        found = results()
        self.assertIsNone(report.overall(found, "qemu 1.2.3", "iops"))
        self.assertNotIn("all cells together", report.tables(found))
        found.add(WRITE, "qemu 1.2.3", {"iops": 2000.0, "cpu_ns": 1000.0, "p50_us": 2.0})
        found.rounds[WRITE, "vmm"] = found.rounds[WRITE, "vmm"][:1]
        mean, error = report.overall(found, "qemu 1.2.3", "iops")  # of 2 and 1/2
        self.assertAlmostEqual(mean, 1.0)
        self.assertAlmostEqual(error, math.log(2))
        self.assertEqual(report.tables(found).splitlines()[-1].split()[2], "1.000")

    def test_a_record_can_be_read_again(self):
        with tempfile.TemporaryDirectory() as folder:
            path, again = Path(folder) / "record.json", Results()
            report.save(results(), path, "about")
            self.assertEqual(report.load(path, again), "about")
            self.assertEqual(report.tables(again), report.tables(results()))


class Pictures(unittest.TestCase):
    def test_holes_in_the_data_are_no_numbers(self):
        text = plot.script(results(), "vhost-cpu", "about 'it'", "out.svg", "svg")
        self.assertIn('"write\\n4k\\n× 1" 1 1 1 NaN NaN NaN', text)
        self.assertIn("'about ''it'''", text)
        self.assertIsNone(plot.script(results(), "guest-cpu", "", "out.svg", "svg"))

    @unittest.skipUnless(shutil.which("gnuplot"), "there is no gnuplot")
    def test_gnuplot_draws_them(self):
        with tempfile.TemporaryDirectory() as folder:
            drawn = plot.draw(results(), "about", Path(folder))
            self.assertEqual({path.suffix for path in drawn}, {".svg", ".png"})
            for path in drawn:
                data = path.read_bytes()
                self.assertTrue(data.startswith(b"\x89PNG") or b"</svg>" in data)


class Guest(unittest.TestCase):
    def test_figures_come_from_the_side_that_worked(self):
        for is_write in (False, True):
            line = ["0"] * 130
            at = 46 if is_write else 5
            line[at], line[at + 2], line[at + 3] = "8000", "1000", "2000"  # KiB, rate, milliseconds
            line[at + 12 : at + 15] = ["50.000000%=40", "99.000000%=90", "99.900000%=200"]
            got = figures_of(Answer(line, 500, 3_000_000, 1_000_000, {}))
            self.assertEqual(got["requests"], 2000)
            self.assertEqual((got["cpu_ns"], got["outside_ns"], got["interrupts"]), (1500, 500, 0.25))
            self.assertEqual((got["p50_us"], got["p99_us"], got["p999_us"]), (40, 90, 200))


class Processes(unittest.TestCase):
    def test_cpu_time_holds_what_ended_threads_used(self):
        script = "import threading,time\nt=threading.Thread(target=lambda:sum(range(3000000)))\nt.start();t.join()\nprint('x',flush=True)\ninput()"
        with tempfile.TemporaryDirectory() as folder:
            with Measured(["python3", "-c", script], Path(folder) / "errors", stdin=-1, stdout=-1) as process:
                process.process.stdout.read(1)
                self.assertGreater(process.cpu_ns(), 5_000_000)
                self.assertGreater(process.outside_ns(), 0)

    def test_descendants_count(self):
        script = "sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo x; read y; :'; :"
        with tempfile.TemporaryDirectory() as folder:
            with Measured(["sh", "-c", script], Path(folder) / "errors", stdin=-1, stdout=-1) as process:
                process.process.stdout.read(1)
                self.assertEqual(len(process.processes()), 2)
                self.assertGreater(process.cpu_ns(), 20_000_000)
                process.process.stdin.write(b"y\n")
                process.process.stdin.flush()

    def test_a_failure_says_what_the_process_said(self):
        with tempfile.TemporaryDirectory() as folder:
            with Measured(["sh", "-c", "echo no disk >&2; exit 1"], Path(folder) / "errors") as process:
                process.process.wait()
                self.assertEqual(str(process.failure("it ended")), "sh: it ended: no disk")


if __name__ == "__main__":
    unittest.main()
