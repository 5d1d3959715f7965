"""The log of a task that PodExecutor runs: written and uploaded as a worker does it."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from airflow.executors.workloads.task import TaskInstanceDTO

LOG = logging.getLogger(__name__)


def load() -> None:
    """Import Airflow's storage of logs, if it has one, which the first line would wait for otherwise."""
    from airflow.sdk.log import logging_processors

    logging_processors(json_output=True)


class TaskLog:
    """The log of one try of a task; ``path`` is relative to Airflow's folder of logs.

    A task goes on without its log: each error is reported in the scheduler's.
    """

    def __init__(self, path: str, ti: TaskInstanceDTO) -> None:
        self._path = path
        self._ti = ti

    def info(self, message: str) -> None:
        """Add a line."""
        self._write("info", message)

    def error(self, message: str) -> None:
        """Add a line that says what is wrong."""
        self._write("error", message)

    async def upload(self) -> None:
        """Upload the log if Airflow keeps logs in a remote storage."""
        from airflow.sdk.log import load_remote_log_handler

        try:
            if storage := load_remote_log_handler():
                await asyncio.to_thread(storage.upload, self._path, cast("Any", self._ti))
        except Exception:
            LOG.exception("PodExecutor could not upload the log of %s", self._path)

    def _write(self, level: str, message: str) -> None:
        """Add a line by Airflow's own processors, with which some storages send each line at once."""
        from airflow.sdk.log import init_log_file, logging_processors
        from structlog import DropEvent

        line: Any = {"event": message, "logger": "airflow_pods.executor"}
        try:
            with init_log_file(self._path).open("ab") as file:
                logger = SimpleNamespace(_file=file)  # by which a storage finds the name of the log
                for processor in logging_processors(json_output=True):
                    line = processor(logger, level, line)
                file.write(line + b"\n")
        except DropEvent:
            pass
        except Exception as error:  # a full disk, for example
            LOG.warning("PodExecutor could not write to the log %s: %s", self._path, error)
