"""What tasks tell people, by real posts to Slack's stand-in, and when one is tried again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import RetryDecision
from airflow.serialization.serialized_objects import DagSerialization

from dags import cpu, cpu_start, cpu_watch, notifications
from dags.dag_runs import GivenUp
from dags.notifications import TRIES, begin_of, tell, tell_start
from scripts.slack.errors import SlackAway
from tests.support.slack.server import TOKEN, SlackServer

TELLING = [(cpu.dag, "notify"), (cpu_start.dag, "notify"), (cpu_start.dag, "announce")]


@pytest.mark.parametrize(("dag", "task"), TELLING)
def test_the_next_try_to_tell_waits_for_as_long_as_slack_asks(dag: Any, task: str) -> None:
    notify = dag.get_task(task)
    asked = notify.retry_policy.evaluate(SlackAway("asks for a pause", 90), 1, TRIES)
    assert asked.retry_delay == timedelta(seconds=90)
    for other in (SlackAway("is away"), ConnectionError()):
        assert notify.retry_policy.evaluate(other, 1, TRIES) == RetryDecision.default()


@pytest.mark.parametrize(("dag", "task"), TELLING)
def test_telling_is_tried_for_longer_than_anything_else(dag: Any, task: str) -> None:
    kept = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    tell = {one for dag, one in TELLING if dag.dag_id == kept.dag_id}
    others = [one.retries for one in kept.tasks if one.task_id not in tell]
    assert kept.get_task(task).retries > max(others)


def test_nothing_was_told_of_a_start_run_before_it_began() -> None:
    began, later = datetime(2026, 11, 22, 8, 47, 25, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)
    start = cpu_start.start_id({"dag_run": SimpleNamespace(run_id="manual__1", run_after=began)})
    assert begin_of(start, later) == began
    assert begin_of("by-hand", later) == later


START = "20261122-084725-a1b2c3"
PART_1 = {"verdict": "part1", "status": "loop", "acc": "5", "start": START, "cpu": 0}
SWAP = {"line": 8, "before": "jmp -4", "after": "nop -4"}
PART_2 = {"verdict": "part2", "status": "end", "acc": "8", "start": START, "cpu": 8, "swap": SWAP}
NONE = {"verdict": "none", "start": START}


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackServer]:
    """The Slack that Airflow's connection leads to."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with SlackServer() as server:
        extra = {"channel": "C0CPU", "base_url": server.api}
        stored = {"conn_type": "generic", "password": TOKEN, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_CPU", json.dumps(stored))
        yield server


def context(dag: str = "cpu", task: str = "notify", **more: Any) -> Any:
    """As much of a task's context as telling takes."""
    run = SimpleNamespace(dag_id=dag, run_id="r", run_after=datetime.now(UTC))
    return {"dag_run": run, "ti": SimpleNamespace(dag_id=dag, task_id=task), **more}


def fail(dag: Any, task: str, context: Any) -> None:
    """What Airflow does when a task has failed for good."""
    [callback] = dag.get_task(task).on_failure_callback
    callback(context)


def test_a_start_run_s_story_is_one_thread_with_a_picture_at_its_end(
    slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "picture_of", lambda start: f"picture of {start}".encode())
    begun = tell_start(START, "nop +0\njmp -1\n", 2, 3, 1, context("cpu_start", "announce"))
    tell(PART_1, context())
    assert not slack.files.shared
    tell(PART_2, context())
    assert [post.mark for post in slack.posts] == [
        (START, "started"),
        (START, "part1"),
        (START, "part2"),
    ]
    assert [post.thread for post in slack.posts] == [None, begun["ts"], begun["ts"]]
    assert [(file.content, file.thread) for file in slack.files.shared] == [
        (b"picture of 20261122-084725-a1b2c3", begun["ts"])
    ]
    assert "/dags/cpu_start/runs/r" in slack.posts[0].shown


def test_that_no_swap_ends_the_program_comes_with_a_picture_too(
    slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "picture_of", lambda start: b"picture")
    tell(NONE, context())
    assert len(slack.files.shared) == 1


@pytest.mark.parametrize("task", ["store", "start_cpus"])
def test_what_fails_for_good_is_told_with_its_cause_in_the_start_run_s_thread(
    slack: SlackServer, task: str
) -> None:
    dag = cpu_start.dag
    where = context(dag.dag_id, task, exception=GivenUp("cpu-8.cycle-3", "cpu-1.cycle-2"))
    start = cpu_start.start_id(where)
    root = tell_start(start, "nop +0\n", 1, 2, 1, context("cpu_start", "announce"))
    for _ in range(2):
        fail(dag, task, where)
    [_, post] = slack.posts
    headline, cause, of, link = post.shown.splitlines()
    assert headline == f"Failed: task {task} of DAG {dag.dag_id}"
    assert cause.startswith(
        "these cycles' runs came to nothing, 6 or more of each: cpu-8.cycle-3, cpu-1.cycle-2 (see"
    )
    assert of == f"Start run {start}"
    assert f"/dags/{dag.dag_id}/runs/r)" in link
    assert post.thread == root["ts"]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (KeyError(), "KeyError"),
        (OSError("a\nb"), "a\\nb"),
        (None, "its process is gone: see its log"),  # told by the DAG processor
    ],
)
def test_a_cause_is_one_line_whatever_the_exception_says(
    slack: SlackServer, error: Exception | None, cause: str
) -> None:
    fail(cpu_start.dag, "store", context("cpu_start", "store", exception=error))
    assert slack.posts[0].shown.splitlines()[1] == cause


def test_no_secret_that_a_log_would_mask_is_told(slack: SlackServer) -> None:
    from airflow.sdk.log import mask_secret

    mask_secret("hunter2-of-redis")
    fail(
        cpu_start.dag,
        "store",
        context("cpu_start", "store", exception=OSError("redis://:hunter2-of-redis@redis is away")),
    )
    assert slack.posts[0].shown.splitlines()[1] == "redis://:***@redis is away"


def test_only_what_ends_a_start_run_s_story_is_told_as_a_failure() -> None:
    tasks = [(dag, task) for dag in (cpu.dag, cpu_start.dag, cpu_watch.dag) for task in dag.tasks]
    told = {(dag.dag_id, task.task_id) for dag, task in tasks if task.on_failure_callback}
    assert told == {("cpu_start", "store"), ("cpu_start", "start_cpus")}  # cpu_watch tells by itself
