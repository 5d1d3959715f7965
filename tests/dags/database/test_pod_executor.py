"""The pods of this project's DAGs start in PodExecutor, as Airflow's database has the DAGs and their runs."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_pods import task_rows
from dags import cpu_answers, cpu_cancel, cpu_watch
from tests.support.airflow_database import create_run, database_with_pod_executor, store_dag

START = "20261122-084725-a1b2c3"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with database_with_pod_executor(tmp_path_factory.mktemp("database")):
        yield


@pytest.mark.parametrize(
    ("module", "task_id"), [(cpu_answers, "collect"), (cpu_watch, "survey"), (cpu_cancel, "cancel")]
)
def test_a_pod_starts_in_pod_executor(database: None, module: Any, task_id: str) -> None:
    from tests.dags.pods.database.airflow import queued, row

    dag = runpy.run_path(module.__file__)["dag"]  # again, as Airflow has PodExecutor now
    run = f"run-of-{dag.dag_id}"
    store_dag(dag)
    create_run(dag.dag_id, run, {"start": START})
    task = queued(run)
    begun = task_rows.begin(task, (task.executor_config or {})["pod"])
    assert START in begun.pod.name
    assert row(run, task_id, dag.dag_id).state == "running"
