"""DAG ``cpu_watch``: nothing is lost. A CPU that nobody goes on with is gone on with.

survey (a pod) → resume → look_again, until the start run is over
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, get_current_context, task

from dags import settings
from dags.news import tell_failure
from dags.pods import PodOperator
from dags.runs import START_PATTERN, Cycle, GivenUp, go_on, runs_of, watch
from dags.words import happened

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

A run that ended after the look was due is left to the next look. Trigger it by hand, with a start run's name,
to have it looked after now. Where Redis is some cycles back, these cycles get further runs as well, one after
the other. A cycle happens once, however many runs ask for it.
"""

IN_PROGRESS = ["queued", "running"]


def is_looked_after(count: Callable[[Sequence[str], Sequence[str]], int], last: Cycle, due: Cycle) -> bool:
    """Whether a run is in progress for a CPU, of which a survey told its last and its due cycle.

    ``count`` says how many runs of these ids are in one of these states.
    """

    def is_begun() -> bool:
        return count(runs_of(due), IN_PROGRESS) > 0

    # Between two looks the last cycle's run may have ended, by triggering the due one's.
    return is_begun() or count(runs_of(last), IN_PROGRESS) > 0 or is_begun()


def is_told(ti: RuntimeTaskInstanceProtocol, cycle: Cycle) -> bool:
    """Whether a run of the cycle has told the news: a task that was only marked so left no XCom."""
    return any(ti.xcom_pull(task_ids="notify", dag_id="cpu", run_id=run) for run in runs_of(cycle))


def tell_of_failure(context: Context) -> None:
    """Tell people that there are CPUs that nobody goes on with any more."""
    tell_failure(context["params"]["start"], context)


def cycle_of(params: Mapping[str, Any], found: Mapping[str, Any], cpu: int, number: int) -> Cycle:
    """Return a cycle that a survey has found; its pods execute as many as the start run was given.

    Unless this look was asked for another number of cycles per pod.
    """
    cycles = params["cycles"] or found.get("cycles") or 1
    return Cycle(start=params["start"], cpu=cpu, cycle=number, cycles=int(cycles))


with DAG(
    dag_id="cpu_watch",
    description="Goes on with CPUs whose runs have failed. Triggered by cpu_start, or by hand.",
    doc_md=DOC,
    max_active_runs=16,
    # What it is there for is trouble: it outlasts the trouble of an hour.
    **{**settings.TRIGGERED, "default_args": {**settings.RETRIES, "retries": 60}},
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
    },
) as dag:
    survey = PodOperator(
        task_id="survey",
        name="cpu-{{ params.start }}-survey-{{ dag_run.run_after.strftime('%Y%m%d-%H%M%S') }}"
        "-{{ params.cpu }}",
        args=["survey", "--start", "{{ params.start }}", "--cpu", "{{ params.cpu }}"],
        labels={"app": "cluster-cpu", "start": "{{ params.start }}", "command": "survey"},
        words=happened,
        **settings.POD,
    )

    @task(on_failure_callback=tell_of_failure)
    def resume() -> list[str]:
        """Trigger a run for each cycle that is due and that nobody sees to; their ids are the XCom."""
        context = get_current_context()
        ti, params, since = context["ti"], context["params"], context["dag_run"].run_after
        found = ti.xcom_pull(task_ids="survey")
        resumed: list[str] = []
        given_up: list[str] = []

        def count(runs: Sequence[str], states: Sequence[str]) -> int:
            return int(ti.get_dr_count(dag_id="cpu", run_ids=list(runs), states=list(states)))

        latest = [
            (cycle_of(params, found, cpu, last), cycle_of(params, found, cpu, due))
            for cpu, last, due in found["due"]
        ]
        stuck = [due for last, due in latest if not is_looked_after(count, last, due)]
        news = [cycle_of(params, found, cpu, number) for cpu, number in found["news"]]
        # In this order: a run may tell them, and end, in between.
        untold = [
            cycle for cycle in news if not count(runs_of(cycle), IN_PROGRESS) and not is_told(ti, cycle)
        ]
        for cycle in [*stuck, *untold]:
            try:
                resumed += filter(None, [go_on(cycle, since)])
            except GivenUp as error:
                given_up += error.args
        if given_up:
            raise GivenUp(*given_up)
        return resumed

    @task
    def look_again() -> str:
        """Trigger the next look; the XCom is its id, empty when the start run is over and all is told."""
        context = get_current_context()
        ti, params, now = context["ti"], context["params"], context["dag_run"].run_after
        found = ti.xcom_pull(task_ids="survey")
        if found["more"] is not None:
            return watch(params["start"], now, found["more"], cycles=params["cycles"])
        news = [cycle_of(params, found, cpu, number) for cpu, number in found["news"]]
        if found["status"] == "over" and all(is_told(ti, cycle) for cycle in news):
            return ""
        return watch(params["start"], now, cycles=params["cycles"])

    survey >> resume() >> look_again()
