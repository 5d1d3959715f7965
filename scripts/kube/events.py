"""The events that tell a pod's story; the oldest are forgotten first."""

from __future__ import annotations

import time

from scripts.kube.discovery import NODE
from scripts.kube.kinds import EVENTS
from scripts.kube.objects import Json, key_of, now, now_micro
from scripts.kube.store import Store

KEPT = 5_000


class Recorder:
    """Writes events about pods."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def scheduled(self, pod: Json) -> None:
        """The pod has its node."""
        namespace, name = key_of(pod)
        message = f"Successfully assigned {namespace}/{name} to {NODE}"
        scheduler: Json = {
            "action": "Binding",
            "eventTime": now_micro(),
            "firstTimestamp": None,
            "lastTimestamp": None,
            "reportingComponent": "default-scheduler",
            "reportingInstance": f"default-scheduler-{NODE}",
            "source": {},
        }
        self._record(pod, "Normal", "Scheduled", message, "", scheduler)

    def normal(self, pod: Json, reason: str, message: str, field: str = "") -> None:
        """Something went as it should."""
        self._record(pod, "Normal", reason, message, field, _kubelet())

    def warning(self, pod: Json, reason: str, message: str, field: str = "") -> None:
        """Something did not."""
        self._record(pod, "Warning", reason, message, field, _kubelet())

    def _record(self, pod: Json, type_: str, reason: str, message: str, field: str, origin: Json) -> None:
        namespace, name = key_of(pod)
        about = {
            "kind": "Pod",
            "namespace": namespace,
            "name": name,
            "uid": pod["metadata"]["uid"],
            "apiVersion": "v1",
            "resourceVersion": pod["metadata"]["resourceVersion"],
        }
        if field:
            about["fieldPath"] = field
        event = {
            "metadata": {"name": f"{name}.{time.time_ns():x}", "namespace": namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "type": type_,
            **origin,
        }
        self._store.create(EVENTS, event)
        if self._store.count(EVENTS) > KEPT and (oldest := self._store.oldest(EVENTS)):
            self._store.delete(EVENTS, key_of(oldest))


def _kubelet() -> Json:
    moment = now()
    return {
        "eventTime": None,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
        "reportingComponent": "",
        "reportingInstance": "",
        "source": {"component": "kubelet", "host": NODE},
    }
