"""What a benchmark of cycles measures: one turn per design and number of CPUs, and how turns compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

LIMITS = {"bare": "the bare client", "job": "the Job"}
"""The designs without Airflow."""
OTHERS = {
    "article": "the article's design",
    "stock": "the stock operator",
    "stock-deferrable": "the deferrable stock operator",
}
"""The designs with Airflow beside ours."""
DESIGNS = (*LIMITS, "ours", *OTHERS)
ORCHESTRATOR = ("api-server", "dag-processor", "scheduler", "worker", "triggerer", "postgres", "client")
"""The components whose CPU time a cycle costs: Airflow and PostgreSQL, or the client that runs the pods."""


@dataclass(frozen=True)
class Turn:
    """The measurements of one design with one number of CPUs."""

    design: str
    cpus: int
    seconds: list[float]
    """Of each cycle."""
    rate: float
    """Cycles of all CPUs per second."""
    cpu: dict[str, float]
    """CPU seconds per cycle of each component of the stack."""
    phases: dict[str, float]
    """Seconds of a cycle by what they are spent on."""

    @property
    def median_seconds(self) -> float:
        """The median of the seconds per cycle."""
        return median(self.seconds)

    @property
    def cpu_seconds(self) -> float:
        """The CPU seconds per cycle of Airflow and PostgreSQL, or of the client."""
        return sum(self.cpu.get(name, 0.0) for name in ORCHESTRATOR)


def line(turn: Turn) -> str:
    """Return a turn as one line."""
    phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in turn.phases.items())
    return (
        f"{turn.design:<17}{turn.cpus:>4} CPUs {turn.median_seconds:8.2f} s per cycle ({phases or 'the pod'})"
        f"{turn.rate:8.2f} cycles/s {turn.cpu_seconds:8.3f} CPU s per cycle"
    )


def table(turns: Sequence[Turn]) -> str:
    """Return all turns with the CPU seconds of each component, and then the comparisons."""
    lines = []
    for turn in turns:
        lines.append(line(turn))
        in_the_sum = {name: turn.cpu[name] for name in ORCHESTRATOR if name in turn.cpu}
        lines += [
            f"    {name:<16}{seconds:8.3f} CPU s" + ("" if name in in_the_sum else " (not in the sum)")
            for name, seconds in (in_the_sum | turn.cpu).items()
        ]
    return "\n".join([*lines, *ratios(turns)])


def summary(stack: str, turns: Sequence[Turn]) -> dict[str, Any]:
    """Return the figures of each turn by stack, design and number of CPUs, for programs to read."""
    figures: dict[str, Any] = {}
    for turn in turns:
        figures.setdefault(turn.design, {})[str(turn.cpus)] = {
            "seconds_per_cycle": turn.median_seconds,
            "cycles_per_second": turn.rate,
            "cpu_seconds_per_cycle": turn.cpu_seconds,
        }
    return {stack: figures}


def ratios(turns: Sequence[Turn]) -> list[str]:
    """Return how our design compares with the others, a line for each comparison at each number of CPUs."""
    lines = []
    for cpus in sorted({turn.cpus for turn in turns}):
        by_design = {turn.design: turn for turn in turns if turn.cpus == cpus}
        if ours := by_design.get("ours"):
            lines += [
                f"{cpus:4} CPUs: {_ratio(ours, by_design[design])}"
                for design in DESIGNS
                if design in by_design and design != "ours"
            ]
    return lines


def _ratio(ours: Turn, other: Turn) -> str:
    if other.design in LIMITS:
        return (
            f"ours takes {ours.median_seconds / other.median_seconds:.2f} times the seconds of "
            f"{LIMITS[other.design]} and has {ours.rate / other.rate:.2f} times its rate"
        )
    return (
        f"{OTHERS[other.design]} takes {other.median_seconds / ours.median_seconds:.1f} times our seconds "
        f"and {other.cpu_seconds / ours.cpu_seconds:.1f} times our CPU seconds; ours has "
        f"{ours.rate / other.rate:.1f} times its rate"
    )
