"""Settings of the DAGs: environment variables of Airflow's processes.

================  ==========  =======================================================================
variable          default     meaning
================  ==========  =======================================================================
CPU_NAMESPACE     cpu-jobs    the Kubernetes namespace the pods run in
CPU_IMAGE         cpu:dev     the image made from ``cpu_image/``
CPU_SECRET        cpu-redis   the Secret in that namespace whose key ``url`` holds the URL of Redis
CPU_TTL           604800      seconds until Redis drops a start run and its CPUs if they are not used
CPUS_AT_ONCE      16          how many CPUs run at once, 4 to 400: the DAG runs of ``cpu`` in progress
CPU_WATCH         300         seconds between two surveys of the watchdog, 10 to 86400
================  ==========  =======================================================================

Pods are created through the Airflow connection ``kubernetes_default``.
"""

from __future__ import annotations

import os
from typing import Any


def cpus_at_once(value: str) -> int:
    """Parse CPUS_AT_ONCE. Raises ValueError unless it is a whole number from 4 to 400."""
    if not (value.isascii() and value.isdigit() and 4 <= int(value) <= 400):
        raise ValueError(f"CPUS_AT_ONCE is {value!r}: set it to a whole number from 4 to 400")
    return int(value)


def watch_seconds(value: str) -> int:
    """Parse CPU_WATCH. Raises ValueError unless it is a whole number from 10 to 86400."""
    if not (value.isascii() and value.isdigit() and 10 <= int(value) <= 86_400):
        raise ValueError(f"CPU_WATCH is {value!r}: set it to a whole number from 10 to 86400")
    return int(value)


def ttl(value: str) -> int:
    """Parse CPU_TTL. Raises ValueError unless it is a whole number from 1 to 10**9."""
    if not (value.isascii() and value.isdigit() and len(value) <= 18 and 1 <= int(value) <= 10**9):
        raise ValueError(f"CPU_TTL is {value!r}: set it to a whole number of seconds from 1 to 1000000000")
    return int(value)


TTL_SECONDS = ttl(os.environ.get("CPU_TTL", "") or "604800")
POD: dict[str, Any] = {
    "namespace": os.environ.get("CPU_NAMESPACE", "cpu-jobs"),
    "image": os.environ.get("CPU_IMAGE", "cpu:dev"),
    "env_vars": {"RESULT_FILE": "/dev/termination-log", "CPU_TTL": str(TTL_SECONDS)},
    "secret_env_vars": {"REDIS_URL": (os.environ.get("CPU_SECRET", "cpu-redis"), "url")},
    "random_name_suffix": False,
    "do_xcom_push": True,
}
"""Arguments of every PodOperator. All pods leave a result, and a pod's name says what it does, in any run."""
RETRY_ARGS: dict[str, Any] = {
    "retries": 5,
    "retry_delay": 3,
    "retry_exponential_backoff": True,
    "max_retry_delay": 60,
}
"""Arguments of every task. A retry is safe and begins soon: it finds what an earlier try did."""
RETRIES_FOR_A_TTL = TTL_SECONDS // RETRY_ARGS["max_retry_delay"] + RETRY_ARGS["retries"]
"""Retries of a task that keeps trying for as long as Redis keeps a start run."""
DAG_DEFAULTS: dict[str, Any] = {
    "schedule": None,
    "catchup": False,
    "tags": ["cluster-cpu"],
    "is_paused_upon_creation": False,
    "default_args": RETRY_ARGS,
}
"""Arguments of every DAG: people and other DAG runs trigger it, no schedule does.

None is paused at first: one start run needs several DAGs, and would wait for a paused one without a word.
"""
CPUS_AT_ONCE = cpus_at_once(os.environ.get("CPUS_AT_ONCE", "16"))
WATCH_SECONDS = watch_seconds(os.environ.get("CPU_WATCH", "300"))
