"""Airflow's own pod operator as its documentation sets it up, without XCom. One run is one cycle.

DAG ``stock`` keeps a worker per pod; in DAG ``stock-deferrable`` the triggerer waits. In both, one task runs
the pod and another one triggers the next run.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

from dags import settings

REFUSED = 2
"""The exit code of a pod whose CPU has stopped."""


def chain(dag_id: str, *, deferrable: bool) -> DAG:
    """Return the DAG whose runs follow one another, each with one pod."""
    with DAG(
        dag_id=dag_id,
        schedule=None,
        catchup=False,
        max_active_runs=400,
        max_active_tasks=400,
        # Where a node starts many pods at once, one may not reach Redis in time.
        default_args={"retries": 5, "retry_delay": timedelta(seconds=3)},
        params={"start": "", "cpu": "", "cycle": ""},
    ) as dag:
        execute = KubernetesPodOperator(
            task_id="execute",
            name=f"{dag_id}-{{{{ params.cpu }}}}-{{{{ params.cycle }}}}",
            namespace=settings.POD["namespace"],
            image=settings.POD["image"],
            arguments=[
                *("exec", "--start", "{{ params.start }}"),
                *("--cpu", "{{ params.cpu }}", "--cycle", "{{ params.cycle }}"),
            ],
            labels={
                "app": "cluster-cpu",
                "start": "{{ params.start }}",
                "cpu": "{{ params.cpu }}",
                "cycle": "{{ params.cycle }}",
                "command": "exec",
            },
            env_vars=settings.POD["env_vars"],
            secrets=[
                Secret("env", variable, *source)  # type: ignore[no-untyped-call]
                for variable, source in settings.POD["secret_env_vars"].items()
            ],
            deferrable=deferrable,
            # So the chain ends: once the start run is cancelled, the pod of the next run but one is refused.
            skip_on_exit_code=REFUSED,
        )
        execute >> TriggerDagRunOperator(
            task_id="trigger",
            trigger_dag_id=dag_id,
            trigger_run_id="{{ params.start }}.cpu-{{ params.cpu }}.cycle-{{ params.cycle | int + 1 }}",
            conf={
                "start": "{{ params.start }}",
                "cpu": "{{ params.cpu }}",
                "cycle": "{{ params.cycle | int + 1 }}",
            },
        )
    return dag


stock = chain("stock", deferrable=False)
stock_deferrable = chain("stock-deferrable", deferrable=True)
