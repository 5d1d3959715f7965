"""Airflow's configuration: ``airflow.cfg``, and the files with passwords and environment variables."""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Mapping
from io import StringIO
from urllib.parse import quote

from scripts.local.passwords import Passwords
from scripts.local.services.airflow import (
    ADMIN,
    DEFAULT_EXECUTOR,
    caller_file,
    uses_pod_executor,
    wall_file,
)
from scripts.local.services.redis import url_for_pods
from scripts.local.settings import Settings, write_private

CALLER_PREFIXES = ("AIRFLOW_CONN_", "AIRFLOW_VAR_")
CALLER_NAMES = ("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "CPU_SHOOT", "CPU_TTL", "CPU_WATCH", "POD_EXECUTOR")
"""With CALLER_PREFIXES, the caller's environment variables that Airflow's processes get."""


def configure(settings: Settings, passwords: Passwords) -> None:
    """Write Airflow's configuration, its user's password and the environment of its processes."""
    settings.airflow_home.mkdir(mode=0o700, exist_ok=True)
    save_caller_variables(settings, os.environ)
    redis = {"AIRFLOW_CONN_REDIS_CPU": url_for_pods(settings, passwords)}
    write_private(wall_file(settings), json.dumps(redis) + "\n")
    write_private(settings.airflow_home / "passwords.json", json.dumps({ADMIN: passwords.admin}) + "\n")
    parser = configparser.RawConfigParser()
    # Airflow expands % in values; a path may contain one.
    for section, options in configuration(settings, passwords).items():
        parser[section] = {name: str(value).replace("%", "%%") for name, value in options.items()}
    text = StringIO()
    parser.write(text)
    write_private(settings.airflow_home / "airflow.cfg", text.getvalue())


def save_caller_variables(settings: Settings, caller: Mapping[str, str]) -> None:
    """Save the caller's connections, variables and CPU_… settings for Airflow's processes."""
    wanted = {
        name: value
        for name, value in caller.items()
        if name.startswith(CALLER_PREFIXES) or name in CALLER_NAMES
    }
    write_private(caller_file(settings), json.dumps(wanted, indent=2) + "\n")


def configuration(settings: Settings, passwords: Passwords) -> dict[str, dict[str, object]]:
    """Return the content of ``airflow.cfg`` by section: what differs from Airflow's defaults, and why."""
    database = f"@/postgres?host={quote(str(settings.postgres_socket_folder))}"
    # Without PodExecutor each pod in flight holds a worker, and each cycle needs short tasks besides. The
    # pods of more than 16 CPUs take turns.
    workers = 8 if uses_pod_executor(settings) else min(settings.cpus_at_once, 16) + 4
    return {
        "core": {
            "executor": f"{DEFAULT_EXECUTOR},airflow_pods.executor.PodExecutor",
            "parallelism": workers + (settings.cpus_at_once if uses_pod_executor(settings) else 0),
            # CPUS_AT_ONCE limits the DAGs; Airflow's own limits (default 16) must not be lower.
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
            # The default has port 8080 whatever the API's port is; with another port no task could run.
            "execution_api_server_url": f"{settings.api_url}/execution/",
            # The default asks the name service, which may be slow or unreachable on a laptop.
            "hostname_callable": "socket.gethostname",
            # LocalExecutor's workers share their parent's imports only when they are forked, which is no
            # longer the default in Python 3.14.
            "mp_start_method": "fork",
        },
        "database": {
            "sql_alchemy_conn": f"postgresql+psycopg2://postgres{database}",
            "sql_alchemy_conn_async": f"postgresql+asyncpg://postgres{database}",
            # `up` has migrated already: another check costs every process a second.
            "check_migrations": False,
            # The API server answers 40 requests at once, some of which need a second connection while they
            # hold one: with the default of 15 they wait for one another for half a minute, and then fail.
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
            # The demo reads the states of hundreds of runs in one request (default 100).
            "maximum_page_limit": 1000,
        },
        "api_auth": {"jwt_secret": passwords.jwt},
        "scheduler": {
            # The longest time between the end of a task with a worker and the next task (default 1 s). After
            # a task of PodExecutor there is none. Each of the scheduler's idle loops takes 13 ms of CPU time.
            "scheduler_idle_sleep_time": 0.25 if uses_pod_executor(settings) else 0.1,
            # 0 means as many as there are workers (default 16).
            "max_tis_per_query": 0,
            # A scheduler that is started again after a crash adopts the tasks of the one before once that
            # has been silent for 8 s; it looks every 3 s (defaults: 30 s and 5 minutes). It sends its own
            # heartbeat right before it looks, so that it does not take itself for dead, however slow the
            # machine is. No second scheduler is here that could take its tasks because it is slow.
            "scheduler_heartbeat_sec": 2,
            "scheduler_health_check_threshold": 8,
            "orphaned_tasks_check_interval": 3,
            "task_instance_heartbeat_timeout": 60,
        },
        "local_stack": {"workers": workers},
        "triggerer": {"capacity": 1000},
        # A small busy machine may take longer to answer a task than the default of 5 seconds.
        "workers": {"execution_api_timeout": 30},
        "dag_processor": {
            "parsing_processes": 1,
            # DAG files change rarely; parsing takes CPU time from tasks.
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
