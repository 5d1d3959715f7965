"""The tasks of DAG ``cpu_watch``: resume the CPUs that a survey found, and trigger the next survey."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from airflow.sdk.exceptions import AirflowFailException

from airflow_pods import REASON_KEY
from dags import settings
from dags.dag_runs import (
    Cycle,
    CyclesStuck,
    resume_cycle,
    run_id,
    run_ids,
    slow_run_ids,
    trigger_answers,
    trigger_survey,
)
from dags.notifications import post_failure, post_outage, post_recovery
from dags.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

log = logging.getLogger(__name__)

IN_PROGRESS = ["queued", "running"]
STUCK = "stuck"
"""The XCom of `resume` that lists the cycles that are stuck, and the CPUs whose registers are lost."""
REGISTERS_LOST = (
    "Redis has lost registers of {} (start the program again, and give the CPUs a Redis that does not evict: "
    "maxmemory-policy noeviction)"
)
TRY_THAT_POSTS = 6
"""The try of `look_again` whose failure is posted."""


class Problem(NamedTuple):
    """What failed in this run of the watchdog."""

    task: str
    id: str
    """The same in each run that has the same problem, so that it is posted only once."""
    cause: str


# ------------------------------------------------------------------------------------------- resume


def resume_cpus(context: Context) -> list[str]:
    """Trigger a DAG run for each due cycle or missing answer that has none in progress; return their ids.

    Raises AirflowFailException, after all of them, if cycles are stuck or registers are lost.
    """
    ti, params, since = context["ti"], context["params"], context["dag_run"].run_after
    found = ti.xcom_pull(task_ids="survey")

    def count(runs: Sequence[str], states: Sequence[str]) -> int:
        return int(ti.get_dr_count(dag_id="cpu", run_ids=list(runs), states=list(states)))

    cpus = [
        (cycle_of(params, found, cpu, last), cycle_of(params, found, cpu, due))
        for cpu, last, due in found["due"]
    ]
    answers = [cycle_of(params, found, cpu, number) for cpu, number in found["answers"]]
    abandoned = [due for last, due in cpus if not is_in_progress(count, last, due)]
    # In this order: a run may post its answer, and end, in between.
    unposted = [
        cycle
        for cycle in answers
        if not count(run_ids(cycle), IN_PROGRESS) and not is_answer_posted(ti, cycle)
    ]
    resumed: list[str] = []
    stuck: set[str] = set()
    for cycle in [*abandoned, *unposted]:
        try:
            if run := resume_cycle(cycle, since):
                resumed.append(run)
        except CyclesStuck as error:
            stuck.update(error.args)
    if params["outage"]:
        # A stuck cycle that is being tried once more stays stuck until its CPU has executed it.
        unposted = [cycle for cycle in answers if not is_answer_posted(ti, cycle)]
        for cycle in [*(due for _, due in cpus), *unposted]:
            if ti.get_dr_count(dag_id="cpu", run_ids=slow_run_ids(cycle)):
                stuck.add(run_id(cycle))
    lost = [f"{params['start']}.cpu-{cpu}" for cpu in found.get("lost", ())]
    if stuck or lost:
        fail(ti, sorted(stuck), lost)
    return resumed


def fail(ti: RuntimeTaskInstanceProtocol, stuck: Sequence[str], lost: Sequence[str]) -> NoReturn:
    """Fail the task `resume` for good: with cycles that are stuck, and CPUs whose registers are lost."""
    causes = [str(CyclesStuck(*stuck))] if stuck else []
    causes += [REGISTERS_LOST.format(", ".join(lost))] if lost else []
    cause = "; ".join(causes)
    ti.xcom_push(key=STUCK, value=[*lost, *stuck])
    ti.xcom_push(key=REASON_KEY, value=cause)
    raise AirflowFailException(cause)


def is_in_progress(count: Callable[[Sequence[str], Sequence[str]], int], last: Cycle, due: Cycle) -> bool:
    """Return whether a DAG run is in progress for a CPU, by its last and its due cycle in a survey.

    ``count`` returns how many runs of these ids are in one of these states.
    """

    def is_due_in_progress() -> bool:
        return count(run_ids(due), IN_PROGRESS) > 0

    # Asked twice: the run of the last cycle may trigger the due cycle's run, and end, in between.
    return is_due_in_progress() or count(run_ids(last), IN_PROGRESS) > 0 or is_due_in_progress()


def is_answer_posted(ti: RuntimeTaskInstanceProtocol, cycle: Cycle) -> bool:
    """Return whether a DAG run of the cycle has posted its answer: only then its task has an XCom."""
    return any(ti.xcom_pull(task_ids="notify", dag_id="cpu", run_id=run) for run in run_ids(cycle))


def cycle_of(params: Mapping[str, Any], found: Mapping[str, Any], cpu: int, number: int) -> Cycle:
    """Return a cycle that a survey found, with the cycles per pod of this run, or else of the start run."""
    cycles = params["cycles"] or found.get("cycles") or 1
    return Cycle(start=params["start"], cpu=cpu, cycle=number, cycles=int(cycles))


# --------------------------------------------------------------------------------------- look_again


def trigger_next_survey(context: Context) -> str:
    """Post if an outage begins or ends; have the answers collected if the start run is over; trigger the next
    survey. Return its run id, or "" if none follows.
    """
    ti, params, run = context["ti"], context["params"], context["dag_run"]
    start, cycles = params["start"], {"cycles": params["cycles"]} if params["cycles"] else {}
    found, problem = ti.xcom_pull(task_ids="survey"), find_problem(ti)
    outage = Outage.from_conf(params["outage"])
    if problem:
        outage = outage.after_failure(run.run_id, run.run_after, surveyed=found is not None)
        if problem.id not in outage.posted and try_to_post(
            post_outage, start, problem.task, problem.cause, outage, problem.id, context
        ):
            outage = outage.after_post(problem.id)
    else:
        outage = outage.after_success()
    if found is not None and stands_still(found, params["cpu"]):
        trigger_answers(start)
    if found and found["more"] is not None:
        return trigger_survey(start, run.run_after, found["more"], **cycles, **outage.to_conf())

    # This run may have taken so long that the next survey's time is over.
    now = max(run.run_after, datetime.now(UTC))
    is_last = is_start_run_over(context, outage, now)
    if is_last and found is None:
        trigger_answers(start)  # or rather, have its pod say that there are none any more
    if found and is_last and outage.began and not problem:
        # No survey follows that could post it: if Slack is unavailable, this task is tried again.
        post_recovery(start, outage, now, context, is_gone="cycles" not in found)
    elif found and outage.is_over() and try_to_post(post_recovery, start, outage, now, context):
        outage = Outage()
    return "" if is_last else trigger_survey(start, now, **cycles, **outage.for_next_round().to_conf())


def find_problem(ti: RuntimeTaskInstanceProtocol) -> Problem | None:
    """Return what failed in this run of the watchdog, or None."""
    if ti.xcom_pull(task_ids="survey") is None:
        # The same problem whatever the cause says: it names the pod, and each survey's pod has another name.
        task = problem = "survey"
    elif ti.xcom_pull(task_ids="resume") is None:
        task = "resume"
        stuck = ti.xcom_pull(task_ids=task, key=STUCK) or []
        problem = f"{task} {hashlib.sha256(' '.join(stuck).encode()).hexdigest()[:8]}"
    else:
        return None
    return Problem(
        task, problem, ti.xcom_pull(task_ids=task, key=REASON_KEY) or "it left no cause: see its log"
    )


def stands_still(found: Mapping[str, Any], first: int) -> bool:
    """Return whether no cycle of the start run follows: all CPUs have stopped, or the others lost registers.

    ``first``: the first CPU of the survey. Only a survey of all CPUs shows that none has a cycle due.
    """
    is_whole = first == 0 and found["more"] is None
    return found["status"] == "over" or bool(is_whole and found.get("lost") and not found["due"])


def is_start_run_over(context: Context, outage: Outage, now: datetime) -> bool:
    """Return whether all CPUs have stopped and all answers are posted, or Redis must have let go of them."""
    found = context["ti"].xcom_pull(task_ids="survey")
    if found is None:
        return outage.is_blind_for(settings.TTL_SECONDS, now)
    answers = [cycle_of(context["params"], found, cpu, number) for cpu, number in found["answers"]]
    return found["status"] == "over" and all(is_answer_posted(context["ti"], cycle) for cycle in answers)


def try_to_post(post: Callable[..., object], *args: Any) -> bool:
    """Post to Slack; log a failure and leave it to the next survey. CPUs do not wait for Slack."""
    try:
        post(*args)
    except Exception as error:
        log.warning("Not posted to Slack; the next survey tries again. %s: %s", type(error).__name__, error)
        return False
    return True


def post_failed_try(context: Context, error: Exception) -> None:
    """Post that `look_again` fails, after several tries. It keeps trying."""
    if context["ti"].try_number == TRY_THAT_POSTS:
        failed: Context = {**context, "exception": error}
        remedy = "Correct the cause: the task keeps trying"
        try_to_post(post_failure, context["params"]["start"], failed, remedy)
