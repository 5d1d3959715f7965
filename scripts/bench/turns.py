"""What a benchmark of cycles measures: one turn per design and number of CPUs, and how turns compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

DESIGNS = ("bare", "ours", "article")


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
    """CPU seconds per cycle of each component of the orchestrator."""
    phases: dict[str, float]
    """Seconds of a cycle by what they are spent on."""
    pod_cpu: float
    """CPU seconds per cycle of the local Kubernetes endpoint and its pods."""

    @property
    def median_seconds(self) -> float:
        """The median of the seconds per cycle."""
        return median(self.seconds)

    @property
    def cpu_seconds(self) -> float:
        """The CPU seconds per cycle of the orchestrator."""
        return sum(self.cpu.values())


def line(turn: Turn) -> str:
    """Return a turn as one line."""
    phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in turn.phases.items())
    return (
        f"{turn.design:<8}{turn.cpus:>4} CPUs {turn.median_seconds:8.2f} s per cycle ({phases or 'the pod'})"
        f"{turn.rate:8.2f} cycles/s {turn.cpu_seconds:8.3f} CPU s per cycle"
    )


def table(turns: Sequence[Turn]) -> str:
    """Return all turns with the CPU seconds of each component, and then the comparisons."""
    lines = []
    for turn in turns:
        lines.append(line(turn))
        used = {**turn.cpu, "(local endpoint)": turn.pod_cpu}
        lines += [f"    {name:<16}{seconds:8.3f} CPU s" for name, seconds in used.items()]
    return "\n".join([*lines, *ratios(turns)])


def ratios(turns: Sequence[Turn]) -> list[str]:
    """Return how this design compares with the others, a line for each comparison at each number of CPUs."""
    lines = []
    for cpus in sorted({turn.cpus for turn in turns}):
        by_design = {turn.design: turn for turn in turns if turn.cpus == cpus}
        ours, bare, article = map(by_design.get, ("ours", "bare", "article"))
        if ours and bare:
            lines.append(
                f"{cpus:4} CPUs: {ours.median_seconds / bare.median_seconds:.2f} times the bare client's "
                f"seconds, {ours.rate / bare.rate:.2f} times its rate"
            )
        if ours and article:
            lines.append(
                f"{cpus:4} CPUs: the article's design takes "
                f"{article.median_seconds / ours.median_seconds:.1f} times the seconds, "
                f"{article.cpu_seconds / ours.cpu_seconds:.1f} times the CPU seconds; ours has "
                f"{ours.rate / article.rate:.1f} times its rate"
            )
    return lines
