"""Imported by every Airflow process at its start; acts in the scheduler only."""

from __future__ import annotations

import importlib
import os
import time
import urllib.error
import urllib.request

__all__: list[str] = []
"""Airflow adopts the names that a local settings module defines: none."""

NEEDED_BY_TASKS = (
    "aiohttp",
    "airflow.dag_processing.bundles.local",
    "airflow.providers.cncf.kubernetes.hooks.kubernetes",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.operators.empty",
    "airflow.sdk.definitions.decorators",
    "airflow.sdk.definitions.retry_policy",
    "airflow.sdk.execution_time.task_runner",
    "jinja2.ext",
    "kubernetes_asyncio.watch",
    "tenacity",
)
"""Modules that the scheduler imports so that no task has to.

LocalExecutor forks its workers from the scheduler, and a worker forks each task. Importing the Kubernetes
provider alone would take a task longer than its work.
"""
TIMEOUT_SECONDS = 300


def import_what_tasks_need() -> None:
    """Import the modules of NEEDED_BY_TASKS."""
    for module in NEEDED_BY_TASKS:
        importlib.import_module(module)


def wait_for_api(url: str) -> None:
    """Wait until the API that serves tasks answers: a scheduler does not survive tasks that can't reach it.

    The first request makes the API server build that API, which takes seconds; so no task waits for that.
    Raises SystemExit after TIMEOUT_SECONDS.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/execution/health", timeout=60):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"Airflow's API at {url} did not come up within {TIMEOUT_SECONDS} seconds")


if os.environ.get("CLUSTER_CPU_COMPONENT") == "scheduler":
    import_what_tasks_need()
    wait_for_api(os.environ["CLUSTER_CPU_API"])
