"""Watch the cycles' pods beside a benchmark: when each was created, and when it ended."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import urllib3.exceptions
from kubernetes import watch
from kubernetes.client.exceptions import ApiException

from scripts.local.services.kubernetes import core_api
from scripts.local.settings import Settings

LABELS = {"app": "cluster-cpu", "command": "exec"}
"""The labels of the pods that execute cycles."""
Cycle = tuple[str, int, int]
"""Start run, CPU and cycle."""


class Watcher:
    """When each cycle's pod was created and ended, in seconds since 1970."""

    def __init__(self) -> None:
        self.created: dict[Cycle, float] = {}
        self.ended: dict[Cycle, float] = {}

    def see(self, pod: Any) -> None:
        """Record what is new about a pod."""
        labels = pod.metadata.labels or {}
        if not LABELS.items() <= labels.items():
            return
        cycle = labels["start"], int(labels["cpu"]), int(labels["cycle"])
        self.created.setdefault(cycle, time.time())
        if has_ended(pod):
            self.ended.setdefault(cycle, time.time())


def has_ended(pod: Any) -> bool:
    """Return whether the working container has ended; a sidecar may still run."""
    working = [one for one in pod.status.container_statuses or [] if one.name in ("main", "base")]
    return any(one.state.terminated for one in working) or pod.status.phase in ("Succeeded", "Failed")


@contextlib.contextmanager
def watching(settings: Settings) -> Iterator[Watcher]:
    """Watch the stack's pods in a thread, until the block is left."""
    watcher, is_over = Watcher(), threading.Event()
    api = core_api(settings)
    selector = ",".join(f"{name}={value}" for name, value in LABELS.items())  # a bare client's are no concern

    def watch_pods() -> None:
        while not is_over.is_set():
            stream = watch.Watch().stream(
                api.list_namespaced_pod, settings.namespace, label_selector=selector, timeout_seconds=5
            )
            with contextlib.suppress(ApiException, urllib3.exceptions.HTTPError), contextlib.closing(stream):
                for event in stream:
                    watcher.see(event["object"])

    thread = threading.Thread(target=watch_pods, daemon=True)
    thread.start()
    try:
        yield watcher
    finally:
        is_over.set()
        thread.join(timeout=10)
        api.api_client.close()
