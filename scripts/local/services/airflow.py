"""Airflow, the clock: its configuration, its four processes, what its DAGs are told."""

from __future__ import annotations

import configparser
import json
import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from urllib.parse import quote

from scripts.local.passwords import Passwords
from scripts.local.services.component import Component
from scripts.local.services.redis import url_for_pods
from scripts.local.settings import REPOSITORY, SECRET, Settings, write_private

ADMIN = "admin"
# Imported by Airflow by this name when its folder is on the path.
PRELOAD = Path(__file__).parents[1] / "preload"
WALL = REPOSITORY / "scripts" / "wall" / "plugins"
NOTES = REPOSITORY / "scripts" / "notes" / "plugins"


def components(settings: Settings) -> list[Component]:
    """Airflow's processes, in the order they start in."""
    return [
        airflow(settings, "api-server", address=settings.api_url, stop_seconds=5, more=wall(settings)),
        airflow(settings, "dag-processor"),
        # Tasks under way get this long to finish. The UI reads logs from the disk: no server for them.
        airflow(settings, "scheduler", "--skip-serve-logs", stop_seconds=10, more=plugins(NOTES)),
        airflow(settings, "triggerer", "--skip-serve-logs"),
    ]


def migration(settings: Settings) -> Component:
    """Makes or upgrades Airflow's tables; run to its end."""
    return airflow(settings, "migrate", command=("db", "migrate"))


def discovery(settings: Settings) -> Component:
    """Finds out which DAGs are in the folder; run to its end."""
    return Component(
        "discovery",
        [sys.executable, "-m", "scripts.local.dag_files", str(settings.dags), str(found_file(settings))],
        folder=settings.airflow_home,
        environment=environment(settings),
    )


def found_file(settings: Settings) -> Path:
    """Where ``discovery`` leaves what it has found."""
    return settings.airflow_home / "dags.json"


def airflow(
    settings: Settings,
    name: str,
    *options: str,
    command: tuple[str, ...] = (),
    address: str = "",
    stop_seconds: int = 5,
    more: Mapping[str, str] | None = None,
) -> Component:
    """One of Airflow's commands as a component; what it reads ``more`` than the others."""
    return Component(
        name,
        [sys.executable, "-m", "airflow", *(command or (name,)), *options],
        folder=settings.airflow_home,
        address=address,
        environment={**environment(settings), **(more or {})},
        stop_seconds=stop_seconds,
    )


def environment(settings: Settings) -> dict[str, str]:
    """What Airflow's processes and its DAGs read."""
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
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'cpu_image'}:{PRELOAD}",
        "CPU_NAMESPACE": settings.namespace,
        "CPU_IMAGE": settings.image,
        "CPU_SECRET": SECRET,
        "CPUS_AT_ONCE": str(settings.cpus_at_once),
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(kubernetes),
        **callers(settings),
    }


def wall(settings: Settings) -> dict[str, str]:
    """What only the API server reads, for no task is to import it: the CPU wall, and its way to Redis."""
    return plugins(WALL) | read(wall_file(settings))


def plugins(folder: Path) -> dict[str, str]:
    """Where a component looks for what it is to have beside Airflow's own."""
    return {"AIRFLOW__CORE__PLUGINS_FOLDER": str(folder)}


def wall_file(settings: Settings) -> Path:
    """Where the wall's way to Redis is kept (it holds a password)."""
    return settings.airflow_home / "wall.json"


def callers_file(settings: Settings) -> Path:
    """Where what the caller gives Airflow by environment is kept (connections hold secrets)."""
    return settings.airflow_home / "environment.json"


def callers(settings: Settings) -> dict[str, str]:
    """What the caller gave Airflow by environment when the stack was brought up."""
    return read(callers_file(settings))


def read(file: Path) -> dict[str, str]:
    """Environment variables from a file, if it is there."""
    try:
        return dict(json.loads(file.read_text()))
    except FileNotFoundError:
        return {}


def remember_caller(settings: Settings, caller: Mapping[str, str]) -> None:
    """Keep for Airflow's processes the caller's connections and variables, and what the DAGs read."""
    wanted = {
        name: value
        for name, value in caller.items()
        if name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_"))
        or name in ("CPU_DEFERRED", "CPU_TTL", "CPU_WATCH")
    }
    write_private(callers_file(settings), json.dumps(wanted, indent=2) + "\n")


def configure(settings: Settings, passwords: Passwords) -> None:
    """Write Airflow's configuration and its user's password."""
    settings.airflow_home.mkdir(mode=0o700, exist_ok=True)
    remember_caller(settings, os.environ)
    way_to_redis = {"AIRFLOW_CONN_REDIS_CPU": url_for_pods(settings, passwords)}
    write_private(wall_file(settings), json.dumps(way_to_redis) + "\n")
    write_private(settings.airflow_home / "passwords.json", json.dumps({ADMIN: passwords.admin}) + "\n")
    parser = configparser.RawConfigParser()
    # Airflow's own reader expands %: a path may hold one.
    for section, options in configuration(settings, passwords).items():
        parser[section] = {name: str(value).replace("%", "%%") for name, value in options.items()}
    text = StringIO()
    parser.write(text)
    write_private(settings.airflow_home / "airflow.cfg", text.getvalue())


def configuration(settings: Settings, passwords: Passwords) -> dict[str, dict[str, object]]:
    """``airflow.cfg``: what differs from Airflow's defaults, by section, and why."""
    database = f"@/postgres?host={quote(str(settings.postgres_socket_folder))}"
    # Waited for in a worker, every pod holds one, and each cycle needs short tasks beside; waited for in
    # the triggerer, 400 CPUs share the same few workers.
    in_workers = callers(settings).get("CPU_DEFERRED", "").lower() == "false"
    workers = (settings.cpus_at_once if in_workers else min(settings.cpus_at_once, 16)) + 4
    return {
        "core": {
            "executor": "scripts.local.executor.SteadyLocalExecutor",
            "parallelism": workers,
            # The DAGs bound themselves by CPUS_AT_ONCE; Airflow's own bounds (16) must not undercut it.
            "max_active_runs_per_dag": 400,
            "max_active_tasks_per_dag": 400,
            "default_pool_task_slot_count": 1000,
            "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "simple_auth_manager_users": f"{ADMIN}:admin",
            "simple_auth_manager_passwords_file": settings.airflow_home / "passwords.json",
            "dags_folder": settings.dags,
            "dags_are_paused_at_creation": False,
            "load_examples": False,
            "plugins_folder": settings.airflow_home / "plugins",
            "fernet_key": passwords.fernet,
            # Left out, it would be port 8080 whatever the port is, and no task could run.
            "execution_api_server_url": f"{settings.api_url}/execution/",
            # The default asks the name service, which may be slow or away on a laptop.
            "hostname_callable": "socket.gethostname",
            # LocalExecutor's workers share what their parent has imported only when they are forked,
            # which Python 3.14 no longer does by itself.
            "mp_start_method": "fork",
        },
        "database": {
            "sql_alchemy_conn": f"postgresql+psycopg2://postgres{database}",
            "sql_alchemy_conn_async": f"postgresql+asyncpg://postgres{database}",
            # `up` has migrated already: asking again costs every process a second.
            "check_migrations": False,
            # The API server answers 40 requests at once, some of which want a second connection while they
            # hold one: with the default of 15 they wait for one another, half a minute, and then fail.
            "sql_alchemy_pool_size": 10,
            "sql_alchemy_max_overflow": 60,
        },
        "api": {
            "host": "127.0.0.1",
            "port": settings.port,
            "base_url": settings.ui_url,
            "workers": 1,
            "secret_key": passwords.session,
            "expose_config": False,
            # The demo reads the state of hundreds of runs at a time (default 100).
            "maximum_page_limit": 1000,
        },
        "api_auth": {"jwt_secret": passwords.jwt},
        "scheduler": {
            # A cycle is a chain of short tasks: an idle second between two of them would be most of it.
            "scheduler_idle_sleep_time": 0.1,
            # As many as there are workers (default 16).
            "max_tis_per_query": 0,
            "max_dagruns_per_loop_to_schedule": 50,
            # After a crash, its tasks are taken up again within this time (default 5 minutes).
            "orphaned_tasks_check_interval": 30,
            "task_instance_heartbeat_timeout": 60,
        },
        "triggerer": {"capacity": 1000},
        # A busy small machine may take longer to answer a task than the default of 5 seconds.
        "workers": {"execution_api_timeout": 30},
        "dag_processor": {
            "parsing_processes": 1,
            # The DAG files change by hand, seldom; parsing takes a process that tasks could use.
            "min_file_process_interval": 60,
            "refresh_interval": 30,
        },
        "logging": {
            "base_log_folder": settings.airflow_home / "logs",
            "dag_processor_child_process_log_directory": settings.airflow_home / "logs" / "dag_processor",
            "colored_console_log": False,
        },
        "usage_data_collection": {"enabled": False},
    }


def is_migrated(settings: Settings) -> bool:
    """Whether the tables are known to be this Airflow version's."""
    marker = settings.airflow_home / "migrated"
    return marker.exists() and marker.read_text() == version("apache-airflow-core")


def remember_migration(settings: Settings) -> None:
    """Note that the tables are this Airflow version's."""
    (settings.airflow_home / "migrated").write_text(version("apache-airflow-core"))
