"""DAG ``cpu_answers``: collect the answers of a start run that is over.

collect (a pod)
"""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_pods import PodOperator
from dags import settings
from dags.answers import COLLECT
from dags.dag_runs import START_PARAM

DOC = """
### Collect the answers of a start run

| task | what it does |
|---|---|
| `collect` | a pod reads both answers, or why there are none; the XCom has them, the note says them |

The run `….answers` is triggered when a start run is over: by the cycle that gives the last missing answer, by
DAG [cpu_cancel](dags/cpu_cancel), or by DAG [cpu_watch](dags/cpu_watch), which finds all other cases. The run
of [cpu_start](dags/cpu_start) waits for it. Trigger this DAG by hand to see how far a start run has come.
"""


with DAG(
    dag_id="cpu_answers",
    description="Collect the answers of a start run. Triggered when it is over, or by hand.",
    doc_md=DOC,
    **settings.DAG_DEFAULTS,
    max_active_runs=16,
    params={"start": START_PARAM},
) as dag:
    # Tried again for as long as Redis keeps the answers: whoever waits for them waits for this task.
    collect = PodOperator(
        task_id=COLLECT,
        name="cpu-{{ params.start }}-answers-{{ dag_run.run_after.strftime('%Y%m%d-%H%M%S') }}",
        arguments=["answers", "--start", "{{ params.start }}"],
        labels={"app": "cluster-cpu", "start": "{{ params.start }}", "command": "answers"},
        strict_conf=True,
        retries=settings.RETRIES_FOR_A_TTL,
        **settings.POD,
    )
