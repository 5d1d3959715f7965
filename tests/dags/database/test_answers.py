"""Task ``answers`` of DAG ``cpu_start`` with Airflow's database and Task Execution API, in this process."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_pods import REASON_KEY
from dags import answers, cpu_answers, cpu_start
from scripts.waiting import wait_until
from tests.support import waiting_dags
from tests.support.airflow_database import create_run, database_with_pod_executor, store_dag

SWAP = {"line": 8, "before": "jmp -4", "after": "nop -4"}
FOUND: dict[str, Any] = {
    "sentence": "9 instructions, 5 CPUs · Part 1: 5 · Part 2: 8, line 8: jmp -4 → nop -4",
    "status": "answered",
    "parts": [1, 2],
    "part1": {"status": "loop", "cpu": 0, "acc": "5", "swap": None},
    "part2": {"status": "end", "cpu": 8, "acc": str(10**24), "swap": SWAP},
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with database_with_pod_executor(tmp_path_factory.mktemp("database")):
        for dag in (cpu_start.dag, cpu_answers.dag, waiting_dags.scheduled):
            store_dag(dag)
        yield


@pytest.fixture
def start(database: None) -> str:
    """A start run whose run of ``cpu_start``, of the same name, has come to task ``answers``."""
    start = f"start-{next(_numbers)}"
    create_run("cpu_start", start, {})
    end_task("cpu_start", start, "store", {"start": start})
    end_task("cpu_start", start, "start_cpus", {"cpus": 5})
    return start


def end_task(dag: str, run: str, task: str, value: Any, key: str = "return_value") -> None:
    """End a task with an XCom: as a success, or as failed if that is its reason."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        row = session.scalars(select(TaskInstance).filter_by(dag_id=dag, run_id=run, task_id=task)).one()
        row.state = "success" if key == "return_value" else "failed"
        XComModel.set(key, value, dag_id=dag, run_id=run, task_id=task, serialize=False, session=session)


def collect(start: str, value: Any, key: str = "return_value") -> None:
    """Have the answers of a start run collected."""
    create_run("cpu_answers", f"{start}.answers", {"start": start})
    end_task("cpu_answers", f"{start}.answers", "collect", value, key)


def run_answers(start: str) -> tuple[str, dict[str, Any]]:
    """Run task ``answers``, with its trigger, as ``airflow dags test`` does; return its state and XComs."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.sdk.definitions.dag import _run_task
    from airflow.utils.session import create_session
    from sqlalchemy import select

    identity = {"dag_id": "cpu_start", "run_id": start, "task_id": "answers"}
    with create_session() as session:
        row = session.scalars(select(TaskInstance).filter_by(**identity)).one()
        row.try_number += 1
        session.flush()
        session.expunge_all()
    _run_task(ti=row, task=cpu_start.dag.get_task("answers"), run_triggerer=True)
    with create_session() as session:
        state = session.scalars(select(TaskInstance.state).filter_by(**identity)).one()
        rows = session.execute(select(XComModel.key, XComModel.value).filter_by(**identity)).all()
        xcoms = {key: XComModel.deserialize_value(XComModel(value=value)) for key, value in rows}
    return str(state), xcoms


def extras(start: str) -> list[Any]:
    """Return the extra of each event of the asset about a start run, by part."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(AssetEvent).filter_by(source_run_id=start)).all()
        assert all(event.name == answers.ANSWER[event.extra["part"]].name for event in found)
        return sorted((event.extra for event in found), key=lambda extra: int(extra["part"]))


def test_task_ends_with_the_collected_answers_and_emits_an_event_for_each(start: str) -> None:
    collect(start, {**FOUND, "start": start})
    state, xcoms = run_answers(start)
    assert (state, xcoms) == ("success", {"return_value": {**FOUND, "start": start}})
    assert extras(start) == [
        {"start": start, "part": 1, "status": "loop", "acc": "5", "swap": None},
        {"start": start, "part": 2, "status": "end", "acc": str(10**24), "swap": SWAP},
    ]


def test_task_waits_until_the_answers_are_collected(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "POLL_SECONDS", 0.01)
    asked: list[list[str]] = []
    ended = answers._ended

    def counted(dag_id: str, runs: list[str]) -> dict[str, str]:
        asked.append(runs)
        return ended(dag_id, runs)

    monkeypatch.setattr(answers, "_ended", counted)

    def collect_later() -> None:
        assert wait_until(lambda: len(asked) > 3, 60)
        collect(start, {**FOUND, "start": start})

    later = threading.Thread(target=collect_later)
    later.start()
    state, _ = run_answers(start)
    later.join()
    assert state == "success"
    assert {tuple(runs) for runs in asked} == {(f"{start}.answers",)}


def test_task_fails_with_the_reason_and_no_event_if_a_part_has_no_answer(start: str) -> None:
    reason = f"start run {start} was cancelled: 9 instructions, 5 CPUs · Part 1: 5 · Part 2: no answer"
    found = {"sentence": reason, "status": "cancelled", "parts": [1, 2], "part1": FOUND["part1"]}
    collect(start, found)
    assert run_answers(start) == ("failed", {REASON_KEY: reason, "return_value": found})
    assert extras(start) == []


def test_task_fails_with_the_reason_of_the_pod_that_could_not_collect(start: str) -> None:
    collect(start, "the pod refused: the start run has expired", REASON_KEY)
    state, xcoms = run_answers(start)
    assert state == "failed"
    assert xcoms == {REASON_KEY: "task collect is failed: the pod refused: the start run has expired"}


def test_dag_that_is_scheduled_by_both_answers_gets_one_run_for_each_start_run(database: None) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from tests.dags.pods.database.airflow import Recorder, Scheduler

    scheduled = waiting_dags.scheduled.dag_id
    scheduler = Scheduler(Recorder())
    scheduler.step()  # takes what other tests have queued
    for name in ("first", "second"):
        create_run("cpu_start", name, {})
        end_task("cpu_start", name, "store", {"start": name})
        end_task("cpu_start", name, "start_cpus", {"cpus": 5})
        collect(name, {**FOUND, "start": name})
        assert run_answers(name)[0] == "success"
        scheduler.step()
    with create_session() as session:
        runs = session.scalars(select(DagRun).filter_by(dag_id=scheduled).order_by(DagRun.id)).all()
        consumed = [[event.extra for event in run.consumed_asset_events] for run in runs[-2:]]
    # The first of these runs may have events of other tests, too, which came after their queue began.
    assert [
        sorted((one["start"], one["part"]) for one in extras if one["start"] in ("first", "second"))
        for extras in consumed
    ] == [
        [("first", 1), ("first", 2)],
        [("second", 1), ("second", 2)],
    ]
