"""Many pods in one task, run by PodExecutor."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_pods.operator import POD_EXECUTOR
from tests.dags.pods.database.world import World, succeeded
from tests.support.airflow_database import create_run
from tests.support.kubernetes_api import finished, terminated


@pytest.fixture
def run(world: World, number: int) -> str:
    """A run of DAG ``sets`` whose tasks have three pods each."""
    create_run("sets", f"run-{number}", {"n": number})
    with create_session() as session:
        stored: Any = {"dag_id": "sets", "task_id": "plan", "run_id": f"run-{number}", "serialize": False}
        XComModel.set("return_value", 3, session=session, **stored)
    return f"run-{number}"


def tasks(run: str) -> dict[int, Any]:
    """Return the rows of a run's two tasks, by their map index."""
    query = select(TaskInstance).filter_by(run_id=run, task_id="shard.work")
    with create_session() as session:
        return {each.map_index: each for each in session.scalars(query)}


def xcoms(run: str, map_index: int) -> dict[str, Any]:
    query = select(XComModel).filter_by(run_id=run, task_id="shard.work", map_index=map_index)
    with create_session() as session:
        return {each.key: each.value for each in session.scalars(query)}


def summary(run: str, map_index: int) -> dict[str, Any]:
    found: dict[str, Any] = xcoms(run, map_index)["return_value"]
    return found


def end_pods(world: World, run: str, wanted: list[str], failing: str = "") -> None:
    """Report the end of these pods, as soon as they are there."""
    for name in wanted:
        there = functools.partial(lambda name: name in world.pods(), name)
        world.until(there, name)
        broken = {**finished(main=terminated("no room", 1)), "phase": "Failed"}
        world.report(name, broken if name == failing else succeeded({"rows": 10}))


def test_tasks_of_many_pods_end_with_their_summaries_and_delete_all_pods(
    world: World, run: str, number: int
) -> None:
    for shard in (0, 1):
        end_pods(world, run, [f"set-{number}-{shard}-{index}" for index in range(3)])
    world.until(lambda: {row.state for row in tasks(run).values()} == {"success"})
    for map_index, row in tasks(run).items():
        assert row.executor == POD_EXECUTOR
        found = summary(run, map_index)
        assert (found["count"], found["succeeded"], found["failed"], found["total"]) == (3, 3, "", 30)
    world.until(lambda: not world.pods() and not world.executor.running)


def test_an_xcom_says_how_far_a_set_is_while_it_runs(world: World, run: str, number: int) -> None:
    first, second, third = (f"set-{number}-0-{index}" for index in range(3))
    end_pods(world, run, [first])
    world.until(lambda: {second, third} <= world.pods().keys())
    there = {"count": 3, "running": 2, "succeeded": 1, "failed": 0, "failed_indices": ""}
    world.until(lambda: xcoms(run, 0).get("progress") == there)
    assert "return_value" not in xcoms(run, 0)
    end_pods(world, run, [second, third])
    world.until(lambda: tasks(run)[0].state == "success")


def test_the_xcom_of_a_set_that_has_failed_names_the_failed_indices(
    world: World, run: str, number: int
) -> None:
    names = [f"set-{number}-0-{index}" for index in range(3)]
    end_pods(world, run, [names[0]])
    end_pods(world, run, [names[1], f"{names[1]}-1"], failing=names[1])
    end_pods(world, run, [names[2]], failing=names[2])
    end_pods(world, run, [f"{names[2]}-1"], failing=f"{names[2]}-1")
    world.until(lambda: tasks(run)[0].executor is None)
    found = xcoms(run, 0)["progress"]
    assert (found["succeeded"], found["failed"], found["failed_indices"]) == (2, 1, "2")


def test_the_next_scheduler_goes_on_with_what_the_pods_say(world: World, run: str, number: int) -> None:
    first, second, third = (f"set-{number}-0-{index}" for index in range(3))
    end_pods(world, run, [first, second])
    world.until(lambda: third in world.pods())
    world.restart()
    end_pods(world, run, [third])
    world.until(lambda: tasks(run)[0].state == "success")
    assert summary(run, 0)["total"] == 30
    world.until(lambda: not world.pods().keys() & {first, second, third})


def test_a_set_that_fails_is_handed_to_a_worker_and_its_pods_are_kept(
    world: World, run: str, number: int
) -> None:
    names = [f"set-{number}-0-{index}" for index in range(3)]
    end_pods(world, run, names[:2], failing=names[1])
    end_pods(world, run, [f"{names[1]}-1"], failing=f"{names[1]}-1")
    world.until(lambda: tasks(run)[0].executor is None)
    row = tasks(run)[0]
    assert row.next_method == "resume"
    assert "1 of the 3 pods" in str(row.next_kwargs)
    assert {names[0], names[1], f"{names[1]}-1"} <= world.pods().keys()


def test_the_live_pods_of_a_task_that_is_marked_are_deleted(world: World, run: str, number: int) -> None:
    first, second = f"set-{number}-0-0", f"set-{number}-0-1"
    end_pods(world, run, [first])
    world.until(lambda: second in world.pods())
    with create_session() as session:
        query = select(TaskInstance).filter_by(run_id=run, task_id="shard.work", map_index=0)
        session.scalars(query).one().state = "failed"
    world.until(lambda: second not in world.pods())
    assert first in world.pods()
    assert tasks(run)[0].state == "failed"


def test_the_number_of_pods_must_be_a_number(world: World, number: int) -> None:
    create_run("sets", f"run-{number}", {"n": number})
    with create_session() as session:
        stored: Any = {"dag_id": "sets", "task_id": "plan", "run_id": f"run-{number}", "serialize": False}
        XComModel.set("return_value", "three", session=session, **stored)
    world.until(lambda: tasks(f"run-{number}")[0].executor is None)
    assert "count is 'three'" in str(tasks(f"run-{number}")[0].next_kwargs)
    assert world.pods() == {}
