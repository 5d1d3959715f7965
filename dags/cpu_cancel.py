"""DAG ``cpu_cancel``: by hand, the end of a start run.

cancel (a pod) → delete_pods
"""

from __future__ import annotations

import asyncio

from airflow.sdk import DAG, Param, get_current_context, task

from dags import settings
from dags.dag_runs import START_PATTERN
from dags.pods import PodOperator, delete_all

DOC = """
### Stop all CPUs of a start run

| task | what it does |
|---|---|
| `cancel` | a pod has every CPU stop at its next cycle; none tells an answer any more |
| `delete_pods` | deletes the pods of that start run that have failed or still wait to begin |

The runs of `cpu` that are in progress end by themselves, each with its next pod. What Redis holds of the
start run expires as always.
"""


with DAG(
    dag_id="cpu_cancel",
    description="Stop all CPUs of a start run. Triggered by hand.",
    doc_md=DOC,
    **settings.TRIGGERED,
    max_active_runs=16,
    params={"start": Param(type="string", pattern=START_PATTERN, description="The start run")},
) as dag:
    cancel = PodOperator(
        task_id="cancel",
        name="cpu-{{ params.start }}-cancel",
        arguments=["cancel", "--start", "{{ params.start }}"],
        labels={"app": "cluster-cpu", "start": "{{ params.start }}", "command": "cancel"},
        strict_conf=True,
        **settings.POD,
    )

    @task
    def delete_pods() -> list[str]:
        """Delete the pods that are not at work; their names are the XCom."""
        start = get_current_context()["params"]["start"]
        labels = {"app": "cluster-cpu", "start": start}
        return asyncio.run(delete_all("kubernetes_default", settings.POD["namespace"], labels))

    cancel >> delete_pods()
