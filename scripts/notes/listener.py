"""Writes the note of a DAG run when the run ends: the sentence of its pods' results, or why it failed.

Airflow's scheduler calls the two hooks, as the module is a listener of plugin `cpu_notes`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from airflow_pods import REASON_KEY
from scripts.notes.markdown import literal

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy import Connection

log = logging.getLogger(__name__)

RESULT = "return_value"
TASKS_WITH_SENTENCE = {
    "cpu": ("execute", "load"),
    "cpu_answers": ("collect",),
    "cpu_start": ("answers",),
    "cpu_cancel": ("cancel",),
    "cpu_watch": ("survey",),
}
"""By DAG, the tasks whose result goes into the note of a run that succeeds."""


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    write_note(dag_run, RESULT)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    write_note(dag_run, REASON_KEY)


def write_note(dag_run: DagRun, key: str) -> None:
    """Write the run's note from its XComs of that key; leave a note that a person has written.

    Raises nothing, as the scheduler must not fail because of a note: what goes wrong is logged.
    """
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is None or dag_run.dag_id not in TASKS_WITH_SENTENCE:
        return
    # Only the scheduler may commit its transaction, so the savepoint is made on the connection.
    connection = session.connection()
    try:
        with connection.begin_nested():
            _write(connection, dag_run, key)
    except Exception:
        log.warning("No note for run %s", dag_run.run_id, exc_info=True)


def _write(connection: Connection, dag_run: DagRun, key: str) -> None:
    from airflow.models.dagrun import DagRunNote
    from airflow.models.xcom import XComModel
    from sqlalchemy import insert, select, update

    query = select(XComModel.task_id, XComModel.value).where(
        XComModel.dag_id == dag_run.dag_id, XComModel.run_id == dag_run.run_id, XComModel.key == key
    )
    if key == RESULT:
        query = query.where(XComModel.task_id.in_(TASKS_WITH_SENTENCE[dag_run.dag_id]))
    sentences = [_sentence(task, value) for task, value in connection.execute(query)]
    text = literal("; ".join(filter(None, sentences)))
    if not text:
        return
    is_of_run = DagRunNote.dag_run_id == dag_run.id
    if connection.scalar(select(DagRunNote.dag_run_id).where(is_of_run)) is None:
        connection.execute(insert(DagRunNote).values(dag_run_id=dag_run.id, content=text))
    else:
        is_ours = DagRunNote.user_id.is_(None)
        connection.execute(update(DagRunNote).where(is_of_run, is_ours).values(content=text))


def _sentence(task: str, xcom: Any) -> str:
    """Return the sentence of a pod's result, "" if it has none, or the reason that a failed task has left."""
    from airflow.models.xcom import XComModel

    value = XComModel.deserialize_value(XComModel(value=xcom))
    if isinstance(value, dict):
        return str(value.get("sentence", ""))
    return f"{task}: {value}"
