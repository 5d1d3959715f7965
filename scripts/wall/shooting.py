"""Kill a CPU's pod, for people who want to see that the cycle happens once all the same.

Nothing else is done: the task of the killed pod fails, and its retry creates the pod again.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from typing import TYPE_CHECKING

from fastapi import HTTPException

from scripts.wall.models import KilledPod

if TYPE_CHECKING:
    from airflow_pods.pod import Pod

SETTING = "CPU_SHOOT"
"""The environment variable of the API server that must be ``true``."""
CONNECTION = "kubernetes_default"
WAIT_SECONDS = 10
"""How long to wait for the CPU to have a pod: between two cycles it has none."""


def is_allowed() -> bool:
    """Return whether this Airflow lets people kill pods from the wall."""
    return os.environ.get(SETTING, "").lower() == "true"


def kill_pod(start: str, cpu: int) -> KilledPod:
    """Kill the pod that the CPU has now, or else its next one.

    Raises HTTPException: 404 if it has none, 503 if Kubernetes does not answer or refuses.
    """
    from kubernetes_asyncio.client import ApiException

    from airflow_pods.errors import PodFailed, PodRefused, describe_api_error

    try:
        killed = asyncio.run(_kill_next_pod(start, cpu))
    except ApiException as error:
        raise HTTPException(503, f"Kubernetes: {describe_api_error(error)}") from error
    except (PodFailed, PodRefused) as error:
        raise HTTPException(503, str(error)) from error
    if killed is None:
        reason = f"CPU {cpu} had no pod for {WAIT_SECONDS} s: it has stopped, or others run first"
        raise HTTPException(404, reason)
    return killed


async def _kill_next_pod(start: str, cpu: int) -> KilledPod | None:
    # Imported here: the API server does not need Kubernetes for anything else.
    from airflow_pods.client import connect
    from airflow_pods.requests import delete_pod, watch_pods
    from dags.settings import POD

    labels = f"app=cluster-cpu,start={start},cpu={cpu}"
    async with (
        connect(CONNECTION) as client,
        # A watch reports the existing pods first.
        aclosing(watch_pods(client, POD["namespace"], WAIT_SECONDS, label_selector=labels)) as events,
    ):
        async for kind, pod in events:
            if kind != "DELETED" and _is_alive(pod):
                await delete_pod(client, pod, grace_seconds=0)
                return KilledPod(pod=pod.metadata.name, cycle=int(pod.metadata.labels["cycle"]))
    return None


def _is_alive(pod: Pod) -> bool:
    from airflow_pods.status import is_finished

    return pod.metadata.deletion_timestamp is None and not is_finished(pod)
