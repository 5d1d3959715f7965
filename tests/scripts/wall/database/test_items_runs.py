"""The wall's queries about runs of DAG ``items``, on Airflow's real database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import event, select

from dags import items
from dags.item_shards import items_run
from scripts.wall.airflow_database import MAX_ITEMS_RUNS, items_dag_run, newest_items_runs
from scripts.wall.items import items_wall
from tests.support.airflow_database import airflow_database, create_run, store_dag

PLAN = {"status": "planned", "pods": 10_000}
PROGRESS = {"count": 1250, "running": 4, "succeeded": 7, "failed": 2, "failed_indices": "3,9"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A database with DAG ``items``."""
    configuration = {"CORE__LOAD_EXAMPLES": "False"}
    with airflow_database(tmp_path_factory.mktemp("database") / "state", **configuration):
        store_dag(items.dag)
        yield


@pytest.fixture
def name(database: None) -> str:
    """The name of a new items run, whose DAG run is ``run-TIME``."""
    run = f"run-{datetime.now(UTC).timestamp()}"
    create_run("items", run, {})
    with create_session() as session:
        return items_run(session.scalars(select(DagRun.run_after).filter_by(run_id=run)).one())


def run_id(name: str) -> str:
    with create_session() as session:
        found = items_dag_run(session, name)
    assert found
    return found.run_id


def leave(name: str, task: str, value: dict[str, Any], key: str = "return_value") -> None:
    """Have a task of the run leave an XCom."""
    with create_session() as session:
        identity: Any = {"dag_id": "items", "task_id": task, "run_id": run_id(name)}
        XComModel.set(key, value, session=session, serialize=False, **identity)


def test_a_run_that_has_just_been_triggered_has_no_results(name: str) -> None:
    with create_session() as session:
        found = items_dag_run(session, name)
        newest = newest_items_runs(session)
    assert found
    assert (found.state, dict(found.xcoms)) == ("queued", {})
    assert (newest[0].items, newest[0].run_id, newest[0].state) == (name, found.run_id, "queued")


def test_a_run_in_progress_has_what_its_shards_say(name: str) -> None:
    leave(name, "plan", PLAN)
    leave(name, "shard-3", PROGRESS, "progress")
    leave(name, "shard-3", {"unrelated": 1}, "other")
    with create_session() as session:
        query = select(TaskInstance).filter_by(run_id=run_id(name), task_id="shard-3")
        session.scalars(query).one().state = "running"
    with create_session() as session:
        found = items_dag_run(session, name)
    assert found
    assert found.states["shard-3"] == "running"
    assert dict(found.xcoms) == {("plan", "return_value"): PLAN, ("shard-3", "progress"): PROGRESS}
    pods = items_wall(name, found, None).pods
    assert pods
    assert (pods.running, pods.failed, pods.failed_pods) == (4, 2, ["3753", "3759"])


def test_a_name_that_no_dag_run_gives_has_no_dag_run(name: str) -> None:
    with create_session() as session:
        assert items_dag_run(session, "try-1") is None
        assert items_dag_run(session, "20200101-000000-000000") is None


def test_a_run_takes_three_queries_of_a_few_rows_and_the_list_one(name: str) -> None:
    statements: list[str] = []
    with create_session() as session:
        engine = session.get_bind()
        event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
        items_dag_run(session, name)
        assert len(statements) == 3
        assert len(newest_items_runs(session)) <= MAX_ITEMS_RUNS
        assert len(statements) == 4
