"""What a comparison found: medians, quartiles, ratios; as a table and as JSON."""
import json
import math
import os
import platform
import statistics
from pathlib import Path

US = "vmm"

# figure: (title, unit's factor, format); a smaller value is better but for rates
FIGURES = {
    "iops": ("kIOPS", 1e-3, "{:.1f}"),
    "cpu_ns": ("CPU us", 1e-3, "{:.2f}"),
    "outside_ns": ("outside us", 1e-3, "{:.2f}"),
    "p50_us": ("p50 us", 1, "{:.1f}"),
    "p99_us": ("p99 us", 1, "{:.0f}"),
    "p999_us": ("p99.9 us", 1, "{:.0f}"),
    "kicks": ("kicks", 1, "{:.3f}"),
    "interrupts": ("irqs", 1, "{:.3f}"),
}
RATIOS = {"iops": "IOPS", "cpu_ns": "CPU", "outside_ns": "outside", "p50_us": "p50"}


def quartiles(values):
    """(lower quartile, median, upper quartile); of few values the ends."""
    if len(values) < 4:
        return min(values), statistics.median(values), max(values)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def summary(results, key, peer, figure):
    """Quartiles of one figure; None when it was not measured."""
    values = [round_[figure] for round_ in results.rounds.get((key, peer), []) if figure in round_]
    return quartiles(values) if values else None


def ratio(results, key, peer, figure):
    """The median over the rounds of ours : @peer's; rounds of both lie side by side in time."""
    ours, theirs = (results.rounds.get((key, name), []) for name in (US, peer))
    pairs = [(a[figure], b[figure]) for a, b in zip(ours, theirs) if figure in a and figure in b]
    quotients = [a / b for a, b in pairs if b > 0]
    return statistics.median(quotients) if quotients and len(quotients) == len(pairs) else None


def overall(results, peer, figure):
    """The geometric mean over all cells of ours : @peer's, and its standard error as a part of it."""
    found = [ratio(results, key, peer, figure) for key, name in results.rounds if name == peer != US]
    logs = [math.log(value) for value in found if value]
    if len(logs) < 2:
        return None
    return math.exp(statistics.fmean(logs)), statistics.stdev(logs) / math.sqrt(len(logs))


def _overall_row(results, peer):
    row = {"all cells together": peer}
    for figure, name in RATIOS.items():
        if found := overall(results, peer, figure):
            row[f"{name} ratio"] = f"{found[0]:.3f} ±{100 * found[1]:.1f}%"
    return row


def _cells_of_row(results, key, peer, figures):
    for figure in figures:
        title, factor, form = FIGURES[figure]
        found = summary(results, key, peer, figure)
        text = "-" if found is None else form.format(found[1] * factor)
        if figure == "iops" and found and found[1]:
            text += f" ±{50 * (found[2] - found[0]) / found[1]:.0f}%"
        yield title, text
    for name, value in results.counts.get((key, peer), {}).items():
        yield name, f"{value:.3f}"
    for figure in figures:
        if figure in RATIOS:
            value = None if peer == US else ratio(results, key, peer, figure)
            yield f"{RATIOS[figure]} ratio", "" if value is None else f"{value:.2f}"


def table(results, group, names, peers):
    """Rows of text: the header, then each cell under each peer."""
    keys = [(f"{group}/{name}", name, peer) for name in names for peer in peers if (f"{group}/{name}", peer) in results.rounds]
    have = {figure for key, _, peer in keys for round_ in results.rounds[key, peer] for figure in round_}
    figures = [figure for figure in FIGURES if figure in have]
    rows = []
    before = None
    for key, name, peer in keys:
        cells = dict(_cells_of_row(results, key, peer, figures))
        rows.append({group: "" if name == before else name, "": peer, **cells})
        before = name
    return rows


def text_of(rows, is_markdown=False):
    """@rows, dicts by title, as lines of columns."""
    titles = list(dict.fromkeys(title for row in rows for title in row))
    grid = [titles] + [[row.get(title, "") for title in titles] for row in rows]
    if is_markdown:
        lines = ["| " + " | ".join(row) + " |" for row in grid]
        return [lines[0], "|" + "---|" * len(titles), *lines[1:]]
    widths = [max(len(row[i]) for row in grid) for i in range(len(titles))]
    return ["  ".join(f"{text:{'<' if i < 2 else '>'}{widths[i]}}" for i, text in enumerate(row)).rstrip() for row in grid]


def tables(results, is_markdown=False):
    """All tables as one text.  Ratios are ours : theirs."""
    parts = [
        "\n".join(text_of(table(results, group, names, peers), is_markdown))
        for group, (names, peers) in results.groups().items()
    ]
    peers = [peer for peer in dict.fromkeys(peer for _, peer in results.rounds) if overall(results, peer, "iops")]
    if peers:
        parts.append("\n".join(text_of([_overall_row(results, peer) for peer in peers], is_markdown)))
    return "\n\n".join(parts) + "\n"


def host():
    """What the figures were measured on."""
    model = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{os.cpu_count()} CPUs {model[0] if model else platform.machine()}, Linux {platform.release()}"


def save(results, path, about):
    """Everything as JSON: every round of every cell."""
    cells = [
        {"cell": key, "peer": peer, "rounds": rounds, "counts": results.counts.get((key, peer), {})}
        for (key, peer), rounds in results.rounds.items()
    ]
    path.write_text(json.dumps({"about": about, "cells": cells}, indent=1) + "\n", encoding="utf-8")


def load(path, results):
    """What save() wrote, into @results; what it was about."""
    found = json.loads(path.read_text(encoding="utf-8"))
    for cell in found["cells"]:
        results.rounds[cell["cell"], cell["peer"]] = cell["rounds"]
        results.counts[cell["cell"], cell["peer"]] = cell["counts"]
    return found["about"]
