"""Airflow's database, migrated once, with the DAGs of these tests."""

from __future__ import annotations

import itertools
import secrets
import warnings
from collections.abc import Iterator

import pytest

from dags.pods import task_rows
from dags.pods.operator import POD_EXECUTOR
from tests.support.airflow_database import airflow_database, create_run, store_dag

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A database with the DAGs ``pods`` and ``after``."""
    from tests.executor.airflow import dag_after, dag_of_pods

    configuration = {
        "CORE__EXECUTOR": f"LocalExecutor,{POD_EXECUTOR}",
        "CORE__MAX_ACTIVE_RUNS_PER_DAG": "1000",
        "CORE__MAX_ACTIVE_TASKS_PER_DAG": "1000",
        "CORE__DEFAULT_POOL_TASK_SLOT_COUNT": "1000",
        "CORE__PARALLELISM": "1000",
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "100",
        "LOGGING__BASE_LOG_FOLDER": str(tmp_path_factory.mktemp("logs")),
    }
    with airflow_database(tmp_path_factory.mktemp("database") / "state", **configuration):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a library of Airflow's own warns about another one
            task_rows.load()
        for dag in (dag_of_pods(), dag_after()):
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
