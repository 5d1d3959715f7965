"""PodExecutor with Airflow's scheduler and database and the project's endpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from airflow_pods import executor as executor_module
from airflow_pods.operator import POD_EXECUTOR
from tests.dags.pods.database import airflow
from tests.dags.pods.database.airflow import row, states, xcoms
from tests.dags.pods.database.world import World, succeeded
from tests.support.airflow_database import create_run
from tests.support.kubernetes_api import finished, terminated
from tests.support.nodeless import RUNNING

NOTHING = finished(main=terminated(None))


def test_a_pod_s_success_ends_its_task_and_triggers_the_next_run(world: World, number: int) -> None:
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods())
    world.report(pod, RUNNING)
    result = {"step": "left", "run": True}
    world.report(pod, succeeded(result))
    world.until(lambda: states(run)["join"] == "success")
    assert states(run) == {"pod": "success", "left": "success", "right": "skipped", "join": "success"}
    assert xcoms(run) == {"return_value": result, "skipmixin_key": {"followed": ["left"]}}
    assert airflow.runs("after") == [f"after-{number}"]
    world.until(lambda: not world.pods() and not world.executor.running)
    assert row(run).executor == POD_EXECUTOR


def test_the_scheduler_does_not_sleep_between_the_end_of_a_task_and_what_follows(
    world: World, number: int
) -> None:
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods())
    assert world.scheduler.step() == 0
    world.report(pod, succeeded({"step": "left"}))
    steps = (world.scheduler.step() for _ in range(1000))
    assert next(events for events in steps if not world.executor.running) == 1
    assert (row(run).state, row(run).try_number) == ("success", 1)


class Clock:
    """A clock on which time passes only in sleep."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.now += seconds


@pytest.mark.parametrize(
    ("busy", "waited"),
    [(0.0, 0.0), (0.4, 0.2), (60.0, 0.5)],
    ids=["a quick scheduler", "a busy scheduler", "a scheduler without tasks for a minute"],
)
def test_the_scheduler_waits_half_as_long_as_it_was_busy_for_more_tasks_to_end(
    monkeypatch: pytest.MonkeyPatch, busy: float, waited: float
) -> None:
    clock = Clock()
    monkeypatch.setattr(executor_module, "time", clock)
    executor = executor_module.PodExecutor()
    key = TaskInstanceKey("pods", "run", "pod")
    executor.running.add(key)
    executor._ended.append((key, None))
    executor._has_ended.set()
    clock.now += busy
    executor.sync()
    assert clock.slept == [waited]
    assert not executor.running


def test_the_scheduler_does_not_wait_while_no_pod_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(executor_module, "time", clock)
    executor = executor_module.PodExecutor()
    clock.now += 60
    executor.sync()
    assert clock.slept == []


def test_a_task_of_another_version_of_airflow_is_for_workers(
    world: World, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.stop()
    monkeypatch.setattr(executor_module, "is_supported", lambda: False)
    with capture_logs() as lines:
        world.start()
    first, second = world.run(number), world.run(number + 100_000)
    world.until(lambda: {row(first).executor, row(second).executor} == {None})
    assert (row(first).next_method, row(first).try_number) == (None, 1)
    assert world.pods() == {}
    assert ["not been tested" in line["event"] for line in lines].count(True) == 1


def test_a_task_goes_on_although_its_log_cannot_be_written(
    world: World, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: str) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("airflow.sdk.log.init_log_file", full)
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods())
    world.report(pod, succeeded({"step": "left"}))
    world.until(lambda: row(run).state == "success")
    world.until(lambda: not world.pods() and not world.executor.running)


def mark_and_clear(ti: Any, session: Any) -> None:
    airflow.marked("failed")(ti, session)
    airflow.clear(ti, session)


def test_a_task_that_is_marked_and_cleared_at_once_keeps_the_pod_for_its_next_try(
    world: World, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.stop()
    monkeypatch.setattr(executor_module, "HEARTBEAT_SECONDS", 1)
    world.start()
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods())
    world.report(pod, RUNNING)
    uid = world.pods()[pod]["metadata"]["uid"]
    airflow.change(run, mark_and_clear)  # before the executor sees it marked
    world.until(lambda: row(run).state == "running" and row(run).try_number == 2)
    world.until(lambda: len(world.executor._jobs) == 1)
    assert world.pods()[pod]["metadata"]["uid"] == uid
    world.report(pod, succeeded({"step": "left"}))
    world.until(lambda: row(run).state == "success")
    assert xcoms(run)["return_value"] == {"step": "left"}


def test_a_task_that_exceeds_its_execution_timeout_loses_its_pod_and_is_for_a_worker_to_fail(
    world: World, number: int
) -> None:
    run, pod = f"run-{number}", f"limited-{number}"
    create_run("limited", run, {"n": number})
    world.until(lambda: pod in world.pods())
    world.until(lambda: row(run, dag_id="limited").executor is None)
    assert pod not in world.pods()
    event = row(run, dag_id="limited").next_kwargs["event"]
    assert event == {"error": "the task did not end within its execution_timeout of 2 s", "refused": False}


def test_a_later_pod_of_the_same_name_survives_a_task_that_people_have_ended(
    world: World, number: int
) -> None:
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods() and world.waited_for())
    world.report(pod, RUNNING)
    endpoint = world.endpoint.endpoint
    world.until(lambda: endpoint.watches)
    endpoint.refuses = lambda method: 500 if method == "WATCH" else 0
    world.endpoint.call(endpoint.break_watches)
    later = world.pods()[pod]
    world.delete(pod)
    for name in ("uid", "resourceVersion", "creationTimestamp"):
        del later["metadata"][name]
    world.endpoint.call(endpoint.create, later)
    airflow.change(run, airflow.marked("failed"))
    world.until(lambda: not world.executor.running)
    assert pod in world.pods()


def test_a_pod_that_a_later_try_in_another_process_waits_for_stays(world: World, number: int) -> None:
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods() and world.waited_for())
    airflow.change(run, airflow.begun_again_elsewhere)
    world.until(lambda: not world.executor.running)
    assert pod in world.pods()
    assert row(run).state == "running"


def test_a_task_that_was_handed_over_is_for_the_executor_again_once_it_is_cleared(
    world: World, number: int
) -> None:
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods())
    world.report(pod, succeeded({"step": None}))
    world.until(lambda: row(run).executor is None and row(run).state == "queued")
    airflow.change(run, airflow.clear)
    world.until(lambda: row(run).executor == POD_EXECUTOR and row(run).state == "running")
    world.until(lambda: pod in world.pods())
    world.report(pod, succeeded({"step": "left"}))
    world.until(lambda: row(run).state == "success")


def with_a_worker(world: World, number: int) -> str:
    """Return a run whose pod a worker runs, to take a result that is for workers."""
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods())
    world.report(pod, succeeded({"step": None}))
    world.until(lambda: row(run).executor is None and row(run).state == "queued")
    world.until(lambda: not world.executor.running)
    airflow.change(run, airflow.begun_by_a_worker)
    return run


def runs_in_pod_executor(run: str, attempt: int) -> bool:
    task = row(run)
    return (task.state, task.executor, task.try_number) == ("running", POD_EXECUTOR, attempt)


def test_a_task_that_is_cleared_while_a_worker_runs_it_starts_in_the_executor(
    world: World, number: int
) -> None:
    run, pod = with_a_worker(world, number), f"pod-{number}"
    airflow.change(run, airflow.clear)
    world.scheduler.worker_ends(run)
    world.until(lambda: runs_in_pod_executor(run, 2) and pod in world.pods())
    assert (row(run).next_method, row(run).next_kwargs) == (None, None)
    world.report(pod, succeeded({"step": "left"}))
    world.until(lambda: row(run).state == "success")
    assert xcoms(run)["return_value"] == {"step": "left"}


@pytest.mark.parametrize("by_the_scheduler_before", [False, True])
def test_the_next_try_of_a_task_that_fails_in_a_worker_is_for_the_executor(
    world: World, number: int, by_the_scheduler_before: bool
) -> None:
    run = with_a_worker(world, number)
    if by_the_scheduler_before:
        world.restart()
    airflow.change(run, airflow.failed_in_a_worker)
    world.until(lambda: row(run).executor == POD_EXECUTOR)
    assert row(run).state == "up_for_retry"


def test_a_task_is_followed_until_a_worker_has_ended_it(world: World, number: int) -> None:
    run = with_a_worker(world, number)
    assert len(world.executor._next_tries._handed_over) == 1
    airflow.change(run, airflow.marked("success"))
    world.scheduler.step()
    assert world.executor._next_tries._handed_over == {}
    assert row(run).executor is None


def test_a_scheduler_goes_on_although_it_cannot_look_for_next_tries(
    world: World, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise OperationalError("SELECT", {}, Exception("the database is away"))

    monkeypatch.setattr(world.executor._next_tries, "take_back", broken)
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods())
    world.report(pod, succeeded({"step": "left"}))
    world.until(lambda: row(run).state == "success")


def test_a_scheduler_that_takes_itself_for_dead_goes_on_with_its_own_tasks(world: World, number: int) -> None:
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods() and world.waited_for())
    uid = world.pods()[pod]["metadata"]["uid"]
    world.scheduler.die()
    world.scheduler.adopt()
    world.until(lambda: row(run).state == "running" and len(world.executor._jobs) == 1)
    assert world.pods()[pod]["metadata"]["uid"] == uid
    world.report(pod, succeeded({"step": "left", "run": True}))
    world.until(lambda: row(run).state == "success")
    world.until(lambda: not world.pods() and not world.executor.running)
    assert (row(run).try_number, airflow.runs("after")) == (1, [f"after-{number}"])


@pytest.mark.parametrize("mark", ["success", "failed"])
def test_a_pod_whose_task_is_marked_before_the_next_scheduler_begins_it_is_deleted(
    world: World, number: int, mark: str
) -> None:
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods() and world.waited_for())
    world.restart()
    airflow.change(run, airflow.marked(mark))
    world.until(lambda: pod not in world.pods())
    assert row(run).state == mark


@pytest.mark.parametrize("change", [airflow.marked("failed"), airflow.delete_run])
def test_a_scheduler_that_ends_deletes_the_pod_of_a_task_that_has_just_been_changed(
    world: World, number: int, change: Callable[[Any, Any], None]
) -> None:
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods() and world.waited_for())
    airflow.change(run, change)
    world.restart()
    assert pod not in world.pods()


def test_pods_that_leave_no_result_end_their_tasks_and_the_next_run_has_pods_of_its_own(
    world: World, number: int
) -> None:
    runs = [f"silent-{number}", f"silent-{number}-next"]
    for run in runs:
        create_run("silent", run, {})
    tasks = {"ignored": succeeded({"not": "wanted"}), "set": NOTHING, "optional": NOTHING}
    seen: dict[str, Any] = {}

    def end_pods() -> bool:
        for name, pod in world.pods().items():
            if pod["status"]["phase"] == "Pending":
                seen[name] = pod
                world.report(name, tasks[name.partition("-")[0]])
        return all(row(run, task, "silent").state == "success" for run in runs for task in tasks)

    world.until(end_pods, "all tasks succeed")
    assert len(seen) == len(runs) * (1 + 3 + 1)
    of = [pod["metadata"].get("annotations", {}).get("of") for pod in seen.values()]
    assert {each for each in of if each} == set(runs)
    query = select(XComModel.task_id).filter_by(dag_id="silent", key="return_value")
    with create_session() as session:
        assert list(session.scalars(query)) == []
    world.until(lambda: not world.pods() and not world.executor.running)
