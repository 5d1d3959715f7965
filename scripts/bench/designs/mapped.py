"""Airflow's own pod operator, mapped over a list as its documentation does it: a task instance for each pod.

In DAG ``mapped`` each pod keeps a worker; in DAG ``mapped-deferrable`` the triggerer waits. All pods execute
the same cycle.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.sdk import DAG, task

from dags import settings


@task
def plan(**context: Any) -> list[dict[str, str]]:
    """Return the environment variables of each pod, its index among them."""
    indices = range(int(context["params"]["pods"]))
    return [{**settings.POD["env_vars"], "JOB_COMPLETION_INDEX": str(index)} for index in indices]


def mapped_dag(dag_id: str, *, deferrable: bool) -> DAG:
    """Return the DAG whose pods run side by side."""
    with DAG(
        dag_id=dag_id,
        schedule=None,
        catchup=False,
        max_active_tasks=400,
        # Where a node starts many pods at once, one may not reach Redis in time.
        default_args={"retries": 5, "retry_delay": timedelta(seconds=3)},
        params={"start": "", "pods": 1, "in_flight": 1},
    ) as dag:
        KubernetesPodOperator.partial(
            task_id="work",
            name=f"{dag_id}-{{{{ params.start }}}}",
            namespace=settings.POD["namespace"],
            image=settings.POD["image"],
            arguments=["exec", "--start", "{{ params.start }}", "--cpu", "0", "--cycle", "1"],
            labels={"start": "{{ params.start }}"},
            secrets=[
                Secret("env", variable, *source)  # type: ignore[no-untyped-call]
                for variable, source in settings.POD["secret_env_vars"].items()
            ],
            deferrable=deferrable,
        ).expand(env_vars=plan())
    return dag


mapped = mapped_dag("mapped", deferrable=False)
mapped_deferrable = mapped_dag("mapped-deferrable", deferrable=True)
