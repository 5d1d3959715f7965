"""The log of a task that PodExecutor runs goes to remote storage, if Airflow has one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import log as sdk_log

from airflow_pods.executor import PodExecutor, _Job

TASK_LOG = "dag_id=cpu/run_id=one/task_id=execute/attempt=1.log"


class Storage:
    """Stands in for a remote storage of logs: keeps what is uploaded, or refuses it."""

    processors = ()

    def __init__(self, folder: Path, refuses: bool) -> None:
        self.uploaded: list[tuple[str, Any]] = []
        self._folder = folder
        self._refuses = refuses

    def upload(self, path: str, ti: Any = None) -> None:
        if self._refuses:
            raise ConnectionError("the storage is away")
        self.uploaded.append(((self._folder / path).read_text(), ti))

    def read(self, relative_path: str, ti: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A remote storage, configured as Airflow's documentation describes: a module with REMOTE_TASK_LOG."""
    found = Storage(tmp_path, getattr(request, "param", False))
    module: Any = ModuleType("logging_of_this_test")
    module.LOGGING_CONFIG, module.REMOTE_TASK_LOG = {"version": 1}, found
    monkeypatch.setitem(sys.modules, "logging_of_this_test", module)
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS", "logging_of_this_test.LOGGING_CONFIG")
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    monkeypatch.setattr(sdk_log._ActiveLoggingConfig, "logging_config_loaded", False)
    monkeypatch.setattr(sdk_log._ActiveLoggingConfig, "remote_task_log", None)
    return found


def job() -> _Job:
    ti: Any = SimpleNamespace(executor_config={})
    workload: Any = SimpleNamespace(ti=ti, log_path=TASK_LOG, key="the task")
    return _Job(workload)


async def test_the_log_of_a_task_is_uploaded_with_the_task(storage: Storage) -> None:
    ended = job()
    ended.write_log("info", "CPU 8, cycle 3")
    await PodExecutor()._upload_log(ended)
    [(text, ti)] = storage.uploaded
    assert json.loads(text)["event"] == "CPU 8, cycle 3"
    assert ti is ended.ti


@pytest.mark.parametrize("storage", [True], indirect=True)
async def test_a_storage_that_refuses_a_log_changes_nothing_for_the_task(storage: Storage) -> None:
    ended = job()
    ended.write_log("info", "CPU 8, cycle 3")
    await PodExecutor()._upload_log(ended)
    assert storage.uploaded == []
