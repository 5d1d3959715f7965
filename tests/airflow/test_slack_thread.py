"""The thread of a start run in Slack, as Airflow's tasks and callbacks post it."""

from __future__ import annotations

from urllib.parse import quote

from scripts.waiting import wait_until
from tests.support.stack import PATIENCE_SECONDS, Stack


def test_answers_and_the_picture_are_in_the_thread_that_the_start_begins(stack: Stack) -> None:
    with stack.paused():
        run = stack.start(cycles=10)
        name = stack.wait_until_started(run)
        assert wait_until(lambda: bool(stack.posts(name)), PATIENCE_SECONDS)
    _, start = stack.finish(run)
    root, *answers = stack.posts(start)
    assert root.shown.splitlines()[:4] == [
        "Started: 9 instructions on 5 CPUs",
        "10 cycles per pod",
        f"Start run {start}",
        "nop +0",
    ]
    assert f"{stack.settings.api_url}/dags/cpu_start/runs/{quote(run, safe='')}" in root.shown
    assert sorted(post.mark or () for post in answers) == [(start, "part1"), (start, "part2")]
    assert [(post.thread, post.is_in_channel) for post in answers] == [(root.ts, True)] * 2
    [picture] = [file for file in stack.slack.files.shared if file.thread == root.ts]
    assert (picture.content or b"").startswith(b"\x89PNG")


def test_refused_program_is_posted_once_with_the_parser_s_error(stack: Stack) -> None:
    run = stack.start(program="nop +0\nhop +1\n")
    assert stack.finish(run)[0] == "failed"
    [post] = [post for post in list(stack.slack.posts) if quote(run, safe="") in post.shown]
    headline, cause, *_ = post.shown.splitlines()
    assert headline == "Failed: task store of DAG cpu_start"
    assert "line 2: 'hop +1': expected one of acc, jmp, nop" in cause
    assert post.thread is None
