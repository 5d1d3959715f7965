"""Read by every Airflow process at its start; does something in the scheduler alone."""

from __future__ import annotations

import importlib
import os
import time
import urllib.error
import urllib.request

# Airflow takes over what a local settings module defines: nothing.
__all__: list[str] = []

# LocalExecutor forks its workers from the scheduler, and a worker forks each task: what the scheduler has
# imported, no task has to. The Kubernetes provider alone takes a task longer than its work does.
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
PATIENCE_SECONDS = 300


def import_what_tasks_need() -> None:
    """Import it once, here."""
    for module in NEEDED_BY_TASKS:
        importlib.import_module(module)


def wait_for_the_api(url: str) -> None:
    """Wait until tasks can be served: a scheduler whose tasks find the API away does not survive it.

    The first request makes the API server build that API, which takes seconds: no task waits for it.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/execution/health", timeout=60):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"Airflow's API at {url} did not come up within {PATIENCE_SECONDS} seconds")


if os.environ.get("CLUSTER_CPU_COMPONENT") == "scheduler":
    import_what_tasks_need()
    wait_for_the_api(os.environ["CLUSTER_CPU_API"])
