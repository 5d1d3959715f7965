"""What becomes of this project's DAGs in an Airflow that pauses new DAGs, as Airflow does by default."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from dags import cpu, cpu_answers, cpu_cancel, cpu_clean_up, cpu_start, cpu_watch, items
from tests.support.airflow_database import airflow_database, write_dag

ALL = [module.dag for module in (cpu, cpu_answers, cpu_cancel, cpu_clean_up, cpu_start, cpu_watch, items)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The rows of the DAGs, by id, after the DAG processor has found them for the first time."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    with airflow_database(tmp_path_factory.mktemp("database") / "state", CORE__LOAD_EXAMPLES="False"):
        assert DagModel.is_paused_at_creation
        with create_session() as session:
            for dag in ALL:
                write_dag(dag, session)
        with create_session() as session:
            yield {dag.dag_id: session.get_one(DagModel, dag.dag_id) for dag in ALL}


def test_the_dags_that_people_trigger_and_those_that_they_need_are_not_paused(stored: dict[str, Any]) -> None:
    assert {name for name, row in stored.items() if row.is_paused} == {"cpu_clean_up"}


def test_a_dag_that_is_unpaused_for_the_first_time_runs_nothing_at_once(stored: dict[str, Any]) -> None:
    for name, row in stored.items():
        due = row.next_dagrun_create_after
        if name == "cpu_clean_up":
            assert due > datetime.now(UTC)
            assert (due.hour, due.minute) == (4, 0)
        else:
            assert due is None
