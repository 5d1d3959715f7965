"""What a clean-up chooses, where it needs no Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scripts.local import clean_up, housekeeping
from scripts.local.clean_up import oldest_to_keep, remove_logs
from scripts.local.errors import StackError
from scripts.local.services import airflow, postgres
from scripts.local.settings import REPOSITORY, Settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def kept_from(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, *, keep_days: int, in_progress: str = ""
) -> datetime:
    """The oldest moment to keep, where the oldest run in progress began then."""
    monkeypatch.setattr(postgres, "ask", lambda *_: [[in_progress]])
    return oldest_to_keep(replace(settings, keep_days=keep_days), NOW)


def test_what_is_older_than_the_days_to_keep_goes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept_from(settings, monkeypatch, keep_days=30) == NOW - timedelta(days=30)
    lately = kept_from(settings, monkeypatch, keep_days=30, in_progress="2026-11-22 11:59:59.25+00")
    assert lately == NOW - timedelta(days=30)


def test_nothing_goes_that_is_younger_than_the_oldest_run_in_progress(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept_from(settings, monkeypatch, keep_days=10, in_progress="2026-10-01 08:00:00.5+00")
    assert found == datetime(2026, 10, 1, 8, 0, 0, 500_000, tzinfo=UTC)


def test_runs_are_kept_longer_than_redis_keeps_their_cpus(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept_from(settings, monkeypatch, keep_days=1) == NOW - timedelta(days=8)
    settings.airflow_home.mkdir(parents=True)
    airflow.remember_caller(settings, {"CPU_TTL": "3600"})
    assert kept_from(settings, monkeypatch, keep_days=1) == NOW - timedelta(days=1, hours=1)
    assert kept_from(settings, monkeypatch, keep_days=2) == NOW - timedelta(days=2)


def log(folder: Path, name: str, age: float) -> Path:
    """A log that was last written so many seconds ago, as were the folders it is in."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("said\n")
    moment = NOW.timestamp() - age
    for one in (path, *list(path.parents)[: len(path.relative_to(folder).parts) - 1]):
        os.utime(one, (moment, moment))
    return path


def test_the_logs_of_runs_go_that_nobody_has_written_to_since(tmp_path: Path) -> None:
    old = log(tmp_path, "dag_id=cpu/run_id=a.cpu-0.cycle-1/task_id=execute/attempt=1.log", age=100)
    new = log(tmp_path, "dag_id=cpu/run_id=a.cpu-0.cycle-2/task_id=execute/attempt=1.log", age=50)
    day = log(tmp_path, "dag_processor/2026-11-10/dags/cpu.py.log", age=100)
    today = log(tmp_path, "dag_processor/2026-11-22/dags/cpu.py.log", age=50)
    assert remove_logs(tmp_path, NOW.timestamp() - 75) == 1
    assert [path.exists() for path in (old, new, day, today)] == [False, True, False, True]
    assert not old.parents[1].exists()
    assert old.parents[2].exists()


def test_a_log_that_is_written_to_lately_keeps_its_run_whole(tmp_path: Path) -> None:
    first = log(tmp_path, "dag_id=cpu/run_id=a.cpu-0.cycle-1/task_id=notify/attempt=1.log", age=50)
    other = log(tmp_path, "dag_id=cpu/run_id=a.cpu-0.cycle-1/task_id=execute/attempt=1.log", age=100)
    assert remove_logs(tmp_path, NOW.timestamp() - 75) == 0
    assert first.exists()
    assert other.exists()


def test_where_nothing_has_been_logged_nothing_goes(tmp_path: Path) -> None:
    assert remove_logs(tmp_path / "logs", NOW.timestamp()) == 0


def test_a_stack_that_is_not_up_is_not_cleaned_up(settings: Settings) -> None:
    with pytest.raises(StackError, match="is not up: run up first"):
        clean_up.clean_up(settings)


def test_housekeeping_waits_for_a_while_then_cleans_up_every_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def sleep(seconds: float) -> None:
        done.append(f"{seconds:.0f} s")
        if len(done) == 6:
            raise InterruptedError

    monkeypatch.setattr(os, "nice", lambda by: done.append(f"nice {by}"))
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: done.append(" ".join(command[2:])))
    with pytest.raises(InterruptedError):
        housekeeping.main("/a/stack")
    clean = "scripts.local clean-up --state /a/stack"
    assert done == ["nice 19", "300 s", clean, "3600 s", clean, "3600 s"]


def test_housekeeping_imports_next_to_nothing() -> None:
    asked = "import sys; import scripts.local.housekeeping; print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", asked], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert not {"airflow", "kubernetes", "psutil", "sqlalchemy"} & set(shown.stdout.split())
