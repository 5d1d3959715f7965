"""One watch for all pods of a namespace: each change goes to whoever waits for that pod, or for its set."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Protocol

from airflow_pods.client import Client, connect
from airflow_pods.errors import PodFailed, is_temporary, retry_after
from airflow_pods.manifest import SELECTOR
from airflow_pods.pod import Pod
from airflow_pods.pod_set import SET
from airflow_pods.printable import describe
from airflow_pods.requests import PAUSE_SECONDS, newest_version, read_pod, watch_pods

LOG = logging.getLogger(__name__)

SILENT_SECONDS = 60
"""A pod of which the watch has said nothing for so long is read, in case the watch has missed a change."""


class SetListener(Protocol):
    """Whoever waits for all pods of a set."""

    def pod_changed(self, kind: str, pod: Pod) -> None:
        """Take an event of the watch; it may be older than what a list has said."""

    def changes_missed(self) -> None:
        """Take note that events are missing: the pods must be listed again."""

    def watch_failed(self, error: Exception) -> None:
        """Take the error that has ended the watch for good."""


class Informer:
    """Keeps the latest state of the pods in a namespace that this package has created.

    The first pod that is waited for opens the watch. A watch that ends or breaks is opened again from the
    last version that it has seen. If the API no longer knows that version (410), each waiter reads its pod
    once. All methods must be called in one event loop.

    Pods of a set (those with the label `SET`) are not kept: their events go to the set's listeners, and
    after a 410 each listener lists its pods once.
    """

    def __init__(self, conn_id: str, namespace: str, selector: str = SELECTOR) -> None:
        self._conn_id = conn_id
        self._namespace = namespace
        self._selector = selector
        self._listeners: defaultdict[str, list[SetListener]] = defaultdict(list)  # by the name of their set
        self._version: str | None = None
        self._latest: dict[str, tuple[str, Pod | None]] = {}  # name: uid and pod; None once it is deleted
        self._users: Counter[str] = Counter()  # how many wait for the pod of that name
        self._changes: dict[str, asyncio.Future[None]] = {}  # done at the next change of the pod of that name
        self._watching: asyncio.Task[None] | None = None

    async def watch_until(self, client: Client, pod: Pod, is_done: Callable[[Pod], bool]) -> Pod | None:
        """Wait from this version of the pod until it is done; return it, or None once it is deleted.

        Raises ApiException or PodFailed if the watch cannot go on.
        """
        name, uid = pod.metadata.name, pod.metadata.uid
        self._users[name] += 1
        others = {"", uid}  # known not to be a later pod of the same name
        try:
            while not is_done(pod):
                seen_uid, seen = self._latest.get(name, ("", None))
                if seen_uid == uid and seen is not pod:
                    if seen is None:
                        return None
                    pod = seen
                    continue
                if seen_uid in others and await self._next_change(pod):
                    continue
                # The watch may have missed a change. Or it has seen another pod of that name: a later one, or
                # an earlier one if the watch is behind.
                others.add(seen_uid)
                before = self._latest.get(name)
                read = await read_pod(client, name, self._namespace)
                if read is None or read.metadata.uid != uid:
                    return None
                if self._latest.get(name) is before:
                    self._latest[name] = uid, read
            return pod
        finally:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name]
                self._changes.pop(name, None)
                if self._latest.get(name, ("", pod))[1] is None:
                    del self._latest[name]

    @contextmanager
    def listening(self, set_name: str, listener: SetListener) -> Iterator[None]:
        """Pass all events of the pods in that set to the listener during the block.

        If the watch is open, that begins at once. Call `watch_set` when the set has been listed.
        """
        self._listeners[set_name].append(listener)
        try:
            yield
        finally:
            self._listeners[set_name].remove(listener)
            if not self._listeners[set_name]:
                del self._listeners[set_name]

    def watch_set(self, version: str) -> None:
        """Open the watch for the listeners, at first from this version of a list, unless it is open."""
        self._open(version)

    async def close(self) -> None:
        """Close the watch."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _next_change(self, pod: Pod) -> bool:
        """Wait for a change of the pod of that name; return False if the pod must be read instead."""
        self._open(pod.metadata.resource_version)
        name = pod.metadata.name
        change = self._changes.get(name)
        if change is None:
            change = self._changes[name] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                await asyncio.shield(change)
        except TimeoutError:
            return False
        except _MissedChanges:
            return False
        return True

    def _open(self, version: str) -> None:
        """Open the watch, at first from this version, unless it is open."""
        if self._watching is None or self._watching.done():
            self._version = self._version or version
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Watch for as long as a pod or a set is waited for. All waiters get the error that ends it."""
        try:
            while self._users or self._listeners:
                await self._watch_once()
        except Exception as error:
            LOG.warning(
                "The watch of the pods in namespace %s has ended: %s", self._namespace, describe(error)
            )
            self._wake_all(error)
            for listener in self._all_listeners():
                listener.watch_failed(error)

    async def _watch_once(self) -> None:
        """Keep one watch until it ends. Raises an error that another watch would meet too."""
        try:
            async with connect(self._conn_id) as client:
                if self._version is None and self._listeners:
                    # Not from the pods that exist: a set that lists them meanwhile could miss a deletion.
                    self._version = await newest_version(client, self._namespace)
                    for listener in self._all_listeners():
                        listener.changes_missed()
                async with aclosing(self._events(client)) as events:
                    async for kind, pod in events:
                        self._see(kind, pod)
        except Exception as error:
            if getattr(error, "status", None) == 410:
                self._version = None
                self._latest.clear()
                self._wake_all(_MissedChanges())
            elif not isinstance(error, PodFailed) and not is_temporary(error):
                raise
            await asyncio.sleep(max(PAUSE_SECONDS, retry_after(error)))

    def _events(self, client: Client) -> AsyncGenerator[tuple[str, Pod], None]:
        since: Any = {"resource_version": self._version} if self._version else {}
        return watch_pods(client, self._namespace, label_selector=self._selector, **since)

    def _see(self, kind: str, pod: Pod) -> None:
        name, uid = pod.metadata.name, pod.metadata.uid
        self._version = pod.metadata.resource_version
        if set_name := (pod.metadata.labels or {}).get(SET):
            for listener in tuple(self._listeners.get(set_name, ())):
                listener.pod_changed(kind, pod)
            return
        if kind != "DELETED":
            self._latest[name] = uid, pod
        elif name in self._users:
            self._latest[name] = uid, None
        else:
            self._latest.pop(name, None)
        if change := self._changes.pop(name, None):
            change.set_result(None)

    def _all_listeners(self) -> list[SetListener]:
        return [listener for listeners in self._listeners.values() for listener in listeners]

    def _wake_all(self, error: Exception) -> None:
        changes, self._changes = self._changes, {}
        for change in changes.values():
            change.set_exception(error)
            change.exception()  # nobody may wait for it any more


class _MissedChanges(Exception):
    """The watch has begun anew and may have missed changes."""
