"""How a task triggers DAG runs of ``cpu``: one for the next cycle, or hundreds at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from datetime import datetime


class Cycle(TypedDict):
    """The conf of one run of ``cpu``: a few dozen bytes, never the program."""

    start: str  # the start run
    cpu: int  # 0 runs the program as written, N runs it with its Nth instruction swapped
    cycle: int  # 0 loads; 1 and up execute
    cycles: int  # executed per pod


def run_id(cycle: Cycle) -> str:
    """The one id a cycle's run can have, so that a second trigger finds the first one's run."""
    return f"{cycle['start']}.cpu-{cycle['cpu']}.cycle-{cycle['cycle']}"


def trigger(cycle: Cycle, run_after: datetime | None = None) -> bool:
    """Trigger the cycle's run of ``cpu``, to start now or later; False when it exists already: as good.

    Goes the way TriggerDagRunOperator goes, which can trigger only one run per task and imports the
    metadata database's models: the task's own channel to its supervisor.
    """
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun

    answer = task_runner.SUPERVISOR_COMMS.send(
        TriggerDagRun(dag_id="cpu", run_id=run_id(cycle), conf=dict(cycle), run_after=run_after)
    )
    if isinstance(answer, ErrorResponse):
        if answer.error == ErrorType.DAGRUN_ALREADY_EXISTS:
            return False
        raise RuntimeError(f"run {run_id(cycle)} of DAG cpu could not be triggered: {answer}")
    return True
