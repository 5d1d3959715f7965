"""A run of cpu_start ends with the answers of its start run, for everybody who waits for it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cpu.keys import Keys
from scripts.local import supervisor
from scripts.local.services.component import environment
from scripts.local.settings import REPOSITORY
from scripts.local.stack import Stack as LocalStack
from scripts.waiting import wait_until
from tests.support import waiting_dags
from tests.support.programs import a_loop
from tests.support.slack.server import SlackServer
from tests.support.solver import EXAMPLE
from tests.support.stack import PATIENCE_SECONDS, Stack, cluster_options, running_stack

LONG = a_loop(400)
STORY = "9 instructions, 5 CPUs · Part 1: 5 · Part 2: 8, line 8: jmp -4 → nop -4"
SWAP = {"line": 8, "before": "jmp -4", "after": "nop -4"}
OVER = ("success", "failed")


@pytest.fixture(scope="module")
def stack(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, slack: SlackServer
) -> Iterator[Stack]:
    """A stack that has DAGs which wait for answers, beside this project's."""
    folder = tmp_path_factory.mktemp("answers")
    shutil.copytree(REPOSITORY / "dags", folder / "dags")
    shutil.copy(waiting_dags.__file__, folder / "dags")
    options = [*cluster_options(pytestconfig), f"--dags={folder / 'dags'}"]
    with running_stack(folder / "state", slack, options) as running:
        yield running


def task_state(stack: Stack, run: str, task: str) -> str | None:
    found = {one["task_id"]: one["state"] for one in stack.api.tasks("cpu_start", run)}
    return found.get(task)


def is_waiting(stack: Stack, run: str) -> bool:
    return task_state(stack, run, "answers") == "deferred"


def ended(stack: Stack, run: str) -> str:
    """Wait until a run of cpu_start has ended, and return its state."""
    assert wait_until(lambda: stack.api.run("cpu_start", run)["state"] in OVER, PATIENCE_SECONDS)
    return str(stack.api.run("cpu_start", run)["state"])


def extras(stack: Stack, start: str) -> list[dict[str, Any]]:
    """Return the extra of each event of the asset about a start run, by part."""
    found = stack.api.request("GET", "/assets/events", params={"limit": 1000, "order_by": "timestamp"})
    ours = [one["extra"] for one in found["asset_events"] if one["extra"].get("start") == start]
    return sorted(ours, key=lambda extra: int(extra["part"]))


def test_run_ends_with_both_answers_as_its_xcom_its_note_and_asset_events(stack: Stack) -> None:
    run = stack.start(cycles=3)
    assert ended(stack, run) == "success"
    start = stack.start_id(run)
    found = stack.api.xcom("cpu_start", run, "answers")
    assert found["part1"] == {
        "status": "loop", "cpu": 0, "cycle": 7, "line": 5, "pc": "1", "acc": "5", "swap": None,
    }  # fmt: skip
    assert (found["part2"]["cpu"], found["part2"]["acc"], found["part2"]["swap"]) == (8, "8", SWAP)
    assert (found["status"], found["sentence"]) == ("answered", STORY)
    assert wait_until(lambda: stack.api.run("cpu_start", run)["note"] is not None, 60)
    assert stack.api.run("cpu_start", run)["note"] == f"`{STORY}`"
    assert extras(stack, start) == [
        {"start": start, "part": 1, "status": "loop", "acc": "5", "swap": None},
        {"start": start, "part": 2, "status": "end", "acc": "8", "swap": SWAP},
    ]


def test_whoever_waits_by_rest_gets_the_answers_with_the_end_of_the_run(stack: Stack) -> None:
    run = stack.start(cycles=10)
    stack.api.log_in()
    wait = f"/api/v2/dags/cpu_start/dagRuns/{run}/wait"
    with stack.api._http.stream("GET", wait, params={"interval": 1}, timeout=PATIENCE_SECONDS) as response:
        lines = [json.loads(line) for line in response.iter_lines()]
    assert {line["state"] for line in lines[:-1]} <= {"queued", "running"}
    assert lines[-1]["state"] == "success"
    assert lines[-1]["results"]["answers"]["sentence"] == STORY


def test_dag_that_triggers_cpu_start_can_wait_for_it_and_answers_schedule_dags(stack: Stack) -> None:
    run = stack.api.trigger("waits_for_cpu_start", {"program": EXAMPLE})["dag_run_id"]
    assert wait_until(lambda: stack.api.run("waits_for_cpu_start", run)["state"] in OVER, PATIENCE_SECONDS)
    assert stack.api.run("waits_for_cpu_start", run)["state"] == "success"
    for task in ("in_a_worker", "deferred"):
        triggered = stack.api.xcom("waits_for_cpu_start", run, task, "trigger_run_id")
        start = stack.api.xcom("cpu_start", triggered, "answers")["start"]

        def taken(start: str = start) -> set[int]:
            runs = stack.api.runs("scheduled_by_answers", state="success")
            found = [stack.api.xcom("scheduled_by_answers", one["dag_run_id"], "take") for one in runs]
            return {extra["part"] for extras in found for extra in extras if extra["start"] == start}

        assert wait_until(lambda taken=taken: taken() == {1, 2}, PATIENCE_SECONDS)  # type: ignore[misc]


def test_dag_that_waits_fails_if_the_program_is_refused(stack: Stack) -> None:
    run = stack.api.trigger("waits_for_cpu_start", {"program": "hop +1\n"})["dag_run_id"]
    assert wait_until(lambda: stack.api.run("waits_for_cpu_start", run)["state"] in OVER, PATIENCE_SECONDS)
    states = {one["task_id"]: one["state"] for one in stack.api.tasks("waits_for_cpu_start", run)}
    assert states == {"in_a_worker": "failed", "deferred": "upstream_failed"}


def test_program_without_candidates_and_part_1_is_answered_without_any_cpu(stack: Stack) -> None:
    run = stack.start(program="acc +7\n", parts="part 2")
    assert ended(stack, run) == "success"
    found = stack.api.xcom("cpu_start", run, "answers")
    assert (found["part2"], found["cpus"]) == (None, 0)
    assert found["sentence"] == "1 instruction, 0 CPUs · Part 2: no swap ends this program"


def test_run_waits_without_a_worker_through_restarts_of_everything(stack: Stack) -> None:
    with stack.paused():
        run = stack.start(cycles=10)
        assert wait_until(lambda: is_waiting(stack, run), PATIENCE_SECONDS)
        for name in ("triggerer", "scheduler", "api-server", "dag-processor", "postgres", "redis"):
            psutil.Process(supervisor.states(stack.settings)[name].pid).send_signal(signal.SIGKILL)
        stack.down()
        stack.up()
        assert is_waiting(stack, run)
        assert stack.api.run("cpu_start", run)["state"] == "running"
    assert ended(stack, run) == "success"
    assert stack.api.xcom("cpu_start", run, "answers")["sentence"] == STORY


def test_run_of_a_cancelled_start_run_fails_and_says_so(stack: Stack) -> None:
    run = stack.start(program=LONG)
    assert wait_until(lambda: is_waiting(stack, run), PATIENCE_SECONDS)
    start = stack.start_id(run)
    stack.api.trigger("cpu_cancel", {"start": start})
    assert ended(stack, run) == "failed"
    reason = (
        f"start run {start} was cancelled: 401 instructions, 2 CPUs · Part 1: no answer · Part 2: no answer"
    )
    assert stack.api.xcom("cpu_start", run, "answers", "reason") == reason
    assert wait_until(lambda: stack.api.run("cpu_start", run)["note"] is not None, 60)
    assert stack.api.run("cpu_start", run)["note"] == f"`answers: {reason}`"
    assert extras(stack, start) == []


@pytest.mark.parametrize("loss", ["registers", "everything"])
def test_run_of_a_start_run_that_redis_has_lost_fails_and_says_so(stack: Stack, loss: str) -> None:
    with stack.paused():
        run = stack.start(program=LONG, parts="part 1")
        assert wait_until(lambda: is_waiting(stack, run), PATIENCE_SECONDS)
        start = stack.start_id(run)
        if loss == "registers":
            stack.redis.hset(Keys(start, 0).registers, "pc", "1")
        else:
            stack.redis.delete(*Keys(start).of_start)
        stack.api.trigger("cpu_watch", {"start": start})
        assert ended(stack, run) == "failed"
    reason = stack.api.xcom("cpu_start", run, "answers", "reason")
    expected = "Redis has lost registers of CPU 0" if loss == "registers" else "is not stored, or has expired"
    assert expected in reason


def test_dags_test_shows_the_answers_in_the_terminal(stack: Stack, tmp_path: Path) -> None:
    """A scheduler runs the CPUs. It would run the tasks of cpu_start too, were that not paused."""
    command = [sys.executable, "-m", "airflow", "dags", "test", "cpu_start", "--conf", '{"cycles": 10}']
    local = LocalStack.in_folder(stack.settings.state)
    with stack.paused("cpu_start"):
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environment(local.component("scheduler"), stack.settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
    (tmp_path / "dags-test.log").write_text(done.stdout)
    assert done.returncode == 0, done.stdout
    assert STORY in done.stdout
