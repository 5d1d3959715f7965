"""A plugin for Airflow's scheduler, found in its plugins folder: registers the listener that writes notes."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from scripts.notes import listener


class CpuNotes(AirflowPlugin):
    """Notes of DAG runs."""

    name = "cpu_notes"
    listeners: list[Any] = [listener]  # noqa: RUF012
