"""The layout of the picture: a row per CPU, time to the right, coloured by state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scripts.text import duration, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch

    from scripts.snapshot import Snapshot, State

COLOURS: dict[State, str] = {
    "waiting": "#e8ebef",
    "running": "#86c1f7",
    "loop": "#7358c4",
    "fault": "#f58e5e",
    "invalid": "#39424c",
    "stopped": "#939da8",
    "gone": "#ffe45c",
    "end": "#005f2b",
}
"""As on the wall, but stronger, and each of a different lightness, for people who do not see red or green."""
STOPPED_STATES: list[State] = ["loop", "fault", "invalid", "stopped", "gone", "end"]
"""In the order in which they are painted, one over the other."""
INK, QUIET_INK = "#16202c", "#51606f"
MAX_LABELLED = 40
"""Up to so many CPUs, each row has its number beside it, and a gap to the next row."""
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 11.5, 0.75, 2.5, 1.0, 0.95  # inches: the picture, and its margins
ROW, MIN_ROWS, MAX_ROWS = 0.18, 0.8, 7.2  # inches: the height of a row, and of all rows together
MIN_WINNER = (
    0.08  # inches: the row of the winner, the CPU with the answer to part 2, also where others are thinner
)
HEADLINE, LINE, LABEL = 100, 110, 24  # characters for which there is room


def build_figure(snapshot: Snapshot) -> Figure:
    """Return the picture of a start run, up to its end or to the moment of the snapshot."""
    from matplotlib.figure import Figure

    rows = max(len(snapshot.cpus), 1)
    rows_height = min(max(rows * ROW, MIN_ROWS), MAX_ROWS)
    height = TOP + rows_height + BOTTOM
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes(
        (LEFT / WIDTH, BOTTOM / height, (WIDTH - LEFT - RIGHT) / WIDTH, rows_height / height)
    )
    seconds = max((snapshot.ended or snapshot.now) - snapshot.stored, 0.01)
    end = seconds * 1.05 if snapshot.ended else seconds  # leaves room for the colour of the last stop
    axes.set(xlim=(0, end), ylim=(rows, 0), xlabel="seconds since the program was stored")
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    is_labelled = len(snapshot.cpus) <= MAX_LABELLED
    for state, bars in _layers(snapshot).items():
        # Not add_patch, which would look at every corner to compute limits that are set already.
        axes.add_artist(_bars_patch(state, bars, end, gap=0.14 if is_labelled else 0))
    if is_labelled:
        axes.set_yticks(
            [row + 0.5 for row in range(len(snapshot.cpus))], [str(one.cpu) for one in snapshot.cpus]
        )
        axes.tick_params("y", length=0, labelsize=8)
    else:
        axes.set_yticks([])
    axes.set_ylabel("CPU" if is_labelled else f"{len(snapshot.cpus):,} CPUs")
    _mark_cpus(axes, snapshot, rows_height)
    _add_headlines(figure, snapshot, height)
    _add_legend(figure, snapshot)
    return figure


def _layers(snapshot: Snapshot) -> dict[State, list[tuple[int, float]]]:
    """Return, for each colour, the rows painted in it, each with the second at which its bar begins.

    The layers are painted one over the other, and each also covers the rows of later ones: where rows are
    thinner than a pixel, no colour shines through that is not there.
    """
    found: dict[State, list[tuple[int, float]]] = {"waiting": [], "running": []}
    found.update({state: [] for state in STOPPED_STATES})
    for row, cpu in enumerate(snapshot.cpus):
        found["waiting"].append((row, 0.0))
        if cpu.loaded is not None:
            found["running"].append((row, cpu.loaded - snapshot.stored))
        if cpu.state in STOPPED_STATES:
            # The time of a stop is recorded a moment after the state has changed.
            since = (cpu.stopped or snapshot.now) - snapshot.stored
            for state in STOPPED_STATES[: STOPPED_STATES.index(cpu.state) + 1]:
                found[state].append((row, since))
    return {state: rows for state, rows in found.items() if rows}


def _bars_patch(state: State, bars: list[tuple[int, float]], end: float, gap: float) -> PathPatch:
    """Return a layer: a bar in each of its rows, from where it begins to the right end of the picture."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    corners: list[tuple[float, float]] = []
    for row, begin in bars:
        left, top, bottom = min(max(begin, 0), end), row + gap / 2, row + 1 - gap / 2
        corners += [(left, top), (end, top), (end, bottom), (left, bottom), (left, top)]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(bars)
    return PathPatch(Path(corners, codes), facecolor=COLOURS[state], linewidth=0, gid=state)


def _mark_cpus(axes: Axes, snapshot: Snapshot, rows_height: float) -> None:
    """Label the CPU that runs the program as written, and the winner, whose row is outlined too."""
    inches = rows_height / max(len(snapshot.cpus), 1)  # per row
    answer = snapshot.part2()
    for row, cpu in enumerate(snapshot.cpus):
        if cpu.cpu == 0:
            label = max((row + 0.5) * inches, 0.06) / inches
            _annotate(axes, row + 0.5, label, "CPU 0: as written", color=QUIET_INK)
        elif answer and cpu.cpu == answer.cpu:
            height = max(1, MIN_WINNER / inches)
            top = min(max(row + 0.5 - height / 2, 0), len(snapshot.cpus) - height)
            label = min(max((row + 0.5) * inches, 0.45), rows_height - 0.1) / inches
            text = f"{shorten(f'CPU {cpu.cpu}, line {cpu.line}:', LABEL)}\n{shorten(cpu.swap or '', LABEL)}"
            _annotate(axes, top + height / 2, label, text, color=INK, fontweight="bold")
            _outline_row(axes, snapshot, row, top, height)


def _outline_row(axes: Axes, snapshot: Snapshot, row: int, top: float, height: float) -> None:
    """Paint a row's bars again, at this place and height, with a frame around them."""
    from matplotlib.patches import Rectangle

    end = axes.get_xlim()[1]
    for state, bars in _layers(snapshot).items():
        for begin in (begin for one, begin in bars if one == row):
            bar = Rectangle((begin, top), end - begin, height, color=COLOURS[state], linewidth=0)
            axes.add_artist(bar)
    style: dict[str, Any] = {"fill": False, "edgecolor": INK, "linewidth": 1.2, "gid": "winner"}
    axes.add_artist(Rectangle((0, top), end, height, **style))


def _annotate(axes: Axes, row: float, label: float, text: str, **style: Any) -> None:
    """Write a text to the right of the bars, at the height of row `label`, with an arrow to `row`."""
    axes.annotate(
        text,
        (1, row),
        (1.04, label),
        xycoords=axes.get_yaxis_transform(),
        textcoords=axes.get_yaxis_transform(),
        va="center",
        arrowprops={"arrowstyle": "-|>", "color": style["color"], "shrinkA": 2, "shrinkB": 1},
        fontsize=9,
        **style,
    )


def _add_headlines(figure: Figure, snapshot: Snapshot, height: float) -> None:
    """Write the answers at the top, and below them which start run it is and what it took."""
    cpus, cycles = len(snapshot.cpus), snapshot.cycles
    facts = [
        f"Start run {snapshot.start}",
        f"{cpus:,} CPU{'s' * (cpus != 1)}",
        f"{cycles:,} cycle{'s' * (cycles != 1)}",
        duration((snapshot.ended or snapshot.now) - snapshot.stored) + ("" if snapshot.ended else " so far"),
    ]
    bold: dict[str, Any] = {"fontsize": 11, "fontweight": "bold", "color": INK}
    quiet: dict[str, Any] = {"fontsize": 9, "color": QUIET_INK}
    lines = [
        (shorten(f"Part {part}: {_answer(snapshot, part)}", HEADLINE), bold) for part in snapshot.facts.parts
    ]
    lines.append((shorten(" · ".join(facts), LINE), quiet))
    for number, (line, style) in enumerate(lines):
        figure.text(0.15 / WIDTH, 1 - (0.28 + 0.22 * number) / height, line, va="baseline", **style)


def _answer(snapshot: Snapshot, part: str) -> str:
    """Return the answer to part "1" or "2" with its swap, or why there is none yet."""
    answer = snapshot.part1() if part == "1" else snapshot.part2()
    if answer is None:
        return "cancelled" if snapshot.facts.cancelled else "not known yet"
    cpu = snapshot.cpu(answer.cpu) if answer.cpu else None
    return f"{answer.text} (line {cpu.line}: {cpu.swap})" if cpu else answer.text


def _add_legend(figure: Figure, snapshot: Snapshot) -> None:
    """Name the colours, each with the number of CPUs in that state."""
    from matplotlib.patches import Patch

    counts = snapshot.states
    shown = [state for state in COLOURS if counts[state] or state in ("waiting", "running")]
    names = {state: f"{state}: {counts[state]:,}" if counts[state] else state for state in shown}
    patches = [Patch(facecolor=COLOURS[state], label=name) for state, name in names.items()]
    figure.legend(handles=patches, loc="lower left", ncols=len(patches), frameon=False, fontsize=9)
