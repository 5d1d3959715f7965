"""Temporary Kubernetes namespaces."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

from kubernetes.client.exceptions import ApiException

from airflow_pods import manifest_of
from scripts.waiting import wait_until

READY_SECONDS = 60


@contextlib.contextmanager
def temporary_namespace(api: Any, prefix: str) -> Iterator[str]:
    """Create a namespace, and yield its name once it takes pods; delete it afterwards with its contents."""
    name = f"{prefix}-{uuid.uuid4().hex[:8]}"
    api.create_namespace({"metadata": {"name": name}})
    try:
        wait_until_it_takes_pods(api, name)
        yield name
    finally:
        api.delete_namespace(name)


def wait_until_it_takes_pods(api: Any, namespace: str) -> None:
    """Wait until pods can be created in a new namespace.

    A cluster creates the namespace's service account, and perhaps a token for it, a moment later. Raises
    ApiException with the reason if that takes longer than READY_SECONDS.
    """
    manifest = manifest_of("any", namespace, "any", [], {}, {}, {}, 60)
    manifest["spec"]["automountServiceAccountToken"] = True  # a pod that needs the token is refused longest

    def try_to_create() -> None:
        api.create_namespaced_pod(namespace, manifest, dry_run="All")

    def takes_pods() -> bool:
        try:
            try_to_create()
        except ApiException:
            return False
        return True

    if not wait_until(takes_pods, READY_SECONDS):
        try_to_create()  # raises the reason
