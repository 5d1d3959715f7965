"""Airflow's database, migrated once, with the DAGs of these tests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.airflow_database import create_run, database_with_pod_executor, store_dag
from tests.support.kubernetes_api import kubeconfig
from tests.support.nodeless import InThread, serving_in_thread

if TYPE_CHECKING:
    from tests.dags.pods.database.world import World

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A database with the DAGs ``pods``, ``after``, ``limited``, ``sets`` and ``silent``."""
    from tests.dags.pods.database.airflow import (
        dag_after,
        dag_of_pods,
        dag_of_sets,
        dag_with_a_time_limit,
        dag_without_results,
    )

    configuration = {
        "CORE__MAX_ACTIVE_RUNS_PER_DAG": "1000",
        "CORE__MAX_ACTIVE_TASKS_PER_DAG": "1000",
        "CORE__DEFAULT_POOL_TASK_SLOT_COUNT": "1000",
        "CORE__PARALLELISM": "1000",
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "100",
    }
    with database_with_pod_executor(tmp_path_factory.mktemp("database"), **configuration):
        dags = (dag_of_pods(), dag_after(), dag_with_a_time_limit(), dag_of_sets(), dag_without_results())
        for dag in dags:
            store_dag(dag)
        yield


@pytest.fixture
def number(database: None) -> int:
    """A number that no other test has, for the names of runs and pods."""
    return next(_numbers)


@pytest.fixture
def run(number: int) -> str:
    """A run of DAG ``pods``."""
    create_run("pods", f"run-{number}", {"n": number})
    return f"run-{number}"


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InThread]:
    """An endpoint that the connection leads to; heartbeats are frequent."""
    from airflow_pods import executor

    monkeypatch.setattr(executor, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(executor, "WAIT_SECONDS", 0.01)
    with serving_in_thread(tmp_path) as (endpoint, url):
        connection = {"conn_type": "kubernetes", "extra": {"kube_config": kubeconfig(url)}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        yield endpoint


@pytest.fixture
def world(database: None, endpoint: InThread) -> Iterator[World]:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    from tests.dags.pods.database.world import World

    with create_session() as session:
        session.execute(delete(DagRun))
    world = World(endpoint)
    yield world
    world.stop()
