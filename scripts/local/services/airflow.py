"""Airflow, the clock: its four processes, the programs it runs once, and their environment."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

from scripts.local.services.component import Component, read_variables
from scripts.local.settings import REPOSITORY, SECRET, Settings

DEFAULT_EXECUTOR = "scripts.local.executor.SteadyLocalExecutor"
ADMIN = "admin"
"""The name of Airflow's only user."""
PRELOAD = Path(__file__).parents[1] / "preload"
"""The folder of ``airflow_local_settings``, which Airflow imports if it is on the path."""
WALL = REPOSITORY / "scripts" / "wall" / "plugins"
NOTES = REPOSITORY / "scripts" / "notes" / "plugins"


def components(settings: Settings) -> list[Component]:
    """Return Airflow's processes in starting order."""
    # Only the API server reads Redis' URL, for the CPU wall; no task may read it.
    for_wall = [wall_file(settings)]
    # The DAG processor chooses each task's executor. The scheduler has PodExecutor in any case: without it,
    # tasks that were meant for it before would never run.
    choice = {} if uses_pod_executor(settings) else {"AIRFLOW__CORE__EXECUTOR": DEFAULT_EXECUTOR}
    # On a cluster of others, the wall kills no pods unless the caller of `up` allows it.
    shooting = {} if settings.kubeconfig else {"CPU_SHOOT": "true"}
    return [
        command(
            settings,
            "api-server",
            address=settings.api_url,
            plugins=WALL,
            more=shooting,
            environment_files=for_wall,
        ),
        command(settings, "dag-processor", more=choice),
        # Running tasks get stop_seconds to finish. The UI reads logs from the disk: no server for them.
        command(settings, "scheduler", options=["--skip-serve-logs"], stop_seconds=10, plugins=NOTES),
        command(settings, "triggerer", options=["--skip-serve-logs"]),
    ]


def migration(settings: Settings) -> Component:
    """The one-shot that creates or upgrades Airflow's tables."""
    return command(settings, "migrate", subcommand=["db", "migrate"])


def discovery(settings: Settings) -> Component:
    """The one-shot that lists the DAGs in the folder."""
    return Component(
        "discovery",
        [sys.executable, "-m", "scripts.local.dag_files", str(settings.dags), str(found_file(settings))],
        folder=settings.airflow_home,
        environment=environment(settings),
        environment_files=[caller_file(settings)],
    )


def command(
    settings: Settings,
    name: str,
    *,
    subcommand: Sequence[str] = (),
    options: Sequence[str] = (),
    address: str = "",
    stop_seconds: int = 5,
    plugins: Path | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
    environment_files: Sequence[Path] = (),
) -> Component:
    """Return a component that runs one of Airflow's commands, by default the command of its own name."""
    own_plugins = {"AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins)} if plugins else {}
    return Component(
        name,
        [sys.executable, "-m", "airflow", *(subcommand or [name]), *options],
        folder=settings.airflow_home,
        address=address,
        environment={**environment(settings), **own_plugins, **more},
        environment_files=[caller_file(settings), *environment_files],
        stop_seconds=stop_seconds,
    )


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment variables that Airflow's processes and the DAGs read."""
    kubernetes = {
        "conn_type": "kubernetes",
        "extra": {
            "in_cluster": False,
            "kube_config_path": str(settings.cluster_config),
            **({"cluster_context": settings.context} if settings.context else {}),
        },
    }
    return {
        "AIRFLOW_HOME": str(settings.airflow_home),
        "CLUSTER_CPU_API": settings.api_url,
        "PYTHONPATH": ":".join(
            str(REPOSITORY / folder) for folder in ("", "cpu_image", "dags/pods", PRELOAD)
        ),
        "CPU_NAMESPACE": settings.namespace,
        "CPU_IMAGE": settings.image,
        "CPU_SECRET": SECRET,
        "CPUS_AT_ONCE": str(settings.cpus_at_once),
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(kubernetes),
    }


def caller_file(settings: Settings) -> Path:
    """Return the file of the environment variables that the caller of ``up`` set for Airflow."""
    return settings.airflow_home / "environment.json"


def wall_file(settings: Settings) -> Path:
    """Return the file of the environment variable with Redis' URL, for the CPU wall."""
    return settings.airflow_home / "wall.json"


def found_file(settings: Settings) -> Path:
    """Return the file in which ``discovery`` leaves its list of DAGs."""
    return settings.airflow_home / "dags.json"


def caller_variables(settings: Settings) -> dict[str, str]:
    """Return the environment variables that the caller of ``up`` set for Airflow."""
    return read_variables(caller_file(settings))


def uses_pod_executor(settings: Settings) -> bool:
    """Return whether new tasks are for PodExecutor; otherwise it only runs those from before the switch."""
    return caller_variables(settings).get("POD_EXECUTOR", "").lower() != "false"


def is_migrated(settings: Settings) -> bool:
    """Return whether the tables are known to be those of this Airflow version."""
    marker = _migrated_file(settings)
    return marker.exists() and marker.read_text() == version("apache-airflow-core")


def record_migration(settings: Settings) -> None:
    """Record that the tables are those of this Airflow version."""
    _migrated_file(settings).write_text(version("apache-airflow-core"))


def _migrated_file(settings: Settings) -> Path:
    return settings.airflow_home / "migrated"
