"""DAG ``set-of-pods``: many pods in one task of our pod operator. All of them execute the same cycle."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_pods import PodOperator
from dags import settings

with DAG(
    dag_id="set-of-pods",
    schedule=None,
    catchup=False,
    params={"start": "", "pods": 1, "in_flight": 1},
) as dag:
    PodOperator(
        task_id="work",
        name="set-{{ params.start }}-{{ params.pods }}",
        arguments=["exec", "--start", "{{ params.start }}", "--cpu", "0", "--cycle", "1"],
        labels={"start": "{{ params.start }}"},
        count="{{ params.pods }}",
        parallelism="{{ params.in_flight }}",
        # Where a node starts many pods at once, one may not reach Redis in time.
        retries_per_pod=3,
        **settings.POD,
    )
