"""Read by Airflow from its plugins folder: has the scheduler tell the listener of every DAG run that ends."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from scripts.notes import listener


class CpuNotes(AirflowPlugin):
    """The runs' notes."""

    name = "cpu_notes"
    listeners: list[Any] = [listener]  # noqa: RUF012
