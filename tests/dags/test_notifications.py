"""What tasks post, to the stand-in for Slack, and when a failed post is tried again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import RetryDecision
from airflow.serialization.serialized_objects import DagSerialization

from dags import cpu, cpu_start, cpu_watch, notifications, start_form
from dags.dag_runs import CyclesStuck
from dags.notifications import RETRIES, post_answer, post_start, start_time
from scripts.slack.errors import SlackUnavailable
from tests.support.slack.server import TOKEN, SlackServer

POSTING = [(cpu.dag, "notify"), (cpu_start.dag, "notify"), (cpu_start.dag, "announce")]


@pytest.mark.parametrize(("dag", "task"), POSTING)
def test_retry_waits_as_long_as_slack_asks(dag: Any, task: str) -> None:
    notify = dag.get_task(task)
    asked = notify.retry_policy.evaluate(SlackUnavailable("asks for a pause", 90), 1, RETRIES)
    assert asked.retry_delay == timedelta(seconds=90)
    for other in (SlackUnavailable("is away"), ConnectionError()):
        assert notify.retry_policy.evaluate(other, 1, RETRIES) == RetryDecision.default()


@pytest.mark.parametrize(("dag", "task"), POSTING)
def test_tasks_that_post_have_more_retries_than_others(dag: Any, task: str) -> None:
    kept = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    posting = {one for dag, one in POSTING if dag.dag_id == kept.dag_id}
    others = [one.retries for one in kept.tasks if one.task_id not in posting]
    assert kept.get_task(task).retries > max(others)


def test_start_time_is_in_the_start_run_s_name_or_else_the_default() -> None:
    began, later = datetime(2026, 11, 22, 8, 47, 25, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)
    start = start_form.start_id({"dag_run": SimpleNamespace(run_id="manual__1", run_after=began)})
    assert start_time(start, later) == began
    assert start_time("by-hand", later) == later


START = "20261122-084725-a1b2c3"
PART_1 = {"verdict": "part1", "status": "loop", "acc": "5", "start": START, "cpu": 0}
SWAP = {"line": 8, "before": "jmp -4", "after": "nop -4"}
PART_2 = {"verdict": "part2", "status": "end", "acc": "8", "start": START, "cpu": 8, "swap": SWAP}
NONE = {"verdict": "none", "start": START}


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackServer]:
    """A stand-in for Slack that Airflow's connection leads to."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with SlackServer() as server:
        extra = {"channel": "C0CPU", "base_url": server.api}
        stored = {"conn_type": "generic", "password": TOKEN, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_CPU", json.dumps(stored))
        yield server


def context(dag: str = "cpu", task: str = "notify", **more: Any) -> Any:
    """The parts of a task's context that posting reads."""
    run = SimpleNamespace(dag_id=dag, run_id="r", run_after=datetime.now(UTC))
    return {"dag_run": run, "ti": SimpleNamespace(dag_id=dag, task_id=task), **more}


def fail(dag: Any, task: str, context: Any) -> None:
    """Call the task's failure callback, as Airflow does when it has failed for good."""
    [callback] = dag.get_task(task).on_failure_callback
    callback(context)


def test_all_messages_of_a_start_run_are_one_thread_with_a_picture_at_the_end(
    slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "draw_picture", lambda start: f"picture of {start}".encode())
    receipt = post_start(START, "nop +0\njmp -1\n", 2, 3, 1, context("cpu_start", "announce"))
    post_answer(PART_1, context())
    assert not slack.files.shared
    post_answer(PART_2, context())
    assert [post.mark for post in slack.posts] == [
        (START, "started"),
        (START, "part1"),
        (START, "part2"),
    ]
    assert [post.thread for post in slack.posts] == [None, receipt["ts"], receipt["ts"]]
    assert [(file.content, file.thread) for file in slack.files.shared] == [
        (b"picture of 20261122-084725-a1b2c3", receipt["ts"])
    ]
    assert "/dags/cpu_start/runs/r" in slack.posts[0].shown


def test_answer_that_no_swap_ends_the_program_has_a_picture(
    slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "draw_picture", lambda start: b"picture")
    post_answer(NONE, context())
    assert len(slack.files.shared) == 1


@pytest.mark.parametrize("task", ["store", "start_cpus"])
def test_failure_is_posted_to_the_thread_with_its_cause_and_a_remedy(slack: SlackServer, task: str) -> None:
    dag = cpu_start.dag
    failed = context(dag.dag_id, task, exception=CyclesStuck("cpu-8.cycle-3", "cpu-1.cycle-2"))
    start = start_form.start_id(failed)
    root = post_start(start, "nop +0\n", 1, 2, 1, context("cpu_start", "announce"))
    for _ in range(2):
        fail(dag, task, failed)
    [_, post] = slack.posts
    headline, cause, remedy, about, link = post.shown.splitlines()
    assert headline == f"Failed: task {task} of DAG {dag.dag_id}"
    assert cause.startswith(
        "all DAG runs of these cycles failed, 6 or more of each: cpu-8.cycle-3, cpu-1.cycle-2 (read"
    )
    assert remedy == "Correct the cause, then clear the task, or start the program again"
    assert about == f"Start run {start}"
    assert f"/dags/{dag.dag_id}/runs/r)" in link
    assert post.thread == root["ts"]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (KeyError(), "KeyError"),
        (OSError("a\nb"), "a\\nb"),
        (None, "its process is gone: see its log"),  # the DAG processor posts it
    ],
)
def test_cause_of_a_failure_is_one_line_whatever_the_exception_says(
    slack: SlackServer, error: Exception | None, cause: str
) -> None:
    fail(cpu_start.dag, "store", context("cpu_start", "store", exception=error))
    assert slack.posts[0].shown.splitlines()[1] == cause


def test_secret_that_a_log_masks_is_masked_in_slack(slack: SlackServer) -> None:
    from airflow.sdk.log import mask_secret

    mask_secret("hunter2-of-redis")
    fail(
        cpu_start.dag,
        "store",
        context("cpu_start", "store", exception=OSError("redis://:hunter2-of-redis@redis is away")),
    )
    assert slack.posts[0].shown.splitlines()[1] == "redis://:***@redis is away"


def test_only_tasks_without_which_no_start_run_begins_post_their_failure() -> None:
    tasks = [(dag, task) for dag in (cpu.dag, cpu_start.dag, cpu_watch.dag) for task in dag.tasks]
    posting = {(dag.dag_id, task.task_id) for dag, task in tasks if task.on_failure_callback}
    assert posting == {("cpu_start", "store"), ("cpu_start", "start_cpus")}  # cpu_watch posts by itself
