"""What the clean-up chooses to remove, as far as it needs no Airflow."""

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
from scripts.local.clean_up import cutoff_time, remove_logs
from scripts.local.errors import StackError
from scripts.local.services import airflow_config, postgres
from scripts.local.settings import REPOSITORY, Settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def cutoff(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, *, keep_days: int, in_progress: str = ""
) -> datetime:
    """Return the cutoff if the oldest run in progress was created at the time ``in_progress``."""
    monkeypatch.setattr(postgres, "query", lambda *_: [[in_progress]])
    return cutoff_time(replace(settings, keep_days=keep_days), NOW)


def test_what_is_older_than_keep_days_is_removed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cutoff(settings, monkeypatch, keep_days=30) == NOW - timedelta(days=30)
    with_recent_run = cutoff(settings, monkeypatch, keep_days=30, in_progress="2026-11-22 11:59:59.25+00")
    assert with_recent_run == NOW - timedelta(days=30)


def test_nothing_younger_than_the_oldest_run_in_progress_is_removed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = cutoff(settings, monkeypatch, keep_days=10, in_progress="2026-10-01 08:00:00.5+00")
    assert found == datetime(2026, 10, 1, 8, 0, 0, 500_000, tzinfo=UTC)


def test_runs_are_kept_longer_than_redis_keeps_their_cpus(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cutoff(settings, monkeypatch, keep_days=1) == NOW - timedelta(days=8)
    settings.airflow_home.mkdir(parents=True)
    airflow_config.save_caller_variables(settings, {"CPU_TTL": "3600"})
    assert cutoff(settings, monkeypatch, keep_days=1) == NOW - timedelta(days=1, hours=1)
    assert cutoff(settings, monkeypatch, keep_days=2) == NOW - timedelta(days=2)


def log(folder: Path, name: str, age: float) -> Path:
    """Create a log that was last changed ``age`` seconds before NOW, as were the folders it is in."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("line\n")
    moment = NOW.timestamp() - age
    for one in (path, *list(path.parents)[: len(path.relative_to(folder).parts) - 1]):
        os.utime(one, (moment, moment))
    return path


def test_logs_of_runs_that_were_not_written_to_since_the_cutoff_are_removed(tmp_path: Path) -> None:
    old = log(tmp_path, "dag_id=cpu/run_id=a.cpu-0.cycle-1/task_id=execute/attempt=1.log", age=100)
    new = log(tmp_path, "dag_id=cpu/run_id=a.cpu-0.cycle-2/task_id=execute/attempt=1.log", age=50)
    day = log(tmp_path, "dag_processor/2026-11-10/dags/cpu.py.log", age=100)
    today = log(tmp_path, "dag_processor/2026-11-22/dags/cpu.py.log", age=50)
    assert remove_logs(tmp_path, NOW - timedelta(seconds=75)) == 1
    assert [path.exists() for path in (old, new, day, today)] == [False, True, False, True]
    assert not old.parents[1].exists()
    assert old.parents[2].exists()


def test_a_recently_written_log_keeps_all_logs_of_its_run(tmp_path: Path) -> None:
    first = log(tmp_path, "dag_id=cpu/run_id=a.cpu-0.cycle-1/task_id=notify/attempt=1.log", age=50)
    other = log(tmp_path, "dag_id=cpu/run_id=a.cpu-0.cycle-1/task_id=execute/attempt=1.log", age=100)
    assert remove_logs(tmp_path, NOW - timedelta(seconds=75)) == 0
    assert first.exists()
    assert other.exists()


def test_without_logs_no_logs_are_removed(tmp_path: Path) -> None:
    assert remove_logs(tmp_path / "logs", NOW) == 0


def test_cleaning_up_a_stack_that_is_not_up_is_refused(settings: Settings) -> None:
    with pytest.raises(StackError, match="is not up: run up first"):
        clean_up.clean_up(settings)


def test_housekeeping_cleans_up_after_five_minutes_and_then_hourly(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_housekeeping_imports_no_large_library() -> None:
    code = "import sys; import scripts.local.housekeeping; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert not {"airflow", "kubernetes", "psutil", "sqlalchemy"} & set(done.stdout.split())
