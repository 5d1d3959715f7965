"""When pods were created and when they ended, as somebody beside saw it."""

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

Cycle = tuple[str, int, int]
"""Start run, CPU and cycle."""


class Watcher:
    """The cycles' pods of a namespace: seconds since 1970."""

    def __init__(self) -> None:
        self.created: dict[Cycle, float] = {}
        self.ended: dict[Cycle, float] = {}

    def see(self, pod: Any) -> None:
        """Note what is new about a pod."""
        labels = pod.metadata.labels or {}
        if labels.get("app") != "cluster-cpu" or labels.get("command") != "exec":
            return
        cycle = labels["start"], int(labels["cpu"]), int(labels["cycle"])
        self.created.setdefault(cycle, time.time())
        if has_ended(pod):
            self.ended.setdefault(cycle, time.time())


def has_ended(pod: Any) -> bool:
    """Whether the container that does the work has ended: a sidecar may live on."""
    main = [one for one in pod.status.container_statuses or [] if one.name in ("main", "base")]
    return any(one.state.terminated for one in main) or pod.status.phase in ("Succeeded", "Failed")


@contextlib.contextmanager
def watching(settings: Settings) -> Iterator[Watcher]:
    """Watch until the block is left."""
    watcher, over = Watcher(), threading.Event()
    api = core_api(settings)

    def look() -> None:
        while not over.is_set():
            stream = watch.Watch().stream(api.list_namespaced_pod, settings.namespace, timeout_seconds=5)
            with contextlib.suppress(ApiException, urllib3.exceptions.HTTPError), contextlib.closing(stream):
                for event in stream:
                    watcher.see(event["object"])

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watcher
    finally:
        over.set()
        thread.join(timeout=10)
        api.api_client.close()
