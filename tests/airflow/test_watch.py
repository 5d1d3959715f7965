"""A CPU whose run was given up is gone on with."""

from __future__ import annotations

from contextlib import suppress

import pytest

from cpu import program as programs
from scripts.local.api import AirflowError
from scripts.local.waiting import wait_until
from tests.airflow.stack import PATIENCE_SECONDS, Stack, reference

LONG = "acc +1\n" * 400 + "jmp -400\n"


def runs_in_progress(stack: Stack, start: str) -> list[str]:
    return [run["dag_run_id"] for run in stack.runs(start) if run["state"] in ("queued", "running")]


def give_up(stack: Stack, start: str) -> str:
    """Mark the CPU's run in progress as failed until none is left that goes on with it; the last one's id."""
    latest = ""

    def is_given_up() -> bool:
        nonlocal latest
        for run in runs_in_progress(stack, start):
            latest = run
            # It may have ended by itself in between, and have triggered the next one.
            with suppress(AirflowError):
                stack.api.request("PATCH", f"/dags/cpu/dagRuns/{run}", json={"state": "failed"})
        return bool(latest) and not runs_in_progress(stack, start)

    assert wait_until(is_given_up, PATIENCE_SECONDS)
    return latest


@pytest.mark.parametrize("deleted", [False, True], ids=["marked as failed", "deleted"])
def test_a_cpu_whose_run_was_given_up_is_gone_on_with(stack: Stack, deleted: bool) -> None:
    run = stack.start(program=LONG, parts="part 1")
    assert wait_until(lambda: stack.api.run("cpu_start", run)["state"] == "success", PATIENCE_SECONDS)
    start = stack.start_id(run)
    assert wait_until(lambda: stack.is_loaded(start, 0), PATIENCE_SECONDS)
    given_up = give_up(stack, start)
    if deleted:  # which Airflow refuses while it runs
        stack.api.request("DELETE", f"/dags/cpu/dagRuns/{given_up}")
    assert stack.registers(start, 0).status == "ok"

    look = stack.api.trigger("cpu_watch", {"start": start, "cycles": 1000})["dag_run_id"]
    over = ("success", "failed")
    assert wait_until(lambda: stack.api.run("cpu_watch", look)["state"] in over, PATIENCE_SECONDS)
    resumed = stack.api.xcom("cpu_watch", look, "resume")
    assert len(resumed) == 1
    assert wait_until(lambda: bool(stack.told(start)), PATIENCE_SECONDS)
    assert stack.finish(run) == ("success", start)
    assert stack.told(start) == ["Part 1: 400"]
    assert stack.registers(start, 0) == reference(programs.parse(LONG), 0)


def test_a_start_run_that_is_over_is_not_looked_at_again(stack: Stack) -> None:
    run = stack.start(program="jmp +0\n", parts="part 1")
    _, start = stack.finish(run)
    look = stack.api.trigger("cpu_watch", {"start": start})["dag_run_id"]
    over = ("success", "failed")
    assert wait_until(lambda: stack.api.run("cpu_watch", look)["state"] in over, PATIENCE_SECONDS)
    assert stack.api.xcom("cpu_watch", look, "resume") == []
    assert stack.api.xcom("cpu_watch", look, "look_again") == ""
