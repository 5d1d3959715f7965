"""The DAG runs of cycles in Airflow's database, and what the seconds between them are spent on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scripts.airflow_api import Api
from scripts.bench.stacks import wait_or_exit
from scripts.bench.watcher import Cycle
from scripts.local.services import postgres
from scripts.local.settings import Settings

QUERY = """
SELECT dag_run.run_id, extract(epoch FROM dag_run.created_at), extract(epoch FROM task.scheduled_dttm),
    extract(epoch FROM task.queued_dttm), extract(epoch FROM task.start_date)
FROM dag_run LEFT JOIN task_instance AS task
    ON task.dag_id = dag_run.dag_id AND task.run_id = dag_run.run_id AND task.task_id = 'execute'
WHERE dag_run.dag_id = :'dag' AND dag_run.run_id LIKE :'start' || '.cpu-%' ORDER BY dag_run.id
"""


@dataclass(frozen=True)
class Run:
    """A cycle's DAG run. Times are seconds since 1970; nan means not yet."""

    cycle: Cycle
    created: float
    scheduled: float = math.nan
    """When its task that has a pod was last scheduled."""
    queued: float = math.nan
    """When that task was last queued."""
    started: float = math.nan
    """When that task first started."""


def runs_of(settings: Settings, dag: str, start: str) -> list[Run]:
    """Return the runs of a DAG for the cycles of a start run."""
    return [
        Run(cycle_of(run_id), *(float(time or "nan") for time in times))
        for run_id, *times in postgres.query(settings, QUERY, dag=dag, start=start)
    ]


def cancel(api: Api, dag: str, start: str, patience: float) -> None:
    """Have the CPUs of a start run stop at their next cycle, and wait until no run of the DAG is left.

    Exits the program if that takes longer than ``patience`` seconds.
    """
    api.trigger("cpu_cancel", {"start": start})
    wait_or_exit(
        lambda: api.count_runs(dag, state=["queued", "running"]) == 0, patience, "the CPUs do not stop"
    )


def cycle_of(run_id: str) -> Cycle:
    """Return the start run, CPU and cycle that a run id names."""
    start, cpu, cycle = run_id.split(".")[:3]
    return start, int(cpu.removeprefix("cpu-")), int(cycle.removeprefix("cycle-"))


def pairs(runs: Sequence[Run]) -> Iterator[tuple[Run, Run]]:
    """Yield each executed cycle's run with the run of the same CPU's next cycle."""
    by_cycle = {run.cycle: run for run in runs}
    for run in runs:
        start, cpu, cycle = run.cycle
        following = by_cycle.get((start, cpu, cycle + 1))
        if cycle > 0 and following:
            yield run, following


def phases(run: Run, created: float, ended: float, following: float, creator: str) -> dict[str, float]:
    """Return the seconds of a cycle by what they are spent on.

    ``created`` and ``ended`` are the times of its pod, and ``following`` is when the next run was created.
    ``creator`` is what creates a pod that the triggerer waits for: the worker or the triggerer.
    """
    if run.scheduled > run.started:  # scheduled again after the triggerer
        found = {
            "scheduler": run.started - run.created + run.queued - run.scheduled,
            "triggerer": run.scheduled - ended,
            "pod": ended - created,
            "worker": following - run.queued,
        }
        found[creator] += created - run.started
        return found
    return {
        "scheduler": run.queued - run.created,
        "worker": created - run.queued,
        "pod": ended - created,
        "next run": following - ended,
    }
