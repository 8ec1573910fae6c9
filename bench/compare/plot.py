"""Pictures of a comparison, drawn by gnuplot: bars of medians with quartiles, a panel for each group."""
import subprocess

from compare.report import summary

COLOURS = {"vmm": "#0b6e99", "vmm no sandbox": "#86c5da"}
OTHERS = ("#e3b505", "#d1603d", "#8a8d91")

# Labels say operation, size, depth.  Axes are logarithmic: peers differ by tens of per cent or by tens of times.
# file's name: (groups that begin so, figure, title, axis, factor)
PICTURES = {
    "vhost-cpu": ("vhost/", "cpu_ns", "vhost-user-blk server: CPU time a request", "us a request", 1e-3),
    "vhost-iops": ("vhost/", "iops", "vhost-user-blk server: requests a second", "thousand a second", 1e-3),
    "vhost-latency": ("vhost/", "p50_us", "vhost-user-blk server: median latency", "us", 1),
    "guest-iops": ("guest/", "iops", "Linux guest, fio io_uring: requests a second", "thousand a second", 1e-3),
    "guest-cpu": ("guest/", "outside_ns", "Linux guest, fio io_uring: CPU time a request outside the vCPU threads", "us a request", 1e-3),
    "guest-latency": ("guest/", "p50_us", "Linux guest, fio io_uring: median latency", "us", 1),
}  # fmt: skip


def _panels(results, prefix):
    """(title, [(label, cell key)], peers): groups, those of the vhost server split by how its client waits."""
    found = []
    for group, (names, peers) in results.groups().items():
        if not group.startswith(prefix):
            continue
        what = group.split("/", 1)[1].replace("/", ", ")
        for waits in ("polling", "sleeping", None):
            chosen = [name for name in names if (name.rsplit(", ", 1)[-1] == waits if waits else "ing" not in name)]
            if chosen:
                labels = [name.removesuffix(f", {waits}").replace(", depth ", "\\n× ").replace(" ", "\\n", 1) for name in chosen]
                title = f"{what}, {waits} client" if waits else what
                found.append((title, [(label, f"{group}/{name}") for label, name in zip(labels, chosen)], peers))
    return found


def _data(results, panel, figure, factor):
    """The panel's table for gnuplot: a label, then median, low and high for each peer."""
    lines, low, high = [], float("inf"), 0.0
    for label, key in panel[1]:
        line = f'"{label}"'
        for peer in panel[2]:
            found = summary(results, key, peer, figure)
            if found and found[1] > 0:
                line += f" {found[1] * factor:g} {max(found[0], found[1] / 1e3) * factor:g} {found[2] * factor:g}"
                low, high = min(low, found[0] * factor), max(high, found[2] * factor)
            else:
                line += " NaN NaN NaN"
        lines.append(line)
    return lines, low, high


def _quoted(text):
    return "'" + str(text).replace("'", "''") + "'"


def _layout(panels, terminal, path, title, about):
    """Size, title and margins: two panels a row, the title above, the one key below."""
    columns = min(2, len(panels))
    rows = (len(panels) + columns - 1) // columns
    width, height = max(760 * columns, 900), 290 * rows + 165
    return [
        f"set terminal {terminal} noenhanced size {width},{height} background 'white' font 'DejaVu Sans,11'",
        f"set output {_quoted(path)}",
        f"set multiplot layout {rows},{columns} margins {85 / width:g},{1 - 15 / width:g},{140 / height:g},{1 - 90 / height:g} "
        f"spacing {100 / width:g},{105 / height:g}",
        f"set label 1 {_quoted(title)} at screen 0.5,{1 - 24 / height:g} center font ',16'",
        f"set label 2 {_quoted(about)} at screen 0.5,{1 - 46 / height:g} center font ',10' textcolor rgb '#555555'",
        f"set key at screen 0.5,{34 / height:g} center center horizontal samplen 1.5 width 2 font ',12'",
    ]  # fmt: skip


STYLE = [
    "set style data histogram", "set style histogram errorbars gap 1.5 lw 1", "set style fill solid 0.9 noborder",
    "set errorbars 0.4 lc rgb '#303030' lw 1", "set logscale y", "set grid ytics lc rgb '#dddddd'", "set xtics nomirror scale 0",
    "set ytics nomirror", "set border 3 lc rgb '#888888'", "set tics textcolor rgb '#202020'",
    "set ytics (" + ", ".join(f"'{m * 10.0**e:g}' {m * 10.0**e:g}" for e in range(-3, 6) for m in (1, 2, 5)) + ")",
]  # fmt: skip


def _colours(peers):
    others = iter(OTHERS)
    return [COLOURS.get(peer) or next(others) for peer in peers]


def _panel_script(number, panel, data, axis, limits):
    """One panel; the first brings the key and the labels of the whole picture."""
    bars = [
        f"$data{number} using {2 + 3 * i}:{3 + 3 * i}:{4 + 3 * i}:xtic(1) title {_quoted(peer)} lc rgb '{colour}'"
        for i, (peer, colour) in enumerate(zip(panel[2], _colours(panel[2])))
    ]
    lines = [
        f"$data{number} << EOD", *data, "EOD", f"set title {_quoted(panel[0])} offset 0,-0.4 font ',12'",
        f"set ylabel {_quoted(axis)} offset -0.5,0", f"set yrange [{limits[0] / 1.5:g}:{limits[1] * 1.5:g}]", "plot " + ", ".join(bars),
    ]  # fmt: skip
    return lines + (["unset key", "unset label 1", "unset label 2"] if number == 0 else [])


def script(results, name, about, path, terminal):
    """gnuplot's script for picture @name; None when nothing of it was measured."""
    prefix, figure, title, axis, factor = PICTURES[name]
    panels = [panel for panel in _panels(results, prefix) if any(summary(results, key, panel[2][0], figure) for _, key in panel[1])]
    if not panels:
        return None
    lines = [*_layout(panels, terminal, path, title, about), *STYLE]
    for number, panel in enumerate(panels):
        data, low, high = _data(results, panel, figure, factor)
        lines += _panel_script(number, panel, data, axis, (low, high))
    return "\n".join([*lines, "unset multiplot", ""])


def draw(results, about, folder):
    """Every picture as SVG and PNG in @folder; the paths."""
    drawn = []
    for name in PICTURES:
        for kind, terminal in (("svg", "svg dynamic"), ("png", "pngcairo")):
            path = folder / f"{name}.{kind}"
            text = script(results, name, about, path, terminal)
            if text:
                subprocess.run(["gnuplot"], input=text, text=True, check=True, capture_output=True)
                drawn.append(path)
    return drawn
