"""What a task leaves in Airflow's database when PodExecutor runs it, compared row by row with a worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from airflow.executors.workloads import ExecuteTask
from airflow.models.base import Base
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import State, TaskInstanceState
from sqlalchemy import select

from scripts.waiting import wait_until
from tests.dags.pods.database import airflow
from tests.dags.pods.database.worker import dag_file, run_in_worker
from tests.dags.pods.database.world import World, succeeded
from tests.support.airflow_database import create_run, store_dag

Row = dict[str, Any]
Rows = dict[str, list[Row]]

DAGS = {
    "branches": {"branches": True},
    "mapped": {},
    "hurried": {"seconds": 1},
}
"""DAGs by name, and how `dag_of_everything` makes them."""
DAG_FILE = f"""
from tests.dags.pods.database.airflow import dag_of_everything

for name, arguments in {DAGS}.items():
    globals()[name] = dag_of_everything(name, **arguments)
"""
EVICTED = {"phase": "Failed", "reason": "Evicted", "message": "no room"}

OF_ANY_RUN = {"id", "run_id", "duration", "pid", "queued_by_job_id", "context_carrier", "dag_run_id"}
"""Columns whose values differ between any two runs; only whether they have one is compared."""
ANYWHERE = {
    ("task_instance", "executor"): "which executor has run the task",
}
"""The intended differences of each task that PodExecutor ends."""
WITHOUT_A_POD = {
    ("xcom", "_link_pod_log"): "a worker stores a link to the log of the pod that the task has not run",
}
HANDED_OVER = {
    ("log", "running"): "a task that is handed over begins twice, as one that was deferred",
    ("task_instance_history", "next_method"): "it was resumed, as one that was deferred",
    ("task_instance_history", "next_kwargs"): "with what became of its pod",
}
TIMED_OUT = {
    ("xcom", "reason"): "the reason is for the note of the run; a worker that times out leaves none",
}


@pytest.fixture(autouse=True)
def dags(database: None, tmp_path: Path) -> Iterator[None]:
    """The DAGs, for the scheduler and for workers."""
    for name, arguments in DAGS.items():
        store_dag(airflow.dag_of_everything(name, **arguments))  # type: ignore[arg-type]
    with dag_file(tmp_path, DAG_FILE):
        yield


class Ran:
    """A run of a DAG; ``in_worker``: no try of its pod is PodExecutor's."""

    def __init__(self, world: World, dag_id: str, number: int, skip: str, in_worker: bool) -> None:
        self.world = world
        self.dag_id = dag_id
        self.run, self.pod = f"run-{number}-{in_worker}", f"everything-{number}"
        create_run(dag_id, self.run, {"n": number, "skip": skip})
        if in_worker:
            query = select(TaskInstance).filter_by(dag_id=dag_id, run_id=self.run, task_id="pod")
            with create_session() as session:
                session.scalars(query).one().executor = None

    def rows_at_its_end(self, statuses: list[Row]) -> Rows:
        """Run the run to its end; its pods, one after the other, get these statuses."""
        reporting = threading.Thread(target=self._report, args=[statuses])
        reporting.start()
        self.world.until(self._has_ended)
        reporting.join()
        if self.pod in self.world.pods():
            self.world.delete(self.pod)
        return rows(self.dag_id, self.run)

    def _report(self, statuses: list[Row]) -> None:
        seen = set()
        for status in statuses:

            def is_new() -> bool:
                pod = self.world.pods().get(self.pod)
                return pod is not None and pod["metadata"]["uid"] not in seen

            assert wait_until(is_new, 20)
            seen.add(self.world.pods()[self.pod]["metadata"]["uid"])
            self.world.report(self.pod, status)

    def _has_ended(self) -> bool:
        """Run what is for a worker; return whether the run has ended."""
        workers = self.world.scheduler.workers
        for key, workload in list(workers.queued_tasks.items()):
            assert isinstance(workload, ExecuteTask)
            del workers.queued_tasks[key]
            run_in_worker(workload)
            workers.change_state(workload.key, TaskInstanceState.SUCCESS)
            self.world.executor.heartbeat()  # before the scheduler looks for the next try
        with create_session() as session:
            query = select(DagRun.state).filter_by(dag_id=self.dag_id, run_id=self.run)
            return session.scalar(query) in State.finished_dr_states and not self.world.executor.running


def rows(dag_id: str, run: str) -> Rows:
    """Return all rows of all tables that belong to this run, in order."""
    with create_session() as session:
        dag_run = session.scalars(select(DagRun).filter_by(dag_id=dag_id, run_id=run)).one()
        identities: list[Row] = [
            {"dag_id": dag_id, "run_id": run},
            {"source_dag_id": dag_id, "source_run_id": run},
            {"dag_run_id": dag_run.id},
            {"dagrun_id": dag_run.id},
            *({"ti_id": ti.id} for ti in dag_run.get_task_instances(session=session)),
        ]
        found: Rows = {}
        for table in Base.metadata.sorted_tables:
            for identity in identities:
                if identity.keys() <= set(table.columns.keys()):
                    order = [table.c[name] for name in ("task_id", "key", "id") if name in table.c]
                    query = select(table).filter_by(**identity).order_by(*order)
                    found.setdefault(table.name, []).extend(map(_plain, session.execute(query).mappings()))
    return found


def _plain(row: Any) -> Row:
    """Return a row in which values that differ between any two runs only say that they are there."""
    return {
        name: "a value" if value is not None and _is_of_any_run(name, value) else value
        for name, value in row.items()
    }


def _is_of_any_run(name: str, value: Any) -> bool:
    return name in OF_ANY_RUN or isinstance(value, (datetime, UUID))


def differences(left: Rows, right: Rows) -> set[tuple[str, str]]:
    """Return where rows differ: a table and a column, or a table and the key or event of a row too many."""
    assert left.keys() == right.keys()
    found: set[tuple[str, str]] = set()
    for table in left:
        ours, theirs = (_by_name(each[table]) for each in (left, right))
        found |= {(table, name[1]) for name in ours.keys() ^ theirs.keys()}
        for name in ours.keys() & theirs.keys():
            found |= {(table, column) for column in ours[name] if ours[name][column] != theirs[name][column]}
    return found


def _by_name(rows: list[Row]) -> dict[tuple[Any, str, int], Row]:
    """Return the rows of a table by their task, their key or event, and how many such rows are before."""
    named: dict[tuple[Any, str, int], Row] = {}
    for each in rows:
        task = each.get("task_id"), each.get("map_index"), each.get("try_number")
        name = each.get("key") or each.get("event") or ""
        named[task, name, sum(other[:2] == (task, name) for other in named)] = each
    return named


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets of Airflow's worker
@pytest.mark.parametrize(
    ("dag_id", "skip", "statuses", "intended"),
    [
        ("branches", "", [succeeded({"step": "left"})], ANYWHERE),
        ("branches", "right", [], ANYWHERE | WITHOUT_A_POD),
        ("mapped", "", [succeeded({"step": "left", "size": 2})], ANYWHERE),
        ("mapped", "", [EVICTED, succeeded({"step": "left"})], ANYWHERE | HANDED_OVER),
        ("mapped", "", [EVICTED, EVICTED], HANDED_OVER),
        ("hurried", "", [], HANDED_OVER | TIMED_OUT),
    ],
    ids=["branches", "skips its pod", "is mapped over", "succeeds at last", "fails", "times out"],
)
def test_a_task_leaves_the_same_rows_as_in_a_worker(
    world: World,
    number: int,
    dag_id: str,
    skip: str,
    statuses: list[Row],
    intended: dict[tuple[str, str], str],
) -> None:
    ours, theirs = (
        Ran(world, dag_id, number, skip, in_worker).rows_at_its_end(statuses) for in_worker in (False, True)
    )
    assert len(theirs["task_instance"]) > 1
    assert theirs["rendered_task_instance_fields"]
    assert differences(ours, theirs) == intended.keys()
