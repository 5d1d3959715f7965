"""Start the next try of a task that was handed over in PodExecutor again, not in a worker.

Airflow itself keeps the executor of a task for its next try, unless people clear a task that is not running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from airflow_pods.task_rows import UNSYNCHRONIZED, identity, transaction

if TYPE_CHECKING:
    from airflow.models.taskinstancekey import TaskInstanceKey


_LEFT = ("restarting", "up_for_retry")
"""The states of a task between two tries. When it may be scheduled again, it has no state."""


class NextTries:
    """Keeps a list of the tasks that were handed over, and takes them back for their next tries.

    A task has a next try if it fails in a worker, or if people clear it while it runs. ``executor`` is the
    name of the executor in which that try starts. The list is lost with the process; `load` makes it anew.
    """

    def __init__(self, executor: str) -> None:
        self._executor = executor
        self._handed_over: dict[UUID, TaskInstanceKey] = {}  # by the id of the try that a worker has

    def add(self, ti_id: UUID, key: TaskInstanceKey) -> None:
        """Add a task to the list. Any thread may call this."""
        self._handed_over[ti_id] = key

    def load(self) -> None:
        """Add the tasks of PodOperator that earlier schedulers have handed over."""
        from airflow.models.taskinstance import TaskInstance as TI
        from airflow.models.taskinstancekey import TaskInstanceKey
        from airflow.utils.state import State
        from sqlalchemy import select

        columns = TI.id, TI.dag_id, TI.task_id, TI.run_id, TI.try_number, TI.map_index, TI.executor_config
        states = [state for state in State.unfinished if state is not None]
        with transaction() as session:
            found = session.execute(select(*columns).where(TI.executor.is_(None), TI.state.in_(states)))
            for ti_id, *key, config in found:
                if config and config.keys() >= {"pod", "next_step"}:
                    self.add(ti_id, TaskInstanceKey(*key))

    def take_back(self) -> None:
        """Have the next tries of tasks whose worker has ended start in PodExecutor.

        Call this in each of the scheduler's loops, after the other executors have reported which workers have
        ended: a task that was cleared while it ran is scheduled again right after that.
        """
        from airflow.models.taskinstance import TaskInstance as TI
        from airflow.utils.state import State
        from sqlalchemy import select

        if not self._handed_over:
            return
        followed = dict(self._handed_over)
        with transaction() as session:
            query = select(TI.id, TI.state).where(TI.id.in_(followed))
            same_try = {row.id: row.state for row in session.execute(query)}
        for ti_id, key in followed.items():
            state = same_try.get(ti_id)
            if state in (None, *_LEFT):  # None also for a row that has another id now
                self._take_back(key)
            elif state not in State.finished:
                continue
            self._handed_over.pop(ti_id, None)

    def _take_back(self, key: TaskInstanceKey) -> None:
        """Have the next try of a task start in PodExecutor, unless it has begun already."""
        from airflow.models.taskinstance import TaskInstance as TI
        from sqlalchemy import or_, update

        is_left = or_(TI.state.is_(None), TI.state.in_(_LEFT))
        # A task that was cleared while it ran still has the outcome with which it was handed over.
        changed = {"executor": self._executor, "next_method": None, "next_kwargs": None}
        next_try = update(TI).where(*identity(TI, key), TI.executor.is_(None), is_left).values(changed)
        with transaction() as session:
            session.execute(next_try, execution_options=UNSYNCHRONIZED)
