"""Airflow's real database, in this process: PostgreSQL as the local stack runs it, with all of its tables."""

from __future__ import annotations

import secrets
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scripts.local.services import postgres
from scripts.local.settings import REPOSITORY, Settings
from scripts.waiting import wait_until

BUNDLE = "tests"


@contextmanager
def airflow_database(state: Path, **configuration: str) -> Iterator[None]:
    """Have this process's Airflow use a new database and these options (``SECTION__NAME``) in the block."""
    from airflow import settings as airflow_settings
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session

    with _postgresql(state) as folder, pytest.MonkeyPatch.context() as patch:
        url = f"postgresql+psycopg2://postgres@/postgres?host={folder}"
        for name, value in {"DATABASE__SQL_ALCHEMY_CONN": url, **configuration}.items():
            patch.setenv(f"AIRFLOW__{name}", value)
        airflow_settings.configure_vars()  # type: ignore[no-untyped-call]
        airflow_settings.reconfigure_orm()  # type: ignore[no-untyped-call]
        initdb()
        with create_session() as session:
            session.add(DagBundleModel(name=BUNDLE))
        yield
        airflow_settings.dispose_orm()
    airflow_settings.configure_vars()  # type: ignore[no-untyped-call]
    airflow_settings.reconfigure_orm()  # type: ignore[no-untyped-call]


@contextmanager
def database_with_pod_executor(folder: Path, **configuration: str) -> Iterator[None]:
    """As `airflow_database`, with PodExecutor beside LocalExecutor, and the Task Execution API imported."""
    from airflow_pods import task_rows
    from airflow_pods.operator import POD_EXECUTOR

    options = {
        "CORE__EXECUTOR": f"LocalExecutor,{POD_EXECUTOR}",
        "CORE__LOAD_EXAMPLES": "False",  # among them is a plugin that listens to tasks
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        **configuration,
    }
    with airflow_database(folder / "state", **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a library of Airflow's own warns about another one
            task_rows.load()
        yield


@contextmanager
def _postgresql(state: Path) -> Iterator[Path]:
    """Run PostgreSQL in the block; yield the folder of its socket."""
    settings = Settings(state)
    state.mkdir(parents=True)
    for folder in (settings.logs, settings.pids):
        folder.mkdir()
    settings.save()
    postgres.prepare_folder(settings)
    launch = [sys.executable, "-m", "scripts.local.launch", str(state)]
    with (settings.logs / "postgres.log").open("w") as log:
        subprocess.run([*launch, "initdb"], cwd=REPOSITORY, stdout=log, stderr=log, check=True)
        postgres.adopt_new_data(settings)
        with subprocess.Popen([*launch, "postgres"], cwd=REPOSITORY, stdout=log, stderr=log) as server:
            try:
                assert wait_until(lambda: postgres.is_ready(settings), 30), "PostgreSQL did not start"
                yield settings.postgres_socket_folder
            finally:
                server.terminate()


def store_dag(dag: Any) -> Any:
    """Write a DAG into the database, not paused; return it as the scheduler reads it."""
    from airflow.models.dag import DagModel
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.utils.session import create_session

    with create_session() as session:
        write_dag(dag, session)
        session.get_one(DagModel, dag.dag_id).is_paused = False
    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


def write_dag(dag: Any, session: Any) -> None:
    """Write a DAG into the database, as the DAG processor does."""
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG

    lazy = LazyDeserializedDAG(data=DagSerialization.to_dict(dag))
    SerializedDAG.bulk_write_to_db(BUNDLE, None, [lazy], session=session)
    SerializedDagModel.write_dag(lazy, bundle_name=BUNDLE, session=session)


def create_run(dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
    """Trigger a DAG run, as a person."""
    from airflow.models.dagbag import DBDagBag
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    with create_session() as session:
        dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
        assert dag
        dag.create_dagrun(
            run_id=run_id,
            run_after=datetime.now(UTC),
            conf=conf,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.REST_API,
            triggering_user_name="ada",
            state=DagRunState.QUEUED,
            session=session,
        )
