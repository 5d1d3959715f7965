"""Pods on a real cluster, one after another."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from kubernetes import watch

from airflow_pods import manifest_of
from airflow_pods.status import is_finished, termination_of

POD_SECONDS = 120
"""How long a pod may take."""


def run_pod(api: Any, namespace: str, name: str, image: str, command: list[str], url: str) -> None:
    """Run a pod as the DAGs create it, but with this command, and delete it; exit the program if it fails."""
    manifest = manifest_of(name, namespace, image, [], {}, {"REDIS_URL": url}, {}, POD_SECONDS)
    manifest["spec"]["containers"][0]["command"] = command
    api.create_namespaced_pod(namespace, manifest)
    pod = _wait_until_finished(api, namespace, name)
    end = termination_of(pod)
    if end is None or end.exit_code:
        sys.exit(f"pod {name} failed: {end.message if end else pod.status.message}")
    api.delete_namespaced_pod(name, namespace, grace_period_seconds=0)


def _wait_until_finished(api: Any, namespace: str, name: str) -> Any:
    events = watch.Watch().stream(
        api.list_namespaced_pod,
        namespace,
        field_selector=f"metadata.name={name}",
        timeout_seconds=POD_SECONDS,
    )
    with contextlib.closing(events):
        for event in events:
            if is_finished(event["object"]):
                return event["object"]
    sys.exit(f"pod {name} did not finish within {POD_SECONDS} s: can the cluster pull the image?")
