"""What Airflow's database holds of a start run: its DAG runs and what their pods answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import func, select

from scripts.wall.models import Moment, Run, Start

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.orm import Session

STARTS = 50
MOMENTS = 1000
RUNS = 50
IN_FLIGHT = ("running", "deferred")
PODS = {"execute": "exec", "load": "load", "read": "read"}
"""The tasks that launch a pod, and what their pods' names end with."""


def starts(session: Session) -> list[Start]:
    """The newest start runs that have stored a program, the newest first."""
    query = (
        select(XComModel.value, DagRun.run_id, DagRun.state, DagRun.run_after)
        .join(DagRun, (DagRun.dag_id == XComModel.dag_id) & (DagRun.run_id == XComModel.run_id))
        .where(XComModel.dag_id == "cpu_start", XComModel.task_id == "store", XComModel.key == "return_value")
        .order_by(DagRun.id.desc())
        .limit(STARTS)
    )
    return [
        Start(start=start, run_id=run_id, state=str(state), triggered=after.timestamp())
        for value, run_id, state, after in session.execute(query)
        if isinstance(start := answered(value).get("start"), str)
    ]


def pods_in_flight(session: Session, start: str) -> int:
    """How many tasks of the start run wait for a pod of theirs right now."""
    query = select(func.count()).where(
        TaskInstance.dag_id == "cpu",
        TaskInstance.run_id.startswith(f"{start}.cpu-", autoescape=True),
        TaskInstance.task_id.in_(PODS),
        TaskInstance.state.in_(IN_FLIGHT),
    )
    return session.scalar(query) or 0


def history(session: Session, start: str, cpu: int) -> list[Moment]:
    """The registers after each of the newest cycles, oldest first, as far as Airflow keeps them."""
    query = (
        select(XComModel.value)
        .join(DagRun, (DagRun.dag_id == XComModel.dag_id) & (DagRun.run_id == XComModel.run_id))
        .where(
            XComModel.dag_id == "cpu",
            XComModel.task_id == "execute",
            XComModel.key == "return_value",
            XComModel.run_id.startswith(f"{start}.cpu-{cpu}.", autoescape=True),
        )
        .order_by(DagRun.id.desc())
        .limit(MOMENTS)
    )
    return moments(answered(value) for value in session.scalars(query))


def moments(results: Iterable[dict[str, Any]]) -> list[Moment]:
    """The registers in the results of pods, in the order of the cycles; what is none of ours is left out."""
    found = {}
    for result in results:
        match result:
            # Results of older versions hold integers.
            case {"cycle": int(cycle), "pc": str() | int() as pc, "acc": str() | int() as acc}:
                found[cycle] = Moment(cycle=cycle, pc=str(pc), acc=str(acc))
    return [moment for _, moment in sorted(found.items())]


def runs(session: Session, start: str, cpu: int) -> list[Run]:
    """The CPU's newest DAG runs, the newest first, and the names of the pods that they have launched."""
    query = (
        select(DagRun.run_id, DagRun.state, DagRun.start_date, DagRun.end_date)
        .where(DagRun.dag_id == "cpu", DagRun.run_id.startswith(f"{start}.cpu-{cpu}.", autoescape=True))
        .order_by(DagRun.id.desc())
        .limit(RUNS)
    )
    found = session.execute(query).all()
    begun = select(TaskInstance.run_id, TaskInstance.task_id).where(
        TaskInstance.dag_id == "cpu",
        TaskInstance.run_id.in_([row.run_id for row in found]),
        TaskInstance.task_id.in_(PODS),
        TaskInstance.state.in_((*IN_FLIGHT, "success", "failed")),
    )
    launched: dict[str, list[str]] = {}
    for run_id, task in session.execute(begun):
        cycle = run_id.split(".")[2].removeprefix("cycle-")
        if task != "execute" or cycle != "0":
            launched.setdefault(run_id, []).append(f"cpu-{start}-{cpu}-{cycle}-{PODS[task]}")
    return [
        Run(
            run_id=run_id,
            state=str(state),
            pods=sorted(launched.get(run_id, [])),
            began=moment(began),
            ended=moment(ended),
        )
        for run_id, state, began, ended in found
    ]


def answered(value: Any) -> dict[str, Any]:
    """A pod's answer as an XCom has it; empty where that is no result of a pod."""
    try:
        found = XComModel.deserialize_value(XComModel(value=value)) if isinstance(value, str) else value
    except Exception:  # Airflow's reader may raise anything: one bad XCom must not hide all others
        return {}
    return found if isinstance(found, dict) else {}


def moment(when: datetime | None) -> float | None:
    """In seconds since 1970."""
    return when.timestamp() if when else None
