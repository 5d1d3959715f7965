"""How a task triggers DAG runs: one for the next cycle, hundreds of CPUs at once, or the watch over them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypedDict

from dags import settings

# To Python, "$" is also before a final line end.
START_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$(?!\n)"


class Cycle(TypedDict):
    """The conf of one run of ``cpu``: a few dozen bytes, never the program."""

    start: str  # the start run
    cpu: int  # 0 runs the program as written, N runs it with its Nth instruction swapped
    cycle: int  # 0 loads; 1 and up execute
    cycles: int  # executed per pod


def run_id(cycle: Cycle) -> str:
    """The one id a cycle's run can have, so that a second trigger finds the first one's run."""
    return f"{cycle['start']}.cpu-{cycle['cpu']}.cycle-{cycle['cycle']}"


def trigger(cycle: Cycle, run_after: datetime | None = None, run: str = "") -> bool:
    """Trigger the cycle's run of ``cpu``, to start now or later; False when it exists already: as good.

    ``run`` is the run's id where it is to be another one.
    """
    return trigger_run("cpu", run or run_id(cycle), dict(cycle), run_after)


def watch(start: str, cycles: int, now: datetime, cpu: int = 0) -> str:
    """Trigger the next look after a start run's CPUs, or the rest of the present one from ``cpu`` on; its id.

    Looks are at fixed times, so that a second try finds the first one's, and a look by hand goes on with
    those that are coming anyway.
    """
    period = settings.WATCH_SECONDS
    slot = now - timedelta(seconds=now.timestamp() % period)
    if cpu == 0:
        slot += timedelta(seconds=period)
    run = f"{start}.watch-{slot:%Y%m%d-%H%M%S}" + (f".cpu-{cpu}" if cpu else "")
    trigger_run("cpu_watch", run, {"start": start, "cycles": cycles, "cpu": cpu}, slot)
    return run


def trigger_run(dag: str, run: str, conf: dict[str, Any], run_after: datetime | None = None) -> bool:
    """Trigger a DAG run, to start now or later; False when it exists already.

    Goes the way TriggerDagRunOperator goes, which can trigger only one run per task and imports the
    metadata database's models: the task's own channel to its supervisor.
    """
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun

    answer = task_runner.SUPERVISOR_COMMS.send(
        TriggerDagRun(dag_id=dag, run_id=run, conf=conf, run_after=run_after)
    )
    if isinstance(answer, ErrorResponse):
        if answer.error == ErrorType.DAGRUN_ALREADY_EXISTS:
            return False
        raise RuntimeError(f"run {run} of DAG {dag} could not be triggered: {answer}")
    return True
