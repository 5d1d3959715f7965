"""Queries to Airflow's database: the DAG runs of start runs and items runs, and their pods' results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import func, select

from airflow_pods.progress import PROGRESS_KEY
from dags.item_shards import SHARDS, items_run, run_after_of, shard_task
from dags.names import POD_COMMANDS, cycle_of_run, pod_name, runs_of_cpu
from scripts.wall.items import ItemsDagRun
from scripts.wall.models import DagRunItem, ItemsRunItem, RegistersAfterCycle, StartRunItem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.orm import Session

MAX_START_RUNS = 50
MAX_ITEMS_RUNS = 20
MAX_HISTORY = 1000  # cycles, or pods if they execute several
MAX_DAG_RUNS = 50
WAITING_FOR_POD = ("running", "deferred")


def newest_start_runs(session: Session) -> list[StartRunItem]:
    """Return the newest start runs that have stored a program, the newest first."""
    query = (
        select(XComModel.value, DagRun.run_id, DagRun.state, DagRun.run_after)
        .join(DagRun, (DagRun.dag_id == XComModel.dag_id) & (DagRun.run_id == XComModel.run_id))
        .where(XComModel.dag_id == "cpu_start", XComModel.task_id == "store", XComModel.key == "return_value")
        .order_by(DagRun.id.desc())
        .limit(MAX_START_RUNS)
    )
    return [
        StartRunItem(start=start, run_id=run_id, state=str(state), triggered=run_after.timestamp())
        for value, run_id, state, run_after in session.execute(query)
        if isinstance(start := pod_result(value).get("start"), str)
    ]


def newest_items_runs(session: Session) -> list[ItemsRunItem]:
    """Return the newest runs of DAG `items`, the newest first, whether their items are planned or not."""
    query = (
        select(DagRun.run_id, DagRun.state, DagRun.run_after)
        .where(DagRun.dag_id == "items")
        .order_by(DagRun.id.desc())
        .limit(MAX_ITEMS_RUNS)
    )
    return [
        ItemsRunItem(
            items=items_run(run_after), run_id=run_id, state=str(state), triggered=run_after.timestamp()
        )
        for run_id, state, run_after in session.execute(query)
    ]


def items_dag_run(session: Session, name: str) -> ItemsDagRun | None:
    """Return the run of DAG `items` that belongs to an items run, by a few rows; None if there is none."""
    run_after = run_after_of(name)
    if run_after is None:
        return None
    dag_run = session.execute(
        select(DagRun.run_id, DagRun.state)
        .where(DagRun.dag_id == "items", DagRun.run_after == run_after)
        .order_by(DagRun.id.desc())
        .limit(1)
    ).one_or_none()
    if dag_run is None:
        return None
    shards = [shard_task(number) for number in range(SHARDS)]
    states = select(TaskInstance.task_id, TaskInstance.state).where(
        TaskInstance.dag_id == "items",
        TaskInstance.run_id == dag_run.run_id,
        TaskInstance.task_id.in_(shards),
    )
    xcoms = select(XComModel.task_id, XComModel.key, XComModel.value).where(
        XComModel.dag_id == "items",
        XComModel.run_id == dag_run.run_id,
        XComModel.task_id.in_(["plan", *shards, "report"]),
        XComModel.key.in_(["return_value", PROGRESS_KEY]),
    )
    return ItemsDagRun(
        run_id=dag_run.run_id,
        state=str(dag_run.state),
        states={row.task_id: row.state for row in session.execute(states)},
        xcoms={(task, key): pod_result(value) for task, key, value in session.execute(xcoms)},
    )


def count_pods(session: Session, start: str) -> int:
    """Return how many tasks of the start run are waiting for a pod."""
    query = select(func.count()).where(
        TaskInstance.dag_id == "cpu",
        TaskInstance.run_id.startswith(f"{start}.cpu-", autoescape=True),
        TaskInstance.task_id.in_(POD_COMMANDS),
        TaskInstance.state.in_(WAITING_FOR_POD),
    )
    return session.scalar(query) or 0


def history(session: Session, start: str, cpu: int) -> list[RegistersAfterCycle]:
    """Return a CPU's registers after each of the newest cycles that Airflow keeps, oldest first."""
    query = (
        select(XComModel.value)
        .join(DagRun, (DagRun.dag_id == XComModel.dag_id) & (DagRun.run_id == XComModel.run_id))
        .where(
            XComModel.dag_id == "cpu",
            XComModel.task_id == "execute",
            XComModel.key == "return_value",
            XComModel.run_id.startswith(runs_of_cpu(start, cpu), autoescape=True),
        )
        .order_by(DagRun.id.desc())
        .limit(MAX_HISTORY)
    )
    return registers_by_cycle(pod_result(value) for value in session.scalars(query))


def registers_by_cycle(results: Iterable[dict[str, Any]]) -> list[RegistersAfterCycle]:
    """Return the registers in pods' results, ordered by cycle, without results that have none."""
    found = {}
    for result in results:
        match result:
            # Results of earlier versions hold integers.
            case {"cycle": int(cycle), "pc": str() | int() as pc, "acc": str() | int() as acc}:
                found[cycle] = RegistersAfterCycle(cycle=cycle, pc=str(pc), acc=str(acc))
    return [registers for _, registers in sorted(found.items())]


def newest_dag_runs(session: Session, start: str, cpu: int) -> list[DagRunItem]:
    """Return a CPU's newest DAG runs, the newest first, with the names of the pods they have created."""
    query = (
        select(DagRun.run_id, DagRun.state, DagRun.start_date, DagRun.end_date)
        .where(DagRun.dag_id == "cpu", DagRun.run_id.startswith(runs_of_cpu(start, cpu), autoescape=True))
        .order_by(DagRun.id.desc())
        .limit(MAX_DAG_RUNS)
    )
    dag_runs = session.execute(query).all()
    tasks_with_pod = select(
        TaskInstance.run_id, TaskInstance.task_id, TaskInstance.state, TaskInstance.try_number
    ).where(
        TaskInstance.dag_id == "cpu",
        TaskInstance.run_id.in_([row.run_id for row in dag_runs]),
        TaskInstance.task_id.in_(POD_COMMANDS),
    )
    pods: dict[str, list[str]] = {}
    tries: dict[str, int] = {}
    for run_id, task, state, try_number in session.execute(tasks_with_pod):
        cycle = cycle_of_run(run_id)
        tries[run_id] = max(tries.get(run_id, 0), try_number)
        # In cycle 0 only `load` creates a pod.
        if state in (*WAITING_FOR_POD, "success", "failed") and (task != "execute" or cycle != "0"):
            pods.setdefault(run_id, []).append(pod_name(start, cpu, cycle, POD_COMMANDS[task]))
    return [
        DagRunItem(
            run_id=run_id,
            state=str(state),
            tries=tries.get(run_id, 0),
            pods=sorted(pods.get(run_id, [])),
            began=_unix_time(began),
            ended=_unix_time(ended),
        )
        for run_id, state, began, ended in dag_runs
    ]


def pod_result(value: Any) -> dict[str, Any]:
    """Return a pod's result from the value of its XCom; empty if that is not a pod's result."""
    try:
        result = XComModel.deserialize_value(XComModel(value=value)) if isinstance(value, str) else value
    except Exception:  # Airflow's reader may raise anything: one bad XCom must not hide all others
        return {}
    return result if isinstance(result, dict) else {}


def _unix_time(when: datetime | None) -> float | None:
    return when.timestamp() if when else None
