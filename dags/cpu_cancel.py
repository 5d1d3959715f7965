"""DAG ``cpu_cancel``: end a start run, by hand.

cancel (a pod) → delete_pods
"""

from __future__ import annotations

import asyncio

from airflow.sdk import DAG, get_current_context, task

from airflow_pods import PodOperator, delete_all
from dags import settings
from dags.dag_runs import START_PARAM, trigger_answers

DOC = """
### Stop all CPUs of a start run

| task | what it does |
|---|---|
| `cancel` | a pod marks the start run as cancelled: each CPU stops at its next cycle, and posts no answer |
| `delete_pods` | deletes the start run's pods that have failed or have not begun to run |

The run of DAG [cpu_start](dags/cpu_start) fails: it says that the start run was cancelled.
The runs of DAG `cpu` that are in progress end by themselves, each with its next pod. What Redis holds of the
start run expires as always.
"""


with DAG(
    dag_id="cpu_cancel",
    description="Stop all CPUs of a start run. Trigger it by hand.",
    doc_md=DOC,
    **settings.DAG_DEFAULTS,
    max_active_runs=16,
    params={"start": START_PARAM},
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
        """Delete the pods that have failed or have not begun to run; the XCom lists their names."""
        start = get_current_context()["params"]["start"]
        labels = {"app": "cluster-cpu", "start": start}
        deleted = asyncio.run(delete_all("kubernetes_default", settings.POD["namespace"], labels))
        # Afterwards, as it has a pod, too.
        trigger_answers(start)
        return deleted

    cancel >> delete_pods()
