"""Events about pods; the oldest are forgotten first."""

from __future__ import annotations

import time

from scripts.kube.kinds import EVENTS, NODE
from scripts.kube.objects import Json, key_of, now
from scripts.kube.store import Store

_KEPT = 5_000


class Recorder:
    """Writes events about pods."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def scheduled(self, pod: Json) -> None:
        """Record that the pod has its node."""
        message = f"Successfully assigned {'/'.join(key_of(pod))} to {NODE}"
        self._record(pod, "Normal", "Scheduled", message, "", {"component": "default-scheduler"})

    def normal(self, pod: Json, reason: str, message: str, field: str = "") -> None:
        """Record an expected event; `field` is the part of the pod that it is about."""
        self._record(pod, "Normal", reason, message, field, {"component": "kubelet", "host": NODE})

    def warning(self, pod: Json, reason: str, message: str, field: str = "") -> None:
        """Record a problem."""
        self._record(pod, "Warning", reason, message, field, {"component": "kubelet", "host": NODE})

    def _record(self, pod: Json, type_: str, reason: str, message: str, field: str, source: Json) -> None:
        namespace, name = key_of(pod)
        metadata = pod["metadata"]
        about = {"kind": "Pod", "apiVersion": "v1", "namespace": namespace, "name": name}
        about |= {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        if field:
            about["fieldPath"] = field
        event = {
            "metadata": {"name": f"{name}.{time.time_ns():x}", "namespace": namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "type": type_,
            "source": source,
            "reportingComponent": source["component"],
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
        }
        self._store.create(EVENTS, event)
        self._store.delete_oldest(EVENTS, _KEPT)
