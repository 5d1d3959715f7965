"""DAG ``cpu_watch``, the watchdog: resume CPUs whose DAG runs failed or vanished.

survey (a pod) → resume → look_again, whatever became of the two, until the start run is over
"""

from __future__ import annotations

from airflow.sdk import DAG, Param, get_current_context, task

from airflow_pods import PodOperator
from dags import settings
from dags.dag_runs import START_PARAM
from dags.notifications import SlackRetryPolicy
from dags.outage import SCHEMA
from dags.watchdog import post_failed_try, resume_cpus, trigger_next_survey

DOC = """
### The watchdog: make sure that every CPU of a start run finishes

Each run of DAG `cpu` triggers the run of its CPU's next cycle. If a run has failed for good, was deleted, or
was marked as a success by hand, nothing triggers the next one. The watchdog resumes such CPUs, and all CPUs
after Redis was restored from a backup.

| task | what it does |
|---|---|
| `survey` | a pod lists the cycle that is due of each CPU, and the CPUs that have an answer |
| `resume` | triggers a run of DAG `cpu`, `….again-1`, for each due cycle that has no run in progress |
| `look_again` | triggers the next run of this DAG, unless the start run is over |

`cpu_start` triggers the first run; the next ones follow every few minutes until all CPUs have stopped. To
resume CPUs at once, trigger this DAG by hand with the name of the start run.

If a run fails, the next one follows anyway, for as long as Redis keeps the start run (`CPU_TTL`). Slack gets
one message when the runs begin to fail, and one when they work again.

A run of DAG `cpu` that ended after this DAG's run was due is left to the next run. If Redis is several cycles
back, each of these cycles gets a further run, one after the other. A cycle happens only once, however many
runs ask for it.
"""


with DAG(
    dag_id="cpu_watch",
    description="Resume CPUs whose DAG runs have failed. Triggered by cpu_start, or by hand.",
    doc_md=DOC,
    max_active_runs=16,
    **settings.DAG_DEFAULTS,
    params={
        "start": START_PARAM,
        "cycles": Param(
            None,
            type=["integer", "null"],
            minimum=1,
            maximum=10_000,
            title="Cycles per pod",
            description="For the CPUs that are resumed. Empty: as the start run was given.",
        ),
        "cpu": Param(
            0,
            type="integer",
            minimum=0,
            maximum=10_000,
            title="First CPU",
            description="Survey this CPU and those after it.",
        ),
        "outage": Param(
            {},
            **SCHEMA,
            title="Outage",
            description="What earlier runs pass on about their failures. Leave it empty.",
        ),
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
        return resume_cpus(get_current_context())

    @task(retries=settings.RETRIES_FOR_A_TTL, retry_policy=SlackRetryPolicy())
    def look_again() -> str:
        """Trigger the next run; the XCom is its id, or empty if the start run is over and answered."""
        context = get_current_context()
        try:
            return trigger_next_survey(context)
        except Exception as error:
            post_failed_try(context, error)
            raise

    # As a teardown, it runs whatever became of the other tasks, even if a person marks the run as failed. The
    # state of the run is that of the others.
    survey >> resume() >> look_again().as_teardown()
