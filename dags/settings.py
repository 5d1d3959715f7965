"""What the DAGs are told from outside: environment variables of Airflow's processes.

================  ==========  =======================================================================
variable          default     meaning
================  ==========  =======================================================================
CPU_NAMESPACE     cpu-jobs    the Kubernetes namespace the pods run in
CPU_IMAGE         cpu:dev     the image made from ``cpu_image/``
CPU_SECRET        cpu-redis   the Secret in that namespace whose key ``url`` is the address of Redis
CPU_TTL           604800      seconds until what Redis holds of a start run and its CPUs expires, unused
CPUS_AT_ONCE      16          how many CPUs run at once, 4 to 400: the DAG runs of ``cpu`` in progress
CPU_DEFERRED      (measured)  true: pods are waited for in the triggerer, so that pods in flight need
                              no workers; false: in a worker, which answers sooner. Not set: in a
                              worker while CPUS_AT_ONCE is at most 16.
CPU_WATCH         300         seconds between two looks for CPUs that nobody goes on with, 10 to 86400
================  ==========  =======================================================================

Pods are made through the Airflow connection ``kubernetes_default``.
"""

from __future__ import annotations

import os
from typing import Any


def cpus_at_once(value: str) -> int:
    """Read CPUS_AT_ONCE; raise ValueError naming it when it is no whole number from 4 to 400."""
    if not (value.isascii() and value.isdigit() and 4 <= int(value) <= 400):
        raise ValueError(f"CPUS_AT_ONCE is {value!r}: set it to a whole number from 4 to 400")
    return int(value)


def deferred(value: str, at_once: int) -> bool:
    """Read CPU_DEFERRED; raise ValueError naming it when it is neither true, false nor empty."""
    if value.lower() not in ("true", "false", ""):
        raise ValueError(f"CPU_DEFERRED is {value!r}: set it to true or false, or leave it out")
    return value.lower() == "true" if value else at_once > 16


def watch_seconds(value: str) -> int:
    """Read CPU_WATCH; raise ValueError naming it when it is no whole number from 10 to 86400."""
    if not (value.isascii() and value.isdigit() and 10 <= int(value) <= 86_400):
        raise ValueError(f"CPU_WATCH is {value!r}: set it to a whole number from 10 to 86400")
    return int(value)


def ttl(value: str) -> int:
    """Read CPU_TTL; raise ValueError naming it when it is no whole number of seconds from 1 to 10**9."""
    if not (value.isascii() and value.isdigit() and len(value) <= 18 and 1 <= int(value) <= 10**9):
        raise ValueError(f"CPU_TTL is {value!r}: set it to a whole number of seconds from 1 to 1000000000")
    return int(value)


TTL_SECONDS = ttl(os.environ.get("CPU_TTL", "") or "604800")
# What all pods of all DAGs have in common.
POD: dict[str, Any] = {
    "namespace": os.environ.get("CPU_NAMESPACE", "cpu-jobs"),
    "image": os.environ.get("CPU_IMAGE", "cpu:dev"),
    "env_vars": {"RESULT_FILE": "/dev/termination-log", "CPU_TTL": str(TTL_SECONDS)},
    "secret_env_vars": {"REDIS_URL": (os.environ.get("CPU_SECRET", "cpu-redis"), "url")},
}
# Every task may be tried again, soon at first: it is made to find what an earlier try did.
RETRIES: dict[str, Any] = {
    "retries": 5,
    "retry_delay": 3,
    "retry_exponential_backoff": True,
    "max_retry_delay": 60,
}
# Enough for all tries of a task that goes on for as long as Redis keeps a start run.
TRIES_FOR_A_TTL = TTL_SECONDS // RETRIES["max_retry_delay"] + RETRIES["retries"]
# What all DAGs have in common: people and other runs trigger them, nothing does by the clock.
TRIGGERED: dict[str, Any] = {
    "schedule": None,
    "catchup": False,
    "tags": ["cluster-cpu"],
    "default_args": RETRIES,
}
CPUS_AT_ONCE = cpus_at_once(os.environ.get("CPUS_AT_ONCE", "16"))
WATCH_SECONDS = watch_seconds(os.environ.get("CPU_WATCH", "300"))
DEFERRED = deferred(os.environ.get("CPU_DEFERRED", ""), CPUS_AT_ONCE)
