"""The clean-up of a stack removes what is old and disturbs no running CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cpu import program as programs
from scripts.local.services import postgres
from scripts.local.settings import REPOSITORY
from scripts.waiting import wait_until
from tests.support.programs import a_loop
from tests.support.stack import PATIENCE_SECONDS, Stack, reference

AGE = "10 days"
AGE_SECONDS = 10 * 86_400
LOOP = a_loop(5)
LONG = a_loop(60)

MAKE_OLDER = """
UPDATE dag_run SET created_at = created_at - age, run_after = run_after - age, queued_at = queued_at - age,
  start_date = start_date - age, end_date = end_date - age
  FROM (SELECT :'age'::interval AS age) AS a WHERE starts_with(run_id, :'start');
UPDATE task_instance SET start_date = start_date - age, end_date = end_date - age
  FROM (SELECT :'age'::interval AS age) AS a WHERE starts_with(run_id, :'start');
UPDATE xcom SET timestamp = timestamp - age
  FROM (SELECT :'age'::interval AS age) AS a WHERE starts_with(run_id, :'start');
UPDATE log SET dttm = dttm - age
  FROM (SELECT :'age'::interval AS age) AS a WHERE starts_with(run_id, :'start');
CREATE TABLE _airflow_deleted__xcom__20261122000000__b1 AS SELECT * FROM xcom LIMIT 1;
"""
"""Moves all times of these runs into the past, and leaves a table as a killed ``airflow db clean`` does."""
FAIL_BEFORE_START = "UPDATE dag_run SET state = 'failed', start_date = NULL WHERE run_id = :'run'"
START_QUEUED = """
UPDATE dag_run SET state = 'running', start_date = now()
  WHERE state = 'queued' AND dag_id = 'cpu' AND starts_with(run_id, :'start');
"""
"""A queued run is in progress too, but has no start yet by which it could be removed."""
COUNT_ROWS = """
SELECT 'dag_run', count(*) FROM dag_run WHERE starts_with(run_id, :'start')
UNION ALL SELECT 'task_instance', count(*) FROM task_instance WHERE starts_with(run_id, :'start')
UNION ALL SELECT 'xcom', count(*) FROM xcom WHERE starts_with(run_id, :'start')
UNION ALL SELECT 'rendered', count(*) FROM rendered_task_instance_fields WHERE starts_with(run_id, :'start')
UNION ALL SELECT 'log', count(*) FROM log WHERE starts_with(run_id, :'start')
UNION ALL SELECT 'left', count(*) FROM pg_tables WHERE starts_with(tablename, '_airflow_deleted__')
"""


def count_rows(stack: Stack, start: str) -> dict[str, int]:
    """Return the number of rows of the runs whose ids begin with ``start``, by table."""
    return {name: int(number) for name, number in postgres.query(stack.settings, COUNT_ROWS, start=start)}


def logs(stack: Stack, start: str) -> list[Path]:
    """Return the folders of the logs of a start run's cycles."""
    return list((stack.settings.airflow_home / "logs" / "dag_id=cpu").glob(f"run_id={start}.*"))


def make_older(stack: Stack, start: str) -> None:
    """Move all cycles of a start run into the past, in Airflow's database and logs."""
    postgres.query(stack.settings, MAKE_OLDER, start=f"{start}.cpu-", age=AGE)
    for folder in logs(stack, start):
        for path in (*folder.rglob("*"), folder):
            moment = path.stat().st_mtime - AGE_SECONDS
            os.utime(path, (moment, moment))


def clean_up(stack: Stack) -> str:
    """Run ``python -m scripts.local clean-up`` and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.local", "clean-up"],
        cwd=REPOSITORY,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def start_long_program(stack: Stack) -> tuple[str, str]:
    """Start a CPU, wait for a few cycles, and return its run of ``cpu_start`` and its start run."""
    run = stack.start(program=LONG, parts="part 1")
    start = stack.wait_until_started(run)
    assert wait_until(lambda: stack.count(start, "success") > 3, PATIENCE_SECONDS)
    return run, start


def test_old_runs_are_removed_while_a_cpu_runs_undisturbed(stack: Stack) -> None:
    _, old = stack.finish(stack.start(program=LOOP, parts="part 1"))
    _, young = stack.finish(stack.start(program=LOOP, parts="part 1"))
    run, start = start_long_program(stack)
    cycles, before = stack.count(old, "success"), count_rows(stack, f"{young}.cpu-")
    make_older(stack, old)
    postgres.query(stack.settings, FAIL_BEFORE_START, run=f"{old}.cpu-0.cycle-1")
    assert min(count_rows(stack, f"{old}.cpu-").values()) > 0

    assert f"{cycles} DAG runs, " in (output := clean_up(stack))
    assert f"the logs of {cycles} DAG runs" in output
    assert set(count_rows(stack, f"{old}.cpu-").values()) == {0}
    assert logs(stack, old) == []
    after = count_rows(stack, f"{young}.cpu-")
    # Airflow itself deletes rendered fields except those of a task's last 30 runs.
    assert after == {**before, "left": 0, "rendered": after["rendered"]}
    assert len(logs(stack, young)) == cycles

    assert stack.finish(run) == ("success", start)
    assert stack.registers(start, 0) == reference(programs.parse(LONG), 0)
    assert stack.answers(start) == ["Part 1: 60"]
    assert {one["state"] for one in stack.runs(start)} == {"success"}
    assert "removed what is older than" in clean_up(stack)


@contextmanager
def interrupted(stack: Stack, start: str) -> Iterator[str]:
    """Start no task of a running CPU during the block, as if the stack were down; yield its last DAG run."""
    with stack.paused():

        def is_idle() -> bool:
            states = ["queued", "running"]
            return stack.api.tasks("cpu", state=states, run_id_prefix_pattern=f"{start}.cpu-") == []

        assert wait_until(is_idle, PATIENCE_SECONDS)
        postgres.query(stack.settings, START_QUEUED, start=f"{start}.cpu-")

        def running() -> list[str]:
            return [one["dag_run_id"] for one in stack.runs(start) if one["state"] == "running"]

        def have_tasks_left() -> bool:
            return all(None in [one["state"] for one in stack.api.tasks("cpu", run)] for run in running())

        # The run before the last may be left with a task too. A run without any is over, as Airflow notices
        # once a minute while the DAG is paused.
        assert wait_until(have_tasks_left, PATIENCE_SECONDS)
        yield max(running(), key=lambda run: int(run.rpartition("-")[2]))


def test_a_run_in_progress_survives_the_clean_up_after_a_long_interruption(stack: Stack) -> None:
    run, start = start_long_program(stack)
    with interrupted(stack, start) as in_progress:
        cycles, before = stack.count(start, "success"), count_rows(stack, in_progress)
        make_older(stack, start)
        assert f"{cycles} DAG runs, " in clean_up(stack)
        assert stack.count(start, "success") == 0
        assert count_rows(stack, in_progress) == {**before, "left": 0}
    assert stack.finish(run) == ("success", start)
    assert stack.registers(start, 0) == reference(programs.parse(LONG), 0)
    assert stack.answers(start) == ["Part 1: 60"]


def test_every_key_in_redis_expires(stack: Stack) -> None:
    stack.finish(stack.start(program=LOOP))
    client: Any = stack.redis
    keys = list(client.scan_iter())
    assert keys
    assert all(client.ttl(key) > 0 for key in keys)
