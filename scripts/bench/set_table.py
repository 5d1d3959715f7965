"""What a benchmark of many pods measures of each design, and how the designs compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scripts.bench.turns import ORCHESTRATOR

COLUMNS = ("pods", "seconds", "pods/s", "of bare", "CPU s/pod", "task instances", "memory, MB")
"""The columns of the table, after the design."""


@dataclass(frozen=True)
class Measured:
    """The measurements of one design."""

    design: str
    pods: int
    in_flight: int
    """The most pods that were to run at once."""
    seconds: float
    """From the start of the work until the last result was known."""
    cpu: dict[str, float]
    """CPU seconds of each component, of all pods."""
    task_instances: int | None = None
    """Of the DAG run; None without Airflow."""
    memory: int | None = None
    """The most bytes of Airflow's processes above those of an idle Airflow; None without Airflow."""

    @property
    def rate(self) -> float:
        """Pods per second."""
        return self.pods / self.seconds

    @property
    def cpu_seconds(self) -> float:
        """The CPU seconds per pod of Airflow and PostgreSQL, or of the client."""
        return sum(self.cpu.get(name, 0.0) for name in ORCHESTRATOR) / self.pods


def table(found: Sequence[Measured]) -> str:
    """Return a row for each design, and below them the CPU seconds of each component."""
    heading = "".join(f"  {name:>{_width(name)}}" for name in COLUMNS)
    lines = [f"{'':<17}{heading}"]
    for one in found:
        cells = (
            str(one.pods),
            f"{one.seconds:.1f}",
            f"{one.rate:.2f}",
            _percent(share(one, found)),
            f"{one.cpu_seconds:.4f}",
            _or_dash(one.task_instances),
            _or_dash(None if one.memory is None else round(one.memory / 1e6)),
        )
        row = "".join(f"  {cell:>{_width(name)}}" for name, cell in zip(COLUMNS, cells, strict=True))
        lines.append(f"{one.design:<17}{row}")
    lines += ["", "CPU s per pod of each component; those in brackets are not in the sum:"]
    for one in found:
        parts = [f"{name} {used / one.pods:.4f}" for name, used in one.cpu.items() if name in ORCHESTRATOR]
        parts += [
            f"({name} {used / one.pods:.4f})" for name, used in one.cpu.items() if name not in ORCHESTRATOR
        ]
        lines.append(f"{one.design:<17}  {', '.join(parts)}")
    return "\n".join(lines)


def share(one: Measured, found: Sequence[Measured]) -> float | None:
    """Return the rate of a design as a share of the bare client's; None if that was not measured."""
    bare = next((other for other in found if other.design == "bare"), None)
    return one.rate / bare.rate if bare else None


def summary(stack: str, found: Sequence[Measured]) -> dict[str, Any]:
    """Return the figures by stack and design, for programs to read."""
    return {
        stack: {
            one.design: {
                "pods": one.pods,
                "in_flight": one.in_flight,
                "pods_per_second": one.rate,
                "share_of_bare": share(one, found),
                "cpu_seconds_per_pod": one.cpu_seconds,
                "task_instances": one.task_instances,
                "memory_above_idle_bytes": one.memory,
            }
            for one in found
        }
    }


def _width(name: str) -> int:
    return max(len(name), 7)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)
