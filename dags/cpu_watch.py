"""DAG ``cpu_watch``: nothing is lost. A CPU that nobody goes on with is gone on with.

survey (a pod) → resume → look_again, until the start run is over
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from dags import settings
from dags.pods import PodOperator
from dags.runs import START_PATTERN, Cycle, run_id, trigger, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DOC = """
### See to it that every CPU of a start run comes to its end

A CPU whose latest run has failed, or was deleted, would wait for its next cycle for ever. Every few minutes
after `cpu_start`, until all CPUs have stopped, one run of this DAG looks for such CPUs.

| task | what it does |
|---|---|
| `survey` | a pod tells which cycle is due of each CPU that has not stopped, or has an answer to tell |
| `resume` | triggers a run of `cpu` for each due cycle that no run is in progress for: `….again-1` |
| `look_again` | triggers the next look, unless the start run is over |

Trigger it by hand, with a start run's name, to have it looked after now. A cycle happens once, however many
runs ask for it.
"""

# As often as a cycle is tried with all its retries, before somebody has to look at what is wrong.
AGAIN = 5
IN_PROGRESS = ["queued", "running"]


def runs_of(cycle: Cycle) -> list[str]:
    """The ids of every run that a cycle can have: its own, and those that go on after it was given up."""
    own = run_id(cycle)
    return [own, *(f"{own}.again-{number}" for number in range(1, AGAIN + 1))]


def is_looked_after(count: Callable[[Sequence[str], Sequence[str]], int], last: Cycle, due: Cycle) -> bool:
    """Whether somebody goes on with a CPU, of which a survey told its last and its due cycle.

    ``count`` says how many runs of these ids are in one of these states. A due cycle's run that has
    succeeded since has triggered the next one, or told the news.
    """

    def is_begun() -> bool:
        return count(runs_of(due), [*IN_PROGRESS, "success"]) > 0

    # Between two looks the last cycle's run may have ended, by triggering the due one's.
    return is_begun() or count(runs_of(last), IN_PROGRESS) > 0 or is_begun()


with DAG(
    dag_id="cpu_watch",
    description="Goes on with CPUs whose runs have failed. Triggered by cpu_start, or by hand.",
    doc_md=DOC,
    max_active_runs=16,
    # What it is there for is trouble: it outlasts the trouble of an hour.
    **{**settings.TRIGGERED, "default_args": {**settings.RETRIES, "retries": 60}},
    params={
        "start": Param(type="string", pattern=START_PATTERN, description="The start run"),
        "cycles": Param(1, type="integer", minimum=1, maximum=10_000, description="Cycles per pod"),
        "cpu": Param(0, type="integer", minimum=0, maximum=10_000, description="The first CPU to look at"),
    },
) as dag:
    survey = PodOperator(
        task_id="survey",
        name="cpu-{{ params.start }}-survey-{{ dag_run.run_after.strftime('%Y%m%d-%H%M%S') }}"
        "-{{ params.cpu }}",
        args=["survey", "--start", "{{ params.start }}", "--cpu", "{{ params.cpu }}"],
        labels={"app": "cluster-cpu", "start": "{{ params.start }}", "command": "survey"},
        **settings.POD,
    )

    @task
    def resume() -> list[str]:
        """Trigger a run for each cycle that is due and that nobody sees to; their ids are the XCom."""
        context = get_current_context()
        ti, params = context["ti"], context["params"]
        cycles = int(params["cycles"])
        resumed: list[str] = []
        given_up: list[str] = []

        def count(runs: Sequence[str], states: Sequence[str]) -> int:
            return int(ti.get_dr_count(dag_id="cpu", run_ids=list(runs), states=list(states)))

        for cpu, last, due in ti.xcom_pull(task_ids="survey")["due"]:
            latest = Cycle(start=params["start"], cpu=cpu, cycle=last, cycles=cycles)
            next_one = Cycle(start=params["start"], cpu=cpu, cycle=due, cycles=cycles)
            if is_looked_after(count, latest, next_one):
                continue
            run = next((run for run in runs_of(next_one) if trigger(next_one, run=run)), None)
            (resumed if run else given_up).append(run or run_id(next_one))
        if given_up:
            raise AirflowFailException(
                f"these cycles failed each of {AGAIN + 1} times: {', '.join(given_up)} "
                "(see what their logs say; once that is put right, clear their failed tasks)"
            )
        return resumed

    @task
    def look_again() -> str:
        """Trigger the next look; the XCom is its id, empty when the start run is over and all is told."""
        context = get_current_context()
        ti, params, now = context["ti"], context["params"], context["dag_run"].run_after
        found, resumed = ti.xcom_pull(task_ids="survey"), ti.xcom_pull(task_ids="resume")
        if found["more"] is not None:
            return watch(params["start"], params["cycles"], now, found["more"])
        if found["status"] == "over" and not resumed:
            return ""
        return watch(params["start"], params["cycles"], now)

    survey >> resume() >> look_again()
