"""How a task triggers DAG runs: one for the next cycle, hundreds of CPUs at once, or the watch over them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypedDict

from airflow.sdk.exceptions import AirflowFailException

from dags import settings

# To Python, "$" is also before a final line end.
START_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$(?!\n)"

AGAIN = 5
"""How many more runs a cycle has, one per look of the watchdog, before people are told that it is stuck."""
SLOWLY = 16
"""How many more after those, each after twice the pause: enough for as long as Redis keeps a start run."""


class GivenUp(AirflowFailException):
    """These cycles are due, and so many of their runs have failed that people must look at them."""

    def __str__(self) -> str:
        return (
            f"these cycles' runs came to nothing, {AGAIN + 1} or more of each: {', '.join(self.args)} "
            "(see what their logs say; once that is put right, clear their failed tasks, or wait: they are "
            "tried again, ever less often)"
        )


class Cycle(TypedDict):
    """The conf of one run of ``cpu``: a few dozen bytes, never the program."""

    start: str  # the start run
    cpu: int  # 0 runs the program as written, N runs it with its Nth instruction swapped
    cycle: int  # 0 loads; 1 and up execute
    cycles: int  # executed per pod


def run_id(cycle: Cycle) -> str:
    """The one id a cycle's run can have, so that a second trigger finds the first one's run."""
    return f"{cycle['start']}.cpu-{cycle['cpu']}.cycle-{cycle['cycle']}"


def runs_of(cycle: Cycle) -> list[str]:
    """The ids of every run that a cycle can have: its own, and those that go on after it was given up."""
    own = run_id(cycle)
    return [own, *(f"{own}.again-{number}" for number in range(1, AGAIN + SLOWLY + 1))]


def slow_runs_of(cycle: Cycle) -> list[str]:
    """Return the ids of those runs that a cycle has only after people were told that it is stuck."""
    return runs_of(cycle)[AGAIN + 1 :]


def pause_before(number: int) -> timedelta:
    """Return how long the run before must have ended before this one is triggered, beyond the first few."""
    return (
        timedelta(seconds=settings.WATCH_SECONDS * 2 ** (number - AGAIN)) if number > AGAIN else timedelta()
    )


def trigger(cycle: Cycle, run_after: datetime | None = None, run: str = "") -> bool:
    """Trigger the cycle's run of ``cpu``, to start now or later. Returns False if the run already exists.

    ``run`` is the run's id, if it is not the cycle's first run.
    """
    return trigger_run("cpu", run or run_id(cycle), dict(cycle), run_after)


def go_on(cycle: Cycle, since: datetime) -> str:
    """Trigger a run of a cycle that is due since then; return its id, or "" if another run is at it already.

    A run that ended before then did not execute the cycle: it failed, somebody marked it as a success, or
    Redis has lost the cycle since. Then the next run in the list is triggered. Raises GivenUp when that run
    follows only after a pause, and the pause is not over.

    Both times are Airflow's own. A run taken for an earlier one all the same does no harm: its pod finds the
    cycle's kept result, or is refused.
    """
    runs = runs_of(cycle)
    for number, run in enumerate(runs):
        pause = pause_before(number)
        if pause and not has_ended(runs[number - 1], since - pause):
            raise GivenUp(run_id(cycle))
        if trigger(cycle, run=run):
            return run
        if not has_ended(run, since):
            return ""
    raise GivenUp(run_id(cycle))


def has_ended(run: str, before: datetime) -> bool:
    """Whether a run of ``cpu`` ended before that time, and was not cleared since."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import DagRunResult, GetDagRun

    answer = task_runner.SUPERVISOR_COMMS.send(GetDagRun(dag_id="cpu", run_id=run))
    if not isinstance(answer, DagRunResult):
        raise RuntimeError(f"Airflow does not tell of run {run} of DAG cpu: {answer}")
    is_over = answer.state in ("success", "failed")
    return is_over and answer.end_date is not None and answer.end_date < before


def is_triggered(cycle: Cycle) -> bool:
    """Whether the cycle's run of ``cpu`` is there."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import DRCount, GetDRCount

    run = run_id(cycle)
    answer = task_runner.SUPERVISOR_COMMS.send(GetDRCount(dag_id="cpu", run_ids=[run]))
    if not isinstance(answer, DRCount):
        raise RuntimeError(f"Airflow does not tell whether there is run {run} of DAG cpu: {answer}")
    return answer.count > 0


def watch(start: str, now: datetime, cpu: int = 0, **more: Any) -> str:
    """Trigger the next look at a start run's CPUs, or the rest of this one from `cpu` on; return its run id.

    Looks are at fixed times, so that a second try finds the first one's, and a look by hand goes on with
    those that are coming anyway. `more` are further parameters of the look.
    """
    period = settings.WATCH_SECONDS
    slot = now - timedelta(seconds=now.timestamp() % period)
    if cpu == 0:
        slot += timedelta(seconds=period)
    run = f"{start}.watch-{slot:%Y%m%d-%H%M%S}" + (f".cpu-{cpu}" if cpu else "")
    trigger_run("cpu_watch", run, {"start": start, "cpu": cpu, **more}, slot)
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
