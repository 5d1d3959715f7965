"""DAG ``cpu_watch``, the watchdog: resumes CPUs whose DAG runs failed or vanished.

survey (a pod) → resume → look_again, whatever became of the two, until the start run is over
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from dags import settings
from dags.dag_runs import START_PATTERN, Cycle, GivenUp, go_on, run_id, runs_of, slow_runs_of, watch
from dags.notifications import SlackRetryPolicy, post_failure, post_outage, post_recovery
from dags.outage import SCHEMA, Outage
from dags.pods import REASON_KEY, PodOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

DOC = """
### See to it that every CPU of a start run comes to its end

A CPU whose latest run has failed, was deleted or marked as a success by hand, would wait for its next cycle
for ever; so would every CPU after Redis was restored from a backup. Every few minutes after `cpu_start`,
until all CPUs have stopped, one run of this DAG looks for such CPUs.

| task | what it does |
|---|---|
| `survey` | a pod tells which cycle is due of each CPU that has not stopped, or has an answer to tell |
| `resume` | triggers a run of `cpu` for each due cycle that no run is in progress for: `….again-1` |
| `look_again` | triggers the next look, unless the start run is over |

Where a look fails, the next one follows all the same, for as long as Redis keeps the start run (CPU_TTL).
Slack is told once when looks begin to fail, and once when they work again.

A run that ended after the look was due is left to the next look. Trigger it by hand, with a start run's name,
to have it looked after now. Where Redis is some cycles back, these cycles get further runs as well, one after
the other. A cycle happens once, however many runs ask for it.
"""

log = logging.getLogger(__name__)

IN_PROGRESS = ["queued", "running"]
GIVEN_UP = "given_up"
"""The XCom of `resume` that lists the cycles that are given up, and the CPUs that are lost."""
LOST = (
    "Redis has lost registers of {} (start the program again, and give the CPUs a Redis that does not evict: "
    "maxmemory-policy noeviction)"
)
TOLD_AT_TRY = 6
"""The try of `look_again` at which people are told that it does not succeed."""


def is_looked_after(count: Callable[[Sequence[str], Sequence[str]], int], last: Cycle, due: Cycle) -> bool:
    """Whether a run is in progress for a CPU, of which a survey told its last and its due cycle.

    ``count`` says how many runs of these ids are in one of these states.
    """

    def is_begun() -> bool:
        return count(runs_of(due), IN_PROGRESS) > 0

    # Between two looks the last cycle's run may have ended, by triggering the due one's.
    return is_begun() or count(runs_of(last), IN_PROGRESS) > 0 or is_begun()


def is_told(ti: RuntimeTaskInstanceProtocol, cycle: Cycle) -> bool:
    """Return whether a run of the cycle has posted its answer: a task that was only marked left no XCom."""
    return any(ti.xcom_pull(task_ids="notify", dag_id="cpu", run_id=run) for run in runs_of(cycle))


def cycle_of(params: Mapping[str, Any], found: Mapping[str, Any], cpu: int, number: int) -> Cycle:
    """Return a cycle that a survey has found, with this look's cycles per pod, or else the start run's."""
    cycles = params["cycles"] or found.get("cycles") or 1
    return Cycle(start=params["start"], cpu=cpu, cycle=number, cycles=int(cycles))


def trouble_of(ti: RuntimeTaskInstanceProtocol) -> tuple[str, str, str] | None:
    """Return what has failed in this look, if anything: the task, what to know it by, and the cause."""
    if ti.xcom_pull(task_ids="survey") is None:
        task = trouble = "survey"  # one trouble however it is put: each look's pod has another name
    elif ti.xcom_pull(task_ids="resume") is None:
        task = "resume"
        given_up = ti.xcom_pull(task_ids=task, key=GIVEN_UP) or []
        trouble = f"{task} {hashlib.sha256(' '.join(given_up).encode()).hexdigest()[:8]}"
    else:
        return None
    return task, trouble, ti.xcom_pull(task_ids=task, key=REASON_KEY) or "it left no reason: see its log"


def posted(tell: Callable[..., object], *args: Any) -> bool:
    """Post to Slack. What goes wrong is logged, and left to the next look: CPUs do not wait for Slack."""
    try:
        tell(*args)
    except Exception as error:
        log.warning(
            "People could not be told; the next look tries again. %s: %s", type(error).__name__, error
        )
        return False
    return True


def next_look(context: Context) -> str:
    """Tell people when looks begin to fail or work again. Trigger what follows; return its run id, or ""."""
    ti, params, run = context["ti"], context["params"], context["dag_run"]
    start, cycles = params["start"], {"cycles": params["cycles"]} if params["cycles"] else {}
    found = ti.xcom_pull(task_ids="survey")
    outage = Outage.of(params["outage"])
    if trouble := trouble_of(ti):
        task, known_by, why = trouble
        outage = outage.fails(run.run_id, run.run_after, surveyed=found is not None)
        if known_by not in outage.told and posted(post_outage, start, task, why, outage, known_by, context):
            outage = outage.is_known(known_by)
    else:
        outage = outage.works()
    if found and found["more"] is not None:
        return watch(start, run.run_after, found["more"], **cycles, **outage.conf())

    # Where this look took long, the next one is not due when this one was.
    now = max(run.run_after, datetime.now(UTC))
    if found is None:
        is_over = outage.outlasts(settings.TTL_SECONDS, now)
    else:
        news = [cycle_of(params, found, cpu, number) for cpu, number in found["answers"]]
        is_over = found["status"] == "over" and all(is_told(ti, cycle) for cycle in news)
    if found and is_over and outage.began and not trouble:
        post_recovery(start, outage, now, context, is_gone="cycles" not in found)  # no look follows
    elif found and outage.has_ended() and posted(post_recovery, start, outage, now, context):
        outage = Outage()
    return "" if is_over else watch(start, now, **cycles, **outage.next_look().conf())


with DAG(
    dag_id="cpu_watch",
    description="Resumes CPUs whose DAG runs have failed. Triggered by cpu_start, or by hand.",
    doc_md=DOC,
    max_active_runs=16,
    **settings.TRIGGERED,
    params={
        "start": Param(type="string", pattern=START_PATTERN, description="The start run"),
        "cycles": Param(
            None,
            type=["integer", "null"],
            minimum=1,
            maximum=10_000,
            description="Cycles per pod; as the start run was given them, where empty",
        ),
        "cpu": Param(0, type="integer", minimum=0, maximum=10_000, description="The first CPU to look at"),
        "outage": Param({}, **SCHEMA, description="The trouble that earlier looks found. Leave it empty."),
    },
) as dag:
    survey = PodOperator(
        task_id="survey",
        name="cpu-{{ params.start }}-survey-{{ dag_run.run_after.strftime('%Y%m%d-%H%M%S') }}"
        "-{{ params.cpu }}",
        arguments=["survey", "--start", "{{ params.start }}", "--cpu", "{{ params.cpu }}"],
        labels={"app": "cluster-cpu", "start": "{{ params.start }}", "command": "survey"},
        strict_conf=True,
        **settings.POD,
    )

    @task
    def resume() -> list[str]:
        """Trigger a run for each due cycle that has no run in progress; the XCom lists their ids."""
        context = get_current_context()
        ti, params, since = context["ti"], context["params"], context["dag_run"].run_after
        found = ti.xcom_pull(task_ids="survey")

        def count(runs: Sequence[str], states: Sequence[str]) -> int:
            return int(ti.get_dr_count(dag_id="cpu", run_ids=list(runs), states=list(states)))

        latest = [
            (cycle_of(params, found, cpu, last), cycle_of(params, found, cpu, due))
            for cpu, last, due in found["due"]
        ]
        stuck = [due for last, due in latest if not is_looked_after(count, last, due)]
        news = [cycle_of(params, found, cpu, number) for cpu, number in found["answers"]]
        # In this order: a run may tell them, and end, in between.
        untold = [
            cycle for cycle in news if not count(runs_of(cycle), IN_PROGRESS) and not is_told(ti, cycle)
        ]
        resumed: list[str] = []
        given_up: set[str] = set()
        for cycle in [*stuck, *untold]:
            try:
                resumed += filter(None, [go_on(cycle, since)])
            except GivenUp as error:
                given_up.update(error.args)
        if params["outage"]:
            # One that was given up, and is tried once more, is not well before it has come on.
            pending = [*(due for _, due in latest), *(cycle for cycle in news if not is_told(ti, cycle))]
            given_up.update(
                run_id(cycle)
                for cycle in pending
                if ti.get_dr_count(dag_id="cpu", run_ids=slow_runs_of(cycle))
            )
        lost = [f"{params['start']}.cpu-{cpu}" for cpu in found.get("lost", ())]
        if given_up or lost:
            why = "; ".join(
                [
                    *([str(GivenUp(*sorted(given_up)))] if given_up else []),
                    *([LOST.format(", ".join(lost))] if lost else []),
                ]
            )
            ti.xcom_push(key=GIVEN_UP, value=[*lost, *sorted(given_up)])
            ti.xcom_push(key=REASON_KEY, value=why)
            raise AirflowFailException(why)
        return resumed

    # It keeps trying for as long as Redis keeps the start run.
    @task(retries=settings.TRIES_FOR_A_TTL, retry_policy=SlackRetryPolicy())
    def look_again() -> str:
        """Trigger the next look; the XCom is its id, empty when the start run is over and all is told."""
        context = get_current_context()
        try:
            return next_look(context)
        except Exception as error:
            if context["ti"].try_number == TOLD_AT_TRY:
                posted(post_failure, context["params"]["start"], {**context, "exception": error})
            raise

    # As a teardown it follows whatever became of the others, even where somebody marks the run as failed; and
    # the state of the run is theirs.
    survey >> resume() >> look_again().as_teardown()
