"""The logs of tasks that PodExecutor runs, where Airflow keeps logs in a remote storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow import logging_config
from airflow.models.connection import Connection
from airflow.sdk import log as sdk_log
from airflow.utils.log.file_task_handler import FileTaskHandler
from airflow.utils.session import create_session

from tests.dags.pods.database import file_logs
from tests.dags.pods.database.airflow import row
from tests.dags.pods.database.world import World, succeeded


@pytest.fixture
def storage(database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that is the remote storage of this process's Airflow, a scheduler's."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_LOGGING", "True")
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS", f"{file_logs.__name__}.LOGGING_CONFIG")
    for config in (sdk_log._ActiveLoggingConfig, logging_config._ActiveLoggingConfig):
        monkeypatch.setattr(config, "logging_config_loaded", False)
        monkeypatch.setattr(config, "remote_task_log", None)
    sdk_log.logging_processors.cache_clear()
    connection = Connection(conn_id="logs", conn_type="file", host=str(tmp_path / "storage"))
    with create_session() as session:
        session.add(connection)
    yield tmp_path / "storage"
    with create_session() as session:
        session.delete(session.merge(connection))
    sdk_log.logging_processors.cache_clear()


def shown(run: str) -> list[str]:
    """Return the lines of a task's log as Airflow's UI shows them."""
    lines, _ = FileTaskHandler("").read(row(run), 1)
    return [line.event for line in lines]


def test_the_log_of_a_task_is_kept_and_shown_from_the_remote_storage(
    storage: Path, world: World, number: int
) -> None:
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods())
    world.report(pod, succeeded({"step": "left", "sentence": "CPU 8 jumps"}))
    world.until(lambda: list(storage.rglob("*.log")))
    first, second, _, last = shown(run)[-4:]
    assert (first, second, last) == (f"Pod {pod} in namespace pods", "CPU 8 jumps", "The next task is left")


def test_the_log_of_a_task_that_is_handed_over_is_kept(storage: Path, world: World, number: int) -> None:
    run, pod = world.run(number), f"pod-{number}"
    world.until(lambda: pod in world.pods())
    world.report(pod, succeeded({"step": None}))
    world.until(lambda: list(storage.rglob("*.log")))
    assert shown(run)[-1] == "A worker ends this task: its branch is for a worker to take"
