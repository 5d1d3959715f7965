"""What is old goes, by itself or when told to, and a CPU at work does not notice."""

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
from tests.support.stack import PATIENCE_SECONDS, Stack, reference

AGE = "10 days"
AGE_SECONDS = 10 * 86_400
LOOP = "acc +1\n" * 5 + "jmp -5\n"
LONG = "acc +1\n" * 60 + "jmp -60\n"

# As if all that these runs have done had happened so long ago.
AGED = """
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
NEVER_BEGUN = "UPDATE dag_run SET state = 'failed', start_date = NULL WHERE run_id = :'run'"
# A run that the scheduler was about to begin is in progress too, but has no age yet by which it could go.
BEGUN = """
UPDATE dag_run SET state = 'running', start_date = now()
  WHERE state = 'queued' AND dag_id = 'cpu' AND starts_with(run_id, :'start');
"""
KEPT = """
SELECT 'dag_run', count(*) FROM dag_run WHERE starts_with(run_id, :'start')
UNION ALL SELECT 'task_instance', count(*) FROM task_instance WHERE starts_with(run_id, :'start')
UNION ALL SELECT 'xcom', count(*) FROM xcom WHERE starts_with(run_id, :'start')
UNION ALL SELECT 'rendered', count(*) FROM rendered_task_instance_fields WHERE starts_with(run_id, :'start')
UNION ALL SELECT 'log', count(*) FROM log WHERE starts_with(run_id, :'start')
UNION ALL SELECT 'left', count(*) FROM pg_tables WHERE starts_with(tablename, '_airflow_deleted__')
"""


def kept(stack: Stack, start: str) -> dict[str, int]:
    """How many rows there are of a start run, by table."""
    return {name: int(number) for name, number in postgres.query(stack.settings, KEPT, start=start)}


def logs(stack: Stack, start: str) -> list[Path]:
    """The folders of its cycles' logs."""
    return list((stack.settings.airflow_home / "logs" / "dag_id=cpu").glob(f"run_id={start}.*"))


def age(stack: Stack, start: str) -> None:
    """Have all cycles of a start run happened long ago, as far as Airflow keeps them."""
    postgres.query(stack.settings, AGED, start=f"{start}.cpu-", age=AGE)
    for folder in logs(stack, start):
        for path in (*folder.rglob("*"), folder):
            then = path.stat().st_mtime - AGE_SECONDS
            os.utime(path, (then, then))


def clean_up(stack: Stack) -> str:
    """``python -m scripts.local clean-up`` as it is called; what it says."""
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


def at_work(stack: Stack) -> tuple[str, str]:
    """A run of ``cpu_start`` with one CPU at work, and its start run."""
    run = stack.start(program=LONG, parts="part 1")
    assert wait_until(lambda: stack.api.run("cpu_start", run)["state"] == "success", PATIENCE_SECONDS)
    start = stack.start_id(run)
    assert wait_until(lambda: stack.count(start, "success") > 3, PATIENCE_SECONDS)
    return run, start


def test_what_is_old_goes_while_a_cpu_is_at_work(stack: Stack) -> None:
    _, old = stack.finish(stack.start(program=LOOP, parts="part 1"))
    _, young = stack.finish(stack.start(program=LOOP, parts="part 1"))
    run, start = at_work(stack)
    cycles, before = stack.count(old, "success"), kept(stack, f"{young}.cpu-")
    age(stack, old)
    postgres.query(stack.settings, NEVER_BEGUN, run=f"{old}.cpu-0.cycle-1")
    assert min(kept(stack, f"{old}.cpu-").values()) > 0

    assert f"{cycles} DAG runs, " in (said := clean_up(stack))
    assert f"the logs of {cycles} DAG runs" in said
    assert set(kept(stack, f"{old}.cpu-").values()) == {0}
    assert logs(stack, old) == []
    after = kept(stack, f"{young}.cpu-")
    # Airflow itself lets go of rendered fields but those of a task's last 30 runs.
    assert after == {**before, "left": 0, "rendered": after["rendered"]}
    assert len(logs(stack, young)) == cycles

    assert stack.finish(run) == ("success", start)
    assert stack.registers(start, 0) == reference(programs.parse(LONG), 0)
    assert stack.answers(start) == ["Part 1: 60"]
    assert {one["state"] for one in stack.runs(start)} == {"success"}
    assert "removed what is older than" in clean_up(stack)


@contextmanager
def at_rest(stack: Stack, start: str) -> Iterator[str]:
    """No task of a CPU at work is begun, as in a stack that is down; its last run in progress."""
    stack.api.request("PATCH", "/dags/cpu", json={"is_paused": True})
    try:

        def is_quiet() -> bool:
            under_way = stack.api.tasks(
                "cpu", state=["queued", "running"], run_id_prefix_pattern=f"{start}.cpu-"
            )
            return under_way == []

        assert wait_until(is_quiet, PATIENCE_SECONDS)
        postgres.query(stack.settings, BEGUN, start=f"{start}.cpu-")
        # So is that of the cycle before, as long as Airflow has not looked at its end.
        running = [one["dag_run_id"] for one in stack.runs(start) if one["state"] == "running"]
        yield max(running, key=lambda run: int(run.rpartition("-")[2]))
    finally:
        stack.api.request("PATCH", "/dags/cpu", json={"is_paused": False})


def test_what_was_in_progress_before_a_long_rest_comes_to_its_end(stack: Stack) -> None:
    run, start = at_work(stack)
    with at_rest(stack, start) as in_progress:
        cycles, before = stack.count(start, "success"), kept(stack, in_progress)
        age(stack, start)
        assert f"{cycles} DAG runs, " in clean_up(stack)
        assert stack.count(start, "success") == 0
        assert kept(stack, in_progress) == {**before, "left": 0}
    assert stack.finish(run) == ("success", start)
    assert stack.registers(start, 0) == reference(programs.parse(LONG), 0)
    assert stack.answers(start) == ["Part 1: 60"]


def test_all_that_is_in_redis_expires(stack: Stack) -> None:
    stack.finish(stack.start(program=LOOP))
    client: Any = stack.redis
    keys = list(client.scan_iter())
    assert keys
    assert all(client.ttl(key) > 0 for key in keys)
