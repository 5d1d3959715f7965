"""How things go: pods with a grace period, namespaces with all that is in them, everything else at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from scripts.kube.kinds import EVENTS, NAMESPACES, PODS, SECRETS, SERVICE_ACCOUNTS, Kind
from scripts.kube.objects import Json, key_of, now
from scripts.kube.podstatus import FINAL
from scripts.kube.store import Change, Store

_LONGEST = 2**31 - 1
"""The most seconds that a pod may be given to end: longer periods leave the calendar."""


def delete(store: Store, kind: Kind, thing: Json, grace: int | None = None) -> Json:
    """Deletes an object or begins to; returns its last or its present state."""
    if kind is PODS:
        return _delete_pod(store, thing, grace)
    if kind is NAMESPACES:
        return _delete_namespace(store, thing)
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


def _delete_namespace(store: Store, namespace: Json) -> Json:
    metadata = {**namespace["metadata"], "deletionTimestamp": now()}
    return store.update(NAMESPACES, {**namespace, "metadata": metadata, "status": {"phase": "Terminating"}})


class Namespaces:
    """Gives new namespaces their service account, and empties those that are to go."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.subscribe(NAMESPACES, self._follow)
        store.subscribe(PODS, self._follow_pods)
        for name in ("default", "kube-system"):
            if store.get(NAMESPACES, ("", name)) is None:
                store.create(NAMESPACES, new_namespace({"metadata": {"name": name}}))
        for namespace in store.list(NAMESPACES):
            if _is_leaving(namespace):
                self._empty(namespace["metadata"]["name"])

    def _follow(self, change: Change) -> None:
        name = change.new["metadata"]["name"]
        if change.type == "ADDED":
            self._store.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": name}})
        elif change.type == "MODIFIED" and _is_leaving(change.new):
            self._empty(name)

    def _follow_pods(self, change: Change) -> None:
        if change.type == "DELETED":
            namespace = self._store.get(NAMESPACES, ("", change.new["metadata"]["namespace"]))
            if namespace is not None and _is_leaving(namespace):
                # Not at once: this may be one of many deletions that are just going on.
                asyncio.get_running_loop().call_soon(self._empty, namespace["metadata"]["name"])

    def _empty(self, name: str) -> None:
        """Deletes what is in the namespace; the namespace itself once no pod is left in it."""
        pods = [pod for pod in self._store.list(PODS, name) if "deletionTimestamp" not in pod["metadata"]]
        for pod in pods:
            delete(self._store, PODS, pod)
        if self._store.list(PODS, name) or self._store.get(NAMESPACES, ("", name)) is None:
            return
        for kind in (SECRETS, SERVICE_ACCOUNTS, EVENTS):
            for thing in self._store.list(kind, name):
                self._store.delete(kind, key_of(thing))
        self._store.delete(NAMESPACES, ("", name))


def new_namespace(namespace: Json) -> Json:
    """The namespace as it is kept when it is new."""
    return {**namespace, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}


def _is_leaving(namespace: Json) -> bool:
    return "deletionTimestamp" in namespace["metadata"]
