"""Summarise a session of fault tests in a few lines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from cpu.keys import Keys
from scripts.airflow_api import JSON
from tests.support.stack import Stack


@dataclass
class Report:
    """Counts over all start runs of the session."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    cpus: int = 0
    cycles: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    tries: int = 0
    answers: int = 0
    standstill: float = 0
    """The most seconds from one cycle's run to the next one's, or to the end of the last one."""

    def count(self, stack: Stack, start: str) -> None:
        """Add a start run that has ended to the counts."""
        runs = stack.runs(start)
        cpus = {run["conf"]["cpu"] for run in runs}
        self.starts += 1
        self.cpus += len(cpus)
        self.cycles += sum(int(stack.redis.hget(Keys(start, cpu).registers, "cycle") or 0) for cpu in cpus)
        self.runs += Counter(run["state"] for run in runs)
        self.resumed += sum(".again-" in run["dag_run_id"] for run in runs)
        self.tries += sum(
            task["try_number"] - 1
            for task in stack.api.tasks("cpu")
            if task["dag_run_id"].startswith(start) and task["try_number"] > 1
        )
        self.answers += len(stack.answers(start))
        self.standstill = max(self.standstill, longest_standstill(runs))

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        runs = ", ".join(f"{count} {state}" for state, count in sorted(self.runs.items()))
        return (
            f"--seed {self.seed}; faults injected: {self.faults.total()} ({faults})\n"
            f"start runs that ended: {self.starts}; CPUs equal to the machine in memory: {self.cpus}, "
            f"after {self.cycles} cycles; answers, each posted once: {self.answers}\n"
            f"DAG runs of cpu: {runs}; resumed by cpu_watch: {self.resumed}; "
            f"tasks tried again: {self.tries}; longest standstill of a CPU: {self.standstill:.0f} s"
        )


def longest_standstill(runs: Sequence[JSON]) -> float:
    """Return the most seconds for which a CPU began no cycle, or its last run did not end."""
    times: defaultdict[int, list[datetime]] = defaultdict(list)
    for run in runs:
        times[run["conf"]["cpu"]] += [
            datetime.fromisoformat(run[name]) for name in ("queued_at", "end_date") if run[name]
        ]
    return max(
        (later - earlier).total_seconds()
        for each in times.values()
        for earlier, later in pairwise(sorted(each))
    )
