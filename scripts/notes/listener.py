"""Told by the scheduler that a DAG run has ended; writes the run's note from what its tasks left as XComs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from dags.describe import happened
from dags.pods import WHY
from scripts.notes.markdown import literal

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy import Connection

log = logging.getLogger(__name__)

TELLING = {
    "cpu": ("execute", "load"),
    "cpu_start": ("store",),
    "cpu_cancel": ("cancel",),
    "cpu_watch": ("survey",),
}
"""The tasks whose result tells what a run of the DAG did."""


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    """A cycle is over."""
    write(dag_run, "return_value")


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """A cycle came to nothing, or a program was refused."""
    write(dag_run, WHY)


def write(dag_run: DagRun, key: str) -> None:
    """Note what the run's XComs of that key tell. A note that somebody has written stays as it is.

    What is wrong with a note is no reason to hold the scheduler up: it is logged.
    """
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is None or dag_run.dag_id not in TELLING:
        return
    # The scheduler's own transaction, which only it may commit: so the savepoint is the connection's.
    connection = session.connection()
    try:
        with connection.begin_nested():
            note(connection, dag_run, key)
    except Exception:
        log.warning("No note for run %s", dag_run.run_id, exc_info=True)


def note(connection: Connection, dag_run: DagRun, key: str) -> None:
    """Look at the XComs and write the note."""
    from airflow.models.dagrun import DagRunNote
    from airflow.models.xcom import XComModel
    from sqlalchemy import insert, select, update

    query = select(XComModel.task_id, XComModel.value).where(
        XComModel.dag_id == dag_run.dag_id, XComModel.run_id == dag_run.run_id, XComModel.key == key
    )
    if key == "return_value":
        query = query.where(XComModel.task_id.in_(TELLING[dag_run.dag_id]))
    told = [words(task, value) for task, value in connection.execute(query)]
    text = literal("; ".join(filter(None, told)))
    if not text:
        return
    own = DagRunNote.dag_run_id == dag_run.id
    if connection.scalar(select(DagRunNote.dag_run_id).where(own)) is None:
        connection.execute(insert(DagRunNote).values(dag_run_id=dag_run.id, content=text))
    else:
        connection.execute(update(DagRunNote).where(own, DagRunNote.user_id.is_(None)).values(content=text))


def words(task: str, value: Any) -> str:
    """What an XCom tells: a pod's result, or why its task failed."""
    from airflow.models.xcom import XComModel

    told = XComModel.deserialize_value(XComModel(value=value))
    return happened(told) if isinstance(told, dict) else f"{task}: {told}"
