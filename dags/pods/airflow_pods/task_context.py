"""What templates may use where no worker renders them: `ti` with its XComs, and `params`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.executors.workloads.task import TaskInstanceDTO
    from sqlalchemy.orm import Session


class NeedsWorker(Exception):
    """Only a worker can end the task."""


class TemplateTi:
    """What templates may ask of ``ti``. Raises NeedsWorker for what only a worker can answer."""

    def __init__(self, ti: TaskInstanceDTO, session: Session) -> None:
        def xcom_pull(
            task_ids: str, dag_id: str = ti.dag_id, key: str = "return_value", **others: Any
        ) -> Any:
            return _xcom(session, dag_id, ti.run_id, task_ids, key, **others)

        self.dag_id = ti.dag_id
        self.run_id = ti.run_id
        self.task_id = ti.task_id
        self.map_index = ti.map_index
        self.try_number = ti.try_number
        # Not a method: a template must not reach the session by an attribute.
        self.xcom_pull = xcom_pull

    def __getattr__(self, name: str) -> Any:
        raise NeedsWorker(f"its templates use ti.{name}")


def _xcom(
    session: Session, dag_id: str, run_id: str, task_id: str, key: str, *, map_indexes: int = -1
) -> Any:
    """Return an XCom of one task in a run. ``map_indexes`` is a mapped task's index, -1 for any other."""
    from airflow.models.xcom import XComModel
    from airflow.sdk.serde import deserialize
    from sqlalchemy import select

    # Whether that means all indexes, the default or an error is for a worker to say.
    if not isinstance(task_id, str) or not isinstance(map_indexes, int):
        raise NeedsWorker("its templates pull XComs of several tasks")
    wanted = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_indexes, "key": key}
    row = session.scalars(select(XComModel).filter_by(**wanted)).one_or_none()
    if row is None:
        raise NeedsWorker(f"there is no XCom {key!r} of task {task_id}")
    return deserialize(row.value)


def params_of(dag: Any, task: Any, conf: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the parameters of a task in a run with this conf, which a worker gets by `process_params`.

    That function cannot tell from a DAG of the database which parameters have no value, or what their schemas
    say. Raises ParamValidationError for a parameter without a value, or with one that its schema refuses.
    """
    from airflow.configuration import conf as settings

    given = conf if settings.getboolean("core", "dag_run_conf_overrides_params") else None
    params: dict[str, Any] = dag.params.deep_merge(task.params).deep_merge(given).validate()
    return params
