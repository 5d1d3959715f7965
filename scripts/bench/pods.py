"""Pods on a real cluster, one after another, in a namespace of their own."""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from kubernetes import watch
from kubernetes.client.exceptions import ApiException
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from dags.pods import manifest_of
from dags.pods.status import is_finished, termination_of

PATIENCE = 120
"""Seconds a pod may take."""
READY = 60
"""Seconds a new namespace may take."""


class Pods:
    """Pods of one namespace, run to their end one by one."""

    def __init__(self, api: Any, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def run(self, name: str, image: str, command: list[str], url: str) -> None:
        """Run a pod as the DAGs make it, but with that command. Ends the program where it fails."""
        made = manifest_of(name, self._namespace, image, [], {}, {"REDIS_URL": url}, {}, PATIENCE)
        made["spec"]["containers"][0]["command"] = command
        self._api.create_namespaced_pod(self._namespace, made)
        pods = self._api.list_namespaced_pod
        pod = self._until(pods, name, is_finished)
        end = termination_of(pod)
        if end is None or end.exit_code:
            sys.exit(f"pod {name} failed: {end.message if end else pod.status.message}")
        self._api.delete_namespaced_pod(name, self._namespace, grace_period_seconds=0)

    def _until(self, kind: Any, name: str, reached: Callable[[Any], bool]) -> Any:
        field = f"metadata.name={name}"
        changes = watch.Watch().stream(kind, self._namespace, field_selector=field, timeout_seconds=PATIENCE)
        with contextlib.closing(changes):
            for change in changes:
                if reached(change["object"]):
                    return change["object"]
        sys.exit(f"{name} did not get there in {PATIENCE} s: can the cluster pull the image?")


def until_it_takes_pods(api: Any, namespace: str) -> None:
    """Return once pods can be created in the namespace: a cluster makes its service account, and maybe a
    token for that, a moment after it. Raises ApiException, with why not.
    """
    made = manifest_of("any", namespace, "any", [], {}, {}, {}, PATIENCE)
    made["spec"]["automountServiceAccountToken"] = True  # what needs the token is refused for longest
    attempts = Retrying(
        retry=retry_if_exception_type(ApiException),
        wait=wait_fixed(0.1),
        stop=stop_after_delay(READY),
        reraise=True,
    )
    attempts(api.create_namespaced_pod, namespace, made, dry_run="All")


@contextlib.contextmanager
def namespace(api: Any) -> Iterator[Pods]:
    """A namespace of the benchmark's own, gone afterwards with all that is in it."""
    name = f"cpu-bench-{uuid.uuid4().hex[:8]}"
    api.create_namespace({"metadata": {"name": name}})
    try:
        until_it_takes_pods(api, name)
        yield Pods(api, name)
    finally:
        api.delete_namespace(name)
