"""The article's DAG, ported without changes to its design. One run is one cycle, as in DAG ``cpu``.

It uses Airflow's own pod operator with its sidecar and default intervals, and a Python task for each
decision.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.providers.cncf.kubernetes.utils.xcom_sidecar import PodDefaults
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

from dags import settings

RESULT = "/airflow/xcom/return.json"
# For a cluster that cannot pull the sidecar's image by its usual name.
PodDefaults.SIDECAR_CONTAINER.image = os.environ.get(
    "AIRFLOW_VAR_SIDECAR_IMAGE", PodDefaults.SIDECAR_CONTAINER.image
)


def check_new(params: dict[str, Any]) -> str:
    """Return the next task: in cycle 0 the CPU is loaded first."""
    return "load" if int(params["cycle"]) == 0 else "execute"


def check_result(params: dict[str, Any], ti: Any) -> str:
    """Return the next task: the next cycle's trigger, or the end."""
    result = ti.xcom_pull(task_ids=check_new(params))
    return "trigger" if result["status"] == "ok" else "end"


def pod(command: str, *flags: str) -> KubernetesPodOperator:
    """Return the pod that runs one command of the image, as the provider's documentation does it."""
    name = f"{{{{ params.start }}}}-{{{{ params.cpu }}}}-{{{{ params.cycle }}}}-{command}"
    labels = {
        "app": "cluster-cpu",
        "start": "{{ params.start }}",
        "cpu": "{{ params.cpu }}",
        "cycle": "{{ params.cycle }}",
        "command": command,
    }
    return KubernetesPodOperator(
        task_id="execute" if command == "exec" else command,
        name=f"article-{name}",
        namespace=settings.POD["namespace"],
        image=settings.POD["image"],
        arguments=[command, "--start", "{{ params.start }}", "--cpu", "{{ params.cpu }}", *flags],
        labels=labels,
        env_vars={**settings.POD["env_vars"], "RESULT_FILE": RESULT},
        secrets=[
            Secret("env", variable, *source)  # type: ignore[no-untyped-call]
            for variable, source in settings.POD["secret_env_vars"].items()
        ],
        do_xcom_push=True,
    )


with DAG(
    dag_id="article",
    schedule=None,
    catchup=False,
    max_active_runs=400,
    max_active_tasks=400,
    # Retried soon: the end of a benchmark deletes pods that wait to start, and waits for their tasks to end.
    default_args={"retries": 5, "retry_delay": timedelta(seconds=3)},
    params={"start": "", "cpu": "", "cycle": ""},
) as dag:
    new = BranchPythonOperator(task_id="check_new", python_callable=check_new)
    result = BranchPythonOperator(
        task_id="check_result", python_callable=check_result, trigger_rule="none_failed_min_one_success"
    )
    trigger = TriggerDagRunOperator(
        task_id="trigger",
        trigger_dag_id="article",
        trigger_run_id="{{ params.start }}.cpu-{{ params.cpu }}.cycle-{{ params.cycle | int + 1 }}",
        conf={
            "start": "{{ params.start }}",
            "cpu": "{{ params.cpu }}",
            "cycle": "{{ params.cycle | int + 1 }}",
        },
    )
    pods = [pod("load"), pod("exec", "--cycle", "{{ params.cycle }}")]
    new >> pods >> result >> [trigger, EmptyOperator(task_id="end")]
