"""Each answer is posted once if Slack fails: Airflow retries the task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from scripts.waiting import wait_until
from tests.support.slack.server import Fault
from tests.support.stack import PATIENCE_SECONDS, Stack


def start(stack: Stack, disturb: Callable[[str], object]) -> str:
    """Start a program, call `disturb` with the start run's id before its CPUs run; return the DAG run's id.

    The message that the program has started is posted before `disturb` is called.
    """
    with stack.paused():
        run = stack.start(cycles=10, parts="part 1")
        start = stack.wait_until_started(run)
        assert wait_until(lambda: any(not post.is_answer for post in stack.posts(start)), PATIENCE_SECONDS)
        disturb(start)
    return run


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, accepts=True),
        Fault(cut=True, accepts=True),
        Fault(503),
        Fault(429, '{"ok": false, "error": "ratelimited"}', {"Retry-After": "2"}),
    ],
    ids=["500 after posting", "cut off after posting", "503", "429"],
)
def test_answer_is_posted_once_if_the_first_try_fails(stack: Stack, fault: Fault) -> None:
    _, name = stack.finish(start(stack, lambda name: stack.slack.faults.put(replace(fault, about=name))))
    assert stack.answers(name) == ["Part 1: 5"]
    run = f"{name}.cpu-0.cycle-1"
    [notify] = [task for task in stack.api.tasks("cpu", run) if task["task_id"] == "notify"]
    assert (notify["state"], notify["try_number"]) == ("success", 2)
    assert stack.api.xcom("cpu", run, "notify")["ts"] in [post.ts for post in stack.slack.posts]


def test_clearing_the_task_does_not_post_its_answer_again(stack: Stack) -> None:
    _, name = stack.finish(stack.start(cycles=10, parts="part 1"))
    run = f"{name}.cpu-0.cycle-1"
    receipt = stack.api.xcom("cpu", run, "notify")
    assert stack.clear_task(run, "notify") == "success"
    assert stack.answers(name) == ["Part 1: 5"]
    assert stack.api.xcom("cpu", run, "notify") == receipt


def test_answer_that_slack_refuses_is_in_the_log_and_the_xcom_and_clearing_the_task_posts_it(
    stack: Stack,
) -> None:
    try:
        _, name = stack.finish(start(stack, lambda name: stack.slack.scopes.remove("chat:write")))
    finally:
        stack.slack.scopes.add("chat:write")
    run = f"{name}.cpu-0.cycle-1"
    [notify] = [task for task in stack.api.tasks("cpu", run) if task["task_id"] == "notify"]
    assert (notify["state"], notify["try_number"]) == ("failed", 1)
    log = "\n".join(stack.api.log("cpu", run, "notify", 1))
    assert "Part 1: 5" in log
    assert "missing_scope): give the app the scope chat:write" in log
    assert stack.api.xcom("cpu", run, "read")["acc"] == "5"
    assert stack.clear_task(run, "notify") == "success"
    assert stack.answers(name) == ["Part 1: 5"]
