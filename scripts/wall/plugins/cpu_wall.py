"""A plugin for Airflow's API server, found in its plugins folder: the wall, and its entries in the UI."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from scripts.wall.app import app

PREFIX = "/cpu-wall"
HREF = "cpu-wall/"
"""Relative to Airflow's own address, which may have a path."""


class CpuWall(AirflowPlugin):
    """The page and its API: in the menu, and as a tab of each DAG run."""

    name = "cpu_wall"
    fastapi_apps: list[Any] = [{"app": app, "url_prefix": PREFIX, "name": "CPU wall"}]  # noqa: RUF012
    external_views: list[Any] = [  # noqa: RUF012
        {"name": "CPU wall", "href": HREF, "destination": "nav", "url_route": "cpu-wall"},
        {
            "name": "CPU wall",
            "href": f"{HREF}?run={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "cpu-wall-of-run",
        },
    ]
