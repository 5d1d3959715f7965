"""People are told once, whatever Slack does meanwhile; the trying again is Airflow's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scripts.waiting import wait_until
from tests.support.slack.server import Fault
from tests.support.stack import PATIENCE_SECONDS, Stack


def start(stack: Stack, trouble: Callable[[], object]) -> str:
    """A run of cpu_start: when it has told that it has begun, the trouble begins, and then its CPUs do."""
    with stack.paused():
        run = stack.start(cycles=10, parts="part 1")
        assert wait_until(lambda: stack.api.run("cpu_start", run)["state"] == "success", PATIENCE_SECONDS)
        trouble()
    return run


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, accepts=True),
        Fault(cut=True, accepts=True),
        Fault(503),
        Fault(429, '{"ok": false, "error": "ratelimited"}', {"Retry-After": "2"}),
    ],
    ids=["500 though it is posted", "cut off though it is posted", "503", "429"],
)
def test_the_answer_is_told_once_when_the_first_try_fails(stack: Stack, fault: Fault) -> None:
    _, name = stack.finish(start(stack, lambda: stack.slack.faults.put(fault)))
    assert stack.answers(name) == ["Part 1: 5"]
    run = f"{name}.cpu-0.cycle-1"
    [notify] = [task for task in stack.api.tasks("cpu", run) if task["task_id"] == "notify"]
    assert (notify["state"], notify["try_number"]) == ("success", 2)
    assert stack.api.xcom("cpu", run, "notify")["ts"] in [post.ts for post in stack.slack.posts]


def test_clearing_the_task_that_has_told_tells_nothing_again(stack: Stack) -> None:
    _, name = stack.finish(stack.start(cycles=10, parts="part 1"))
    run = f"{name}.cpu-0.cycle-1"
    receipt = stack.api.xcom("cpu", run, "notify")
    assert stack.clear_task(run, "notify") == "success"
    assert stack.answers(name) == ["Part 1: 5"]
    assert stack.api.xcom("cpu", run, "notify") == receipt


def test_where_slack_refuses_the_answer_is_in_the_log_and_in_the_xcom_and_clearing_posts_it(
    stack: Stack,
) -> None:
    try:
        _, name = stack.finish(start(stack, lambda: stack.slack.scopes.remove("chat:write")))
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
