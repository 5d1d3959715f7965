"""Draw the turns of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.bench.turns import Turn

COLOURS = {
    "scheduler": "#b9cfdc",
    "triggerer": "#8fb08c",
    "worker": "#7aa6c2",
    "pod": "#2f5d7c",
    "next run": "#c9b79c",
}


def draw(turns: Sequence[Turn], file: Path) -> None:
    """Draw the seconds per cycle of one CPU by what they are spent on, and the rate of many CPUs."""
    # Imported here: only a picture needs it.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    one = [turn for turn in turns if turn.cpus == 1]
    many = [turn for turn in turns if turn.cpus > 1]
    for turn in one:
        left_edge = 0.0
        for name, seconds in (turn.phases or {"pod": turn.median_seconds}).items():
            left.barh(turn.design, seconds, left=left_edge, color=COLOURS[name], label=name)
            left_edge += seconds
        left.annotate(f" {turn.median_seconds:.2f} s", (left_edge, turn.design), va="center")
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
