"""Trigger DAG runs from a task: a CPU's next cycle, hundreds of CPUs at once, the watchdog's next survey, the
collection of the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypedDict

from airflow.sdk import Param, get_current_context
from airflow.sdk.exceptions import AirflowFailException

from airflow_pods import NextRun, NextStep
from dags import names, settings

# To Python, "$" also matches before a final line end.
START_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$(?!\n)"
START_PARAM = Param(
    type="string",
    pattern=START_PATTERN,
    title="Start run",
    description="Its name, such as 20261122-084725-a1b2c3. The ids of its runs of cpu begin with it.",
)
"""The parameter of the DAGs that people trigger for a start run that exists."""
MAX_RESUMES = 5
"""How many further DAG runs a cycle gets, one per survey of the watchdog, before it is reported as stuck."""
MAX_SLOW_RESUMES = 16
"""How many a stuck cycle gets, each after twice the pause: enough for as long as Redis keeps a start run."""


class Cycle(TypedDict):
    """The conf of a DAG run of ``cpu``, whose pod executes one or more cycles of one CPU.

    A few dozen bytes: the program is in Redis.
    """

    start: str
    """The start run."""
    cpu: int
    """0 runs the program as written, N runs it with its Nth instruction swapped."""
    cycle: int
    """The first cycle that the pod executes; 0 loads the CPU."""
    cycles: int
    """How many cycles the pod executes."""


class CyclesStuck(AirflowFailException):
    """All DAG runs of these cycles failed, so that a person must act. The arguments are run ids."""

    def __str__(self) -> str:
        return (
            f"all DAG runs of these cycles failed, {MAX_RESUMES + 1} or more of each: {', '.join(self.args)} "
            "(read the logs of their failed tasks and correct the cause; then clear these tasks, or wait: "
            "they are tried again at ever longer intervals)"
        )


def run_id(cycle: Cycle) -> str:
    """Return the id of a cycle's first DAG run, the same in every try, so that it is triggered only once."""
    return names.run_id(cycle["start"], cycle["cpu"], cycle["cycle"])


def run_ids(cycle: Cycle) -> list[str]:
    """Return the ids of all DAG runs that a cycle may get, in order: its first, then those that resume it."""
    first = run_id(cycle)
    return [first, *(f"{first}.again-{number}" for number in range(1, MAX_RESUMES + MAX_SLOW_RESUMES + 1))]


def slow_run_ids(cycle: Cycle) -> list[str]:
    """Return the ids of the DAG runs that a cycle gets only after it was reported as stuck."""
    return run_ids(cycle)[MAX_RESUMES + 1 :]


def cycle_of_this_cpu(number: int) -> Cycle:
    """Return another cycle of the CPU whose DAG run this task belongs to."""
    return cycle_of(get_current_context()["params"], number)


def cycle_of(params: Mapping[str, Any], number: int) -> Cycle:
    """Return a cycle of the CPU that a DAG run's parameters name."""
    return Cycle(start=params["start"], cpu=params["cpu"], cycle=number, cycles=params["cycles"])


def task_after(result: dict[str, Any]) -> str:
    """Return the task that follows a cycle's pod."""
    if result["status"] == "ok":
        return "next_cycle"
    return "read" if "verdict" in result else "halt"


def follow_status(result: dict[str, Any]) -> str:
    """Return the task that follows a cycle's pod. Trigger the next cycle's DAG run, or if the start run is
    over, the one that collects its answers.
    """
    task_id = task_after(result)
    if task_id == "next_cycle":
        trigger_next_cycle(result)
    elif result.get("over"):
        trigger_answers(result["start"])
    return task_id


def next_step(result: dict[str, Any], params: Mapping[str, Any]) -> NextStep:
    """Return as plain data what `follow_status` does, if no earlier try has triggered the next cycle."""
    task_id = task_after(result)
    if task_id != "next_cycle":
        return NextStep(task_id, answers_run(params["start"]) if result.get("over") else None)
    cycle = cycle_of(params, result["cycle"] + 1)
    return NextStep(task_id, NextRun("cpu", run_id(cycle), cycle))


def trigger_next_cycle(result: dict[str, Any]) -> None:
    """Trigger the DAG run of this CPU's next cycle, unless an earlier try has triggered it."""
    resume_cycle(cycle_of_this_cpu(result["cycle"] + 1), get_current_context()["dag_run"].run_after)


def already_triggered() -> str:
    """Return ``next_cycle`` if an earlier try has triggered this CPU's next cycle, otherwise "".

    That try was killed later. If the next cycle has happened since, the pod refuses this cycle.
    """
    params = get_current_context()["params"]
    return "next_cycle" if is_triggered(cycle_of_this_cpu(params["cycle"] + params["cycles"])) else ""


def trigger_cycle(cycle: Cycle, run_after: datetime | None = None, run: str = "") -> bool:
    """Trigger a cycle's DAG run, to start now or later. Return False if the run already exists.

    ``run``: the run's id, if it is not the cycle's first run.
    """
    return trigger_run("cpu", run or run_id(cycle), dict(cycle), run_after)


def resume_cycle(cycle: Cycle, since: datetime) -> str:
    """Trigger a DAG run of a cycle that is due since then; return its id, or "" if another run handles it.

    A run that ended before that time did not execute the cycle: it failed, a person marked it as a success,
    or Redis has lost the cycle since. Then the next run in the list is triggered. Raises CyclesStuck if that
    one must wait for a pause, or if the list is exhausted.

    Both times are Airflow's. Mistaking a run for an earlier one does no harm: its pod finds the cycle's kept
    result, or is refused.
    """
    runs = run_ids(cycle)
    for number, run in enumerate(runs):
        pause = _pause_before(number)
        if pause and not has_ended(runs[number - 1], since - pause):
            raise CyclesStuck(run_id(cycle))
        if trigger_cycle(cycle, run=run):
            return run
        if not has_ended(run, since):
            return ""
    raise CyclesStuck(run_id(cycle))


def _pause_before(number: int) -> timedelta:
    """Return how long ago the previous run must have ended; no time for the first few runs."""
    exponent = number - MAX_RESUMES
    return timedelta(seconds=settings.WATCH_SECONDS * 2**exponent) if exponent > 0 else timedelta()


def answers_run(start: str) -> NextRun:
    """Return the DAG run that collects the answers of a start run; its run of ``cpu_start`` waits for it."""
    return NextRun("cpu_answers", f"{start}.answers", {"start": start})


def trigger_answers(start: str) -> bool:
    """Have the answers of a start run collected, once. Return False if they are or were already."""
    run = answers_run(start)
    return trigger_run(run.dag_id, run.run_id, dict(run.conf))


def trigger_survey(start: str, now: datetime, cpu: int = 0, **params: Any) -> str:
    """Trigger a run of the watchdog for a start run; return its id.

    ``cpu``: 0 for the next round, at the next of the fixed times; otherwise the first CPU of the rest of this
    round, now. Times are fixed so that a second try finds the run of the first, and so that a run by hand is
    followed by the one that is planned anyway. ``params``: further parameters of the run.
    """
    period = settings.WATCH_SECONDS
    slot = now - timedelta(seconds=now.timestamp() % period)
    if cpu == 0:
        slot += timedelta(seconds=period)
    run = f"{start}.watch-{slot:%Y%m%d-%H%M%S}" + (f".cpu-{cpu}" if cpu else "")
    trigger_run("cpu_watch", run, {"start": start, "cpu": cpu, **params}, slot)
    return run


# ------------------------------------------------------------------------ what a task asks of Airflow
# By the task's own channel to its supervisor, as TriggerDagRunOperator does. That operator triggers only one
# run per task, and imports the models of the metadata database.


def trigger_run(dag: str, run: str, conf: dict[str, Any], run_after: datetime | None = None) -> bool:
    """Trigger a DAG run, to start now or later. Return False if it already exists."""
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun

    request = TriggerDagRun(dag_id=dag, run_id=run, conf=conf, run_after=run_after)
    answer = task_runner.SUPERVISOR_COMMS.send(request)
    if isinstance(answer, ErrorResponse):
        if answer.error == ErrorType.DAGRUN_ALREADY_EXISTS:
            return False
        raise RuntimeError(f"run {run} of DAG {dag} could not be triggered: {answer}")
    return True


def has_ended(run: str, before: datetime) -> bool:
    """Return whether a run of ``cpu`` ended before that time and was not cleared since."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import DagRunResult, GetDagRun

    answer = task_runner.SUPERVISOR_COMMS.send(GetDagRun(dag_id="cpu", run_id=run))
    if not isinstance(answer, DagRunResult):
        raise RuntimeError(f"Airflow does not give the state of run {run} of DAG cpu: {answer}")
    is_over = answer.state in ("success", "failed")
    return is_over and answer.end_date is not None and answer.end_date < before


def is_triggered(cycle: Cycle) -> bool:
    """Return whether the cycle's first DAG run exists."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import DRCount, GetDRCount

    run = run_id(cycle)
    answer = task_runner.SUPERVISOR_COMMS.send(GetDRCount(dag_id="cpu", run_ids=[run]))
    if not isinstance(answer, DRCount):
        raise RuntimeError(f"Airflow does not say whether run {run} of DAG cpu exists: {answer}")
    return answer.count > 0
