"""Deletion: pods after a grace period, namespaces with everything in them, all else at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from scripts.kube.kinds import EVENTS, NAMESPACES, PODS, SECRETS, Kind
from scripts.kube.objects import Json, key_of, now
from scripts.kube.pods import FINAL
from scripts.kube.store import Change, Store

_LONGEST = 2**31 - 1
"""The most seconds of grace: longer periods exceed the calendar."""


def delete(store: Store, kind: Kind, thing: Json, grace: int | None = None) -> Json:
    """Delete an object, or begin to; return its last or its present state."""
    if kind is PODS:
        return _delete_pod(store, thing, grace)
    if kind is NAMESPACES:
        metadata = {**thing["metadata"], "deletionTimestamp": now()}
        return store.update(kind, {**thing, "metadata": metadata, "status": {"phase": "Terminating"}})
    return store.delete(kind, key_of(thing))


def _delete_pod(store: Store, pod: Json, grace: int | None) -> Json:
    period: int = pod["spec"]["terminationGracePeriodSeconds"] if grace is None else grace
    if "nodeName" not in pod["spec"] or pod["status"]["phase"] in FINAL:
        period = 0
    running_out = pod["metadata"].get("deletionGracePeriodSeconds")
    if running_out is not None and 0 < running_out <= period:
        return pod
    period = min(max(period, 0), _LONGEST)
    deadline = (datetime.now(UTC) + timedelta(seconds=period)).strftime("%Y-%m-%dT%H:%M:%SZ")
    leaving = {"deletionTimestamp": deadline, "deletionGracePeriodSeconds": period}
    pod = {**pod, "metadata": {**pod["metadata"], **leaving}}
    if period:
        return store.update(PODS, pod)
    return {**store.delete(PODS, key_of(pod)), "metadata": pod["metadata"]}


def new_namespace(namespace: Json) -> Json:
    """Return the namespace as it is kept when it is new."""
    return {**namespace, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}


class Namespaces:
    """Creates the default namespace, and empties those that are being deleted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.subscribe(NAMESPACES, self._follow)
        store.subscribe(PODS, self._follow)
        if store.get(NAMESPACES, ("", "default")) is None:
            store.create(NAMESPACES, new_namespace({"metadata": {"name": "default"}}))
        for namespace in store.list(NAMESPACES):
            self._empty(namespace["metadata"]["name"])

    def _follow(self, change: Change) -> None:
        metadata = change.new["metadata"]
        if change.kind is NAMESPACES or change.type == "DELETED":
            # Later, because this change may be one of several deletions that are in progress.
            loop = asyncio.get_running_loop()
            loop.call_soon(self._empty, metadata.get("namespace") or metadata["name"])

    def _empty(self, name: str) -> None:
        """Delete what is in a namespace that is being deleted, and itself once no pod is left in it."""
        namespace = self._store.get(NAMESPACES, ("", name))
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return
        for pod in self._store.list(PODS, name):
            if "deletionTimestamp" not in pod["metadata"]:
                delete(self._store, PODS, pod)
        if self._store.list(PODS, name):
            return
        for kind in (SECRETS, EVENTS):
            for thing in self._store.list(kind, name):
                self._store.delete(kind, key_of(thing))
        self._store.delete(NAMESPACES, ("", name))
