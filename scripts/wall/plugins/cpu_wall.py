"""Read by Airflow from its plugins folder: puts the wall into the API server, and into the UI's menu."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from scripts.wall.app import app

PREFIX = "/cpu-wall"
# Relative to Airflow's own address, which may have a path.
HREF = "cpu-wall/"


class CpuWall(AirflowPlugin):
    """The page and its API."""

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
