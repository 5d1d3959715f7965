"""The turns of a benchmark as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scripts.bench.cycles import Turn

COLOURS = {
    "scheduler": "#b9cfdc",
    "triggerer": "#8fb08c",
    "worker": "#7aa6c2",
    "pod": "#2f5d7c",
    "next run": "#c9b79c",
}


def draw(turns: Sequence[Turn], file: Path) -> None:
    """Write it there: seconds per cycle of one CPU, by what they go to; and the rate of many CPUs."""
    # Imported here: only who wants a picture has to have it.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    one = [turn for turn in turns if turn.cpus == 1]
    many = [turn for turn in turns if turn.cpus > 1]
    for turn in one:
        begin = 0.0
        for name, seconds in (turn.phases or {"pod": turn.typical}).items():
            left.barh(turn.design, seconds, left=begin, color=COLOURS[name], label=name)
            begin += seconds
        left.annotate(f" {turn.typical:.2f} s", (begin, turn.design), va="center")
    left.set(title="one CPU", xlabel="seconds per cycle")
    left.margins(x=0.2)
    names = dict(zip(*reversed(left.get_legend_handles_labels()), strict=True))
    left.legend(names.values(), names.keys(), frameon=False, fontsize="small")
    for turn in many:
        right.barh(turn.design, turn.rate, color=COLOURS["pod"])
        right.annotate(f" {turn.rate:.2f}", (turn.rate, turn.design), va="center")
    right.set(title=f"{many[0].cpus} CPUs" if many else "", xlabel="cycles per second")
    right.margins(x=0.2)
    for axes in (left, right):
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file)
