"""A configuration of Airflow's logging with a remote storage of logs: a folder, which a connection names."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG
from airflow.configuration import conf
from airflow.sdk import BaseHook


class FileLogs:
    """Keeps logs in the folder that Airflow's connection ``logs`` names, as stores in a cloud keep them."""

    processors = ()

    @property
    def folder(self) -> Path:
        return Path(BaseHook.get_connection("logs").host or "")

    def upload(self, path: str, ti: Any = None) -> None:
        """Append a log to what earlier processes have uploaded of it, and delete it here."""
        here = Path(conf.get("logging", "base_log_folder")) / path
        there = self.folder / path
        there.parent.mkdir(parents=True, exist_ok=True)
        with there.open("a") as file:
            file.write(here.read_text())
        here.unlink()

    def read(self, relative_path: str, ti: Any) -> tuple[list[str], list[str]]:
        return [relative_path], [(self.folder / relative_path).read_text()]


LOGGING_CONFIG = copy.deepcopy(DEFAULT_LOGGING_CONFIG)
REMOTE_TASK_LOG = FileLogs()
