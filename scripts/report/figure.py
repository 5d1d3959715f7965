"""How the picture looks: a row per CPU, and from left to right what it waited for, ran, and came to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from scripts.text import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch

    from scripts.snapshot import Snapshot
    from scripts.wall.models import Answer, State

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
"""As on the wall, but stronger, and of a different lightness each: for who sees no red or no green."""
STOPS: list[State] = ["loop", "fault", "invalid", "stopped", "gone", "end"]
INK, QUIET = "#16202c", "#51606f"
LABELLED = 40
"""Up to so many CPUs each has its number beside it, and a gap to the next one."""
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 11.5, 0.75, 2.5, 1.0, 0.95  # inches
ROW, LOWEST, HIGHEST = 0.18, 0.8, 7.2  # inches
MARKED = 0.08  # inches that the row of the CPU with the answer is high, where the others are thinner
HEADLINE, LINE, LABEL = 100, 110, 24  # characters there is room for


def figure(run: Snapshot) -> Figure:
    """The picture of a start run as it was looked at: up to its end, or as far as it has come."""
    from matplotlib.figure import Figure

    rows = max(len(run.tiles), 1)
    height = min(max(rows * ROW, LOWEST), HIGHEST)
    whole = TOP + height + BOTTOM
    made = Figure(figsize=(WIDTH, whole))
    size = (LEFT / WIDTH, BOTTOM / whole, (WIDTH - LEFT - RIGHT) / WIDTH, height / whole)
    axes = made.add_axes(size)
    lasted = max((run.ended or run.now) - run.stored, 0.01)
    end = lasted * 1.05 if run.ended else lasted  # else the last stop's colour would have no room
    axes.set(xlim=(0, end), ylim=(rows, 0), xlabel="seconds since the program was stored")
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    few = len(run.tiles) <= LABELLED
    for state, begins in layers(run).items():
        # Not add_patch, which looks at every corner for limits that are set already.
        axes.add_artist(bars(state, begins, end, gap=0.14 if few else 0))
    if few:
        axes.set_yticks([row + 0.5 for row in range(len(run.tiles))], [str(one.cpu) for one in run.tiles])
        axes.tick_params("y", length=0, labelsize=8)
    else:
        axes.set_yticks([])
    axes.set_ylabel("CPU" if few else f"{len(run.tiles):,} CPUs")
    mark(axes, run, height)
    head(made, run, whole)
    legend(made, run)
    return made


def layers(run: Snapshot) -> dict[State, list[tuple[int, float]]]:
    """The rows to be painted in each colour, and since which second: one layer over the other.

    A layer also covers the rows that later ones do. So where rows are thinner than a pixel, only colours
    mix that are there.
    """
    found: dict[State, list[tuple[int, float]]] = {"waiting": [], "running": []}
    found.update({state: [] for state in STOPS})
    for row, tile in enumerate(run.tiles):
        found["waiting"].append((row, 0.0))
        if tile.loaded is not None:
            found["running"].append((row, tile.loaded - run.stored))
        if tile.state in STOPS:
            # Its stop is accounted for a moment after it is there to be seen.
            since = (tile.stopped or run.now) - run.stored
            for state in STOPS[: STOPS.index(tile.state) + 1]:
                found[state].append((row, since))
    return {state: rows for state, rows in found.items() if rows}


def bars(state: State, begins: list[tuple[int, float]], end: float, gap: float) -> PathPatch:
    """A layer: a bar in each of the rows, from where it begins to the picture's end."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    corners: list[tuple[float, float]] = []
    for row, begin in begins:
        left, top, bottom = min(max(begin, 0), end), row + gap / 2, row + 1 - gap / 2
        corners += [(left, top), (end, top), (end, bottom), (left, bottom), (left, top)]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(begins)
    return PathPatch(Path(corners, codes), facecolor=COLOURS[state], linewidth=0, gid=state)


def mark(axes: Axes, run: Snapshot, height: float) -> None:
    """Name the CPU that runs the program as written and the one with the answer, and outline that one."""
    from matplotlib.patches import Rectangle

    inches = height / max(len(run.tiles), 1)
    answer = run.part2()
    for row, tile in enumerate(run.tiles):
        if tile.cpu == 0:
            note(axes, row + 0.5, max((row + 0.5) * inches, 0.06) / inches, "CPU 0: as written", color=QUIET)
        elif answer and tile.cpu == answer.cpu:
            text = f"{cut(f'CPU {tile.cpu}, line {tile.line}:', LABEL)}\n{cut(tile.swap or '', LABEL)}"
            high = max(1, MARKED / inches)
            top = min(max(row + 0.5 - high / 2, 0), len(run.tiles) - high)
            place = min(max((row + 0.5) * inches, 0.45), height - 0.1) / inches
            note(axes, top + high / 2, place, text, color=INK, fontweight="bold")
            end = axes.get_xlim()[1]
            for state, begins in layers(run).items():
                for begin in (begin for one, begin in begins if one == row):
                    bar = Rectangle((begin, top), end - begin, high, color=COLOURS[state], linewidth=0)
                    axes.add_artist(bar)
            style: dict[str, Any] = {"fill": False, "edgecolor": INK, "linewidth": 1.2, "gid": "winner"}
            axes.add_artist(Rectangle((0, top), end, high, **style))


def note(axes: Axes, row: float, place: float, text: str, **style: Any) -> None:
    """A text right of the bars, at the height of row `place`, with an arrow to a row."""
    axes.annotate(
        text,
        (1, row),
        (1.04, place),
        xycoords=axes.get_yaxis_transform(),
        textcoords=axes.get_yaxis_transform(),
        va="center",
        arrowprops={"arrowstyle": "-|>", "color": style["color"], "shrinkA": 2, "shrinkB": 1},
        fontsize=9,
        **style,
    )


def head(made: Figure, run: Snapshot, whole: float) -> None:
    """Both answers, and of what."""
    cpus, cycles = len(run.tiles), run.cycles
    facts = [
        f"Start run {run.start}",
        f"{cpus:,} CPU{'s' * (cpus != 1)}",
        f"{cycles:,} cycle{'s' * (cycles != 1)}",
        duration((run.ended or run.now) - run.stored) + ("" if run.ended else " so far"),
    ]
    style: dict[str, Any] = {"fontsize": 11, "fontweight": "bold", "color": INK}
    lines = [*((cut(line, HEADLINE), style) for line in answers(run))]
    lines.append((cut(" · ".join(facts), LINE), {"fontsize": 9, "color": QUIET}))
    for number, (line, look) in enumerate(lines):
        made.text(0.15 / WIDTH, 1 - (0.28 + 0.22 * number) / whole, line, va="baseline", **look)


def answers(run: Snapshot) -> list[str]:
    """What is known of each part that is asked for."""
    return [f"Part {part}: {known(run, part)}" for part in run.facts["parts"]]


def known(run: Snapshot, part: str) -> str:
    """The answer with its swap, or why there is none yet."""
    answer: Answer | None = run.part1() if part == "1" else run.part2()
    if answer is None:
        return "cancelled" if "cancelled" in run.facts else "not known yet"
    tile = next((tile for tile in run.tiles if tile.cpu == answer.cpu), None)
    return f"{answer.text} (line {tile.line}: {tile.swap})" if tile and tile.cpu else answer.text


def legend(made: Figure, run: Snapshot) -> None:
    """What the colours mean, and how many CPUs are in which state."""
    from matplotlib.patches import Patch

    counts = Counter(tile.state for tile in run.tiles)
    shown = [state for state in COLOURS if counts[state] or state in ("waiting", "running")]
    names = {state: f"{state}: {counts[state]:,}" if counts[state] else state for state in shown}
    patches = [Patch(facecolor=COLOURS[state], label=name) for state, name in names.items()]
    made.legend(handles=patches, loc="lower left", ncols=len(patches), frameon=False, fontsize=9)


def cut(text: str, longest: int) -> str:
    """The text, or as much of it as there is room for."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
