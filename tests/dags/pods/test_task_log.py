"""The log of a task that PodExecutor runs is written and uploaded as by a worker."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import log as sdk_log

from airflow_pods.task_log import TaskLog

TASK_LOG = "dag_id=cpu/run_id=one/task_id=execute/attempt=1.log"


class Storage:
    """Stands in for a remote storage of logs: takes lines one by one and whole logs, or refuses both."""

    def __init__(self, folder: Path, refuses: bool) -> None:
        self.lines: list[tuple[str, str]] = []
        self.uploaded: list[tuple[str, Any]] = []
        self._folder = folder
        self._refuses = refuses

    @property
    def processors(self) -> tuple[Any, ...]:
        return (self.take_line,)

    def take_line(self, logger: Any, method_name: str, line: dict[str, Any]) -> dict[str, Any]:
        if self._refuses:
            raise ConnectionError("the storage is away")
        self.lines.append((str(sdk_log.relative_path_from_logger(logger)), line["event"]))
        return line

    def upload(self, path: str, ti: Any = None) -> None:
        if self._refuses:
            raise ConnectionError("the storage is away")
        self.uploaded.append(((self._folder / path).read_text(), ti))

    def read(self, relative_path: str, ti: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Airflow's folder of logs, without a remote storage."""
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    monkeypatch.setattr(sdk_log._ActiveLoggingConfig, "logging_config_loaded", False)
    monkeypatch.setattr(sdk_log._ActiveLoggingConfig, "remote_task_log", None)
    sdk_log.logging_processors.cache_clear()
    yield tmp_path
    sdk_log.logging_processors.cache_clear()


@pytest.fixture
def storage(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A remote storage, configured as Airflow's documentation describes: a module with REMOTE_TASK_LOG."""
    found = Storage(folder, getattr(request, "param", False))
    module: Any = ModuleType("logging_of_this_test")
    module.LOGGING_CONFIG, module.REMOTE_TASK_LOG = {"version": 1}, found
    monkeypatch.setitem(sys.modules, "logging_of_this_test", module)
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS", "logging_of_this_test.LOGGING_CONFIG")
    return found


TI: Any = SimpleNamespace(task_id="execute")


@pytest.fixture
def log() -> TaskLog:
    return TaskLog(TASK_LOG, TI)


def lines(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of the log, without their times."""
    text = (folder / TASK_LOG).read_text()
    return [{**json.loads(line), "timestamp": ""} for line in text.splitlines()]


async def test_a_log_has_lines_as_a_worker_writes_them(folder: Path, log: TaskLog) -> None:
    log.info("CPU 8, cycle 3: → \ud800")
    log.error("the pod is gone")
    await log.upload()
    common = {"logger": "airflow_pods.executor", "timestamp": ""}
    assert lines(folder) == [
        {"level": "info", "event": "CPU 8, cycle 3: → ?", **common},
        {"level": "error", "event": "the pod is gone", **common},
    ]


def test_secrets_are_masked(folder: Path, log: TaskLog, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk._shared.secrets_masker import _secrets_masker

    masker = _secrets_masker()
    monkeypatch.setattr(masker, "patterns", set())
    monkeypatch.setattr(masker, "replacer", None)
    masker.add_mask("correct-horse")
    log.info("the password is correct-horse")
    assert lines(folder)[0]["event"] == "the password is ***"


def test_a_line_goes_to_a_storage_that_takes_lines_one_by_one(storage: Storage, log: TaskLog) -> None:
    log.info("CPU 8, cycle 3")
    assert storage.lines == [(TASK_LOG, "CPU 8, cycle 3")]


async def test_the_log_of_a_task_is_uploaded_with_the_task(storage: Storage, log: TaskLog) -> None:
    log.info("CPU 8, cycle 3")
    await log.upload()
    [(text, ti)] = storage.uploaded
    assert json.loads(text)["event"] == "CPU 8, cycle 3"
    assert ti is TI


@pytest.mark.parametrize("storage", [True], indirect=True)
async def test_a_storage_that_refuses_a_log_changes_nothing_for_the_task(
    storage: Storage, log: TaskLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.info("CPU 8, cycle 3")
    await log.upload()
    assert storage.uploaded == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
