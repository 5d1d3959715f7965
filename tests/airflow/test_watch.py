"""The watchdog resumes CPUs whose DAG runs failed or vanished, and survives its own failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from kubernetes import client

from cpu import program as programs
from cpu.commands import Commands
from cpu.start_run import Settings
from scripts.airflow_api import JSON, AirflowError
from scripts.local.services import kubernetes
from scripts.local.settings import SECRET
from scripts.waiting import wait_until
from tests.support.programs import a_loop
from tests.support.stack import PATIENCE_SECONDS, Stack, reference

QUIET_CHECKS = 50
"""Checks in a row that must find no run in progress."""
LONG = a_loop(400)


def runs_in_progress(stack: Stack, start: str) -> list[str]:
    return [run["dag_run_id"] for run in stack.runs(start) if run["state"] in ("queued", "running")]


def abandon(stack: Stack, start: str, state: str) -> str:
    """Mark the CPU's runs as ended until none is in progress; return the id of the last one."""
    latest, checks = "", 0

    def is_abandoned() -> bool:
        nonlocal latest, checks
        checks += 1
        for run in runs_in_progress(stack, start):
            latest, checks = run, 0
            # It may have ended by itself in between, and have triggered the next one.
            with suppress(AirflowError):
                stack.api.request("PATCH", f"/dags/cpu/dagRuns/{run}", json={"state": state})
        # A task that was about to trigger the next run when its own was marked does it a moment later.
        return bool(latest) and checks >= QUIET_CHECKS

    assert wait_until(is_abandoned, PATIENCE_SECONDS)
    return latest


def resume_now(stack: Stack, start: str, **conf: int) -> list[str]:
    """Trigger cpu_watch by hand; return the ids of the runs that it triggered."""
    resumed: list[str] = stack.api.xcom("cpu_watch", trigger(stack, {"start": start, **conf}), "resume")
    return resumed


def trigger(stack: Stack, conf: JSON) -> str:
    """Trigger cpu_watch by hand and wait for its end; return the run's id."""
    run: str = stack.api.trigger("cpu_watch", conf)["dag_run_id"]
    over = ("success", "failed")
    assert wait_until(lambda: stack.api.run("cpu_watch", run)["state"] in over, PATIENCE_SECONDS)
    return run


@contextmanager
def no_secret(stack: Stack) -> Iterator[None]:
    """Delete the Secret with the URL of Redis for the time being, so that no pod starts."""
    api, namespace = kubernetes.core_api(stack.settings), stack.settings.namespace
    kept = api.read_namespaced_secret(SECRET, namespace)
    api.delete_namespaced_secret(SECRET, namespace)
    kept.metadata = client.V1ObjectMeta(name=SECRET)
    try:
        yield
    finally:
        api.create_namespaced_secret(namespace, kept)


@pytest.mark.parametrize("way", ["failed", "success", "deleted"])
def test_watchdog_resumes_a_cpu_whose_run_failed_or_was_marked_or_deleted(stack: Stack, way: str) -> None:
    run = stack.start(program=LONG, parts="part 1")
    start = stack.wait_until_started(run)
    assert wait_until(lambda: stack.is_loaded(start, 0), PATIENCE_SECONDS)
    for _ in range(5):
        abandoned = abandon(stack, start, "success" if way == "success" else "failed")
        if way == "deleted":  # which Airflow refuses while it runs
            stack.api.request("DELETE", f"/dags/cpu/dagRuns/{abandoned}")
        assert stack.registers(start, 0).status == "ok"
        if resumed := resume_now(stack, start, cycles=1000):
            break
    assert len(resumed) == 1
    assert wait_until(lambda: bool(stack.answers(start)), PATIENCE_SECONDS)
    assert stack.finish(run) == ("success", start)
    assert stack.answers(start) == ["Part 1: 400"]
    assert stack.registers(start, 0) == reference(programs.parse(LONG), 0)


def test_watchdog_resumes_a_cpu_after_redis_was_restored_from_a_backup(stack: Stack) -> None:
    run = stack.start(program=LONG, parts="part 1", cycles=100)
    _, start = stack.finish(run)
    for key in stack.redis.scan_iter(f"cpu:{{{start}*"):
        stack.redis.delete(key)
    # As a backup would have it.
    commands = Commands(stack.redis, start, ttl=3600)
    commands.store(programs.parse(LONG), Settings("1", cycles=100))
    commands.load(0, once=True)
    commands.execute(0, first=1, cycles=100)

    assert resume_now(stack, start) == [f"{start}.cpu-0.cycle-101.again-1"]
    assert stack.finish(run) == ("success", start)
    assert stack.registers(start, 0) == reference(programs.parse(LONG), 0)
    assert stack.answers(start) == ["Part 1: 400"]
    assert len(stack.runs(start)) == 6 + 4


def test_watchdog_has_an_answer_posted_whose_run_was_only_marked_as_a_success(stack: Stack) -> None:
    stack.api.request("PATCH", "/dags/cpu", json={"is_paused": True})
    run = stack.start(program="jmp +0\n", parts="part 1")
    start = stack.wait_until_started(run)
    commands = Commands(stack.redis, start, ttl=3600)
    commands.load(0, once=True)
    assert commands.execute(0, first=1)["verdict"] == "part1"
    stack.api.trigger("cpu", {"start": start, "cpu": 0, "cycle": 1}, run=f"{start}.cpu-0.cycle-1")
    stack.api.request("PATCH", f"/dags/cpu/dagRuns/{start}.cpu-0.cycle-1", json={"state": "success"})
    stack.api.request("PATCH", "/dags/cpu", json={"is_paused": False})

    assert resume_now(stack, start) == [f"{start}.cpu-0.cycle-1.again-1"]
    assert stack.finish(run) == ("success", start)
    assert stack.answers(start) == ["Part 1: 0"]


def test_watchdog_ends_with_the_start_run(stack: Stack) -> None:
    run = stack.start(program="jmp +0\n", parts="part 1")
    _, start = stack.finish(run)
    watch = trigger(stack, {"start": start})
    assert stack.api.xcom("cpu_watch", watch, "resume") == []
    assert stack.api.xcom("cpu_watch", watch, "look_again") == ""


def test_watchdog_that_fails_is_followed_by_another_run_and_posts_until_one_works(stack: Stack) -> None:
    with stack.paused():
        run = stack.start(program="jmp +0\n", parts="part 1")
        start = stack.wait_until_started(run)
        with no_secret(stack):
            failed = trigger(stack, {"start": start})
            marked = stack.api.trigger("cpu_watch", {"start": start})["dag_run_id"]
            path = f"/dags/cpu_watch/dagRuns/{marked}"
            assert wait_until(lambda: stack.api.run("cpu_watch", marked)["state"] == "running", 60)
            stack.api.request("PATCH", path, json={"state": "failed"})
            over = ("success", "failed")  # Airflow decides by the tasks that it has skipped
            assert wait_until(lambda: stack.api.run("cpu_watch", marked)["state"] in over, 60)
        assert stack.api.run("cpu_watch", failed)["state"] == "failed"
        assert "CreateContainerConfigError" in stack.api.run("cpu_watch", failed)["note"]
        assert stack.api.xcom("cpu_watch", marked, "look_again")
        # It has not begun yet: this run has triggered it, or cpu_start before.
        following = stack.api.xcom("cpu_watch", failed, "look_again")
        assert stack.api.run("cpu_watch", following)["conf"]["start"] == start
        outage = {"began": failed, "since": 1.0, "blind": 1.0, "told": ["survey"], "in_this_look": False}
        worked = trigger(stack, {"start": start, "outage": outage})
        assert stack.api.run("cpu_watch", worked)["state"] == "success"
    messages = [post.shown for post in stack.posts(start) if post.about.startswith(failed)]
    assert [text.splitlines()[0] for text in messages] == [
        "Failing: task survey of DAG cpu_watch",
        "Works again: DAG cpu_watch",
    ]
    assert "CreateContainerConfigError" in messages[0]
    assert stack.finish(run) == ("success", start)
