"""The store: every object, its version, the recent changes that watches replay, and events about pods.

An object is never changed in place: a change is a new dict with a new version, so that a watch or the
history that holds an older one keeps it unchanged. Everything runs on one event loop, without locks.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from scripts.kube.objects import EVENTS, KINDS, NODE, Json, Key, Kind, encode, key_of, now

_HISTORY = 10_000
"""Changes kept for watches that start from an older version."""
_EVENTS = 5_000
"""Events kept in the store."""


@dataclass
class Change:
    """One change of one object: ADDED, MODIFIED or DELETED; `old` is None for ADDED."""

    version: int
    type: str
    kind: Kind
    old: Json | None
    new: Json

    @cached_property
    def encoded(self) -> bytes:
        """The new object as JSON, encoded once for the file and all watches."""
        return encode(self.new)


Listener = Callable[[Change], None]


class Store:
    """The objects by resource and key, in memory and, except for events, in one SQLite file."""

    def __init__(self, file: Path) -> None:
        # Without a wait for the disk a write costs little; the machine's crash may lose the last ones.
        self._database = sqlite3.connect(file, isolation_level=None)
        file.chmod(0o600)  # Secrets are in it
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS objects (resource TEXT, namespace TEXT, name TEXT, body BLOB, "
            "PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID"
        )
        self._objects: dict[str, dict[Key, Json]] = {plural: {} for plural in KINDS}
        self._listeners: dict[str, set[Listener]] = {plural: set() for plural in KINDS}
        self._history: deque[Change] = deque(maxlen=_HISTORY)
        for plural, body in self._database.execute("SELECT resource, body FROM objects"):
            thing = json.loads(body)
            self._objects[plural][key_of(thing)] = thing
        # The time in ms is above every version of earlier processes: they make less than 1,000 a second.
        self.version = self.oldest = time.time_ns() // 1_000_000
        """`version` is the newest; the changes after `oldest` can be replayed."""

    def get(self, kind: Kind, key: Key) -> Json | None:
        """Return the object as it is now."""
        return self._objects[kind.plural].get(key)

    def list(self, kind: Kind, namespace: str = "") -> list[Json]:
        """Return the objects of a resource, of one namespace if given, sorted by namespace and name."""
        objects = self._objects[kind.plural]
        return [objects[key] for key in sorted(objects) if namespace in ("", key[0])]

    def create(self, kind: Kind, thing: Json) -> Json:
        """Keep a new object; return it with its identity, time and version."""
        stamp = {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        created = {"kind": kind.name, "apiVersion": "v1", **thing}
        created["metadata"] = {**thing["metadata"], **stamp}
        return self._commit("ADDED", kind, None, created)

    def update(self, kind: Kind, thing: Json) -> Json:
        """Keep and return a new state of a known object; an equal one is not a change."""
        old = self._objects[kind.plural][key_of(thing)]
        return old if old == thing else self._commit("MODIFIED", kind, old, thing)

    def delete(self, kind: Kind, key: Key) -> Json:
        """Remove the object; return its last state."""
        old = self._objects[kind.plural][key]
        return self._commit("DELETED", kind, old, old)

    def delete_oldest(self, kind: Kind, keep: int) -> None:
        """Remove the object that was added first once there are more than `keep`."""
        objects = self._objects[kind.plural]
        if len(objects) > keep:
            self.delete(kind, next(iter(objects)))

    def subscribe(self, kind: Kind, listener: Listener) -> None:
        """Call `listener` with every change of the resource, in order, from now on."""
        self._listeners[kind.plural].add(listener)

    def unsubscribe(self, kind: Kind, listener: Listener) -> None:
        """End a subscription."""
        self._listeners[kind.plural].discard(listener)

    def next_change(self, kind: Kind) -> asyncio.Future[None]:
        """Return a future that is done once any object of the resource changes after this call."""
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def listener(_change: Change) -> None:
            if not changed.done():
                changed.set_result(None)

        self.subscribe(kind, listener)
        changed.add_done_callback(lambda _: self.unsubscribe(kind, listener))
        return changed

    def since(self, version: int) -> Iterator[Change] | None:
        """Return the changes after a version, or None if the history does not reach back that far."""
        if version < self.oldest:
            return None
        return (change for change in list(self._history) if change.version > version)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _commit(self, type_: str, kind: Kind, old: Json | None, new: Json) -> Json:
        self.version += 1
        new = {**new, "metadata": {**new["metadata"], "resourceVersion": str(self.version)}}
        change = Change(self.version, type_, kind, old, new)
        key = key_of(new)
        if type_ == "DELETED":
            del self._objects[kind.plural][key]
        else:
            self._objects[kind.plural][key] = new
        if kind is not EVENTS:
            self._save(change, key)
        if len(self._history) == _HISTORY:
            self.oldest = self._history[0].version
        self._history.append(change)
        for listener in tuple(self._listeners[kind.plural]):
            listener(change)
        return new

    def _save(self, change: Change, key: Key) -> None:
        row = (change.kind.plural, *key)
        if change.type == "DELETED":
            sql = "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?"
            self._database.execute(sql, row)
        else:
            self._database.execute("REPLACE INTO objects VALUES (?, ?, ?, ?)", (*row, change.encoded))


class Recorder:
    """Writes events about pods into the store; the oldest are forgotten first."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def scheduled(self, pod: Json) -> None:
        """Record that the pod has its node."""
        self.normal(pod, "Scheduled", f"Successfully assigned {'/'.join(key_of(pod))} to {NODE}")

    def normal(self, pod: Json, reason: str, message: str, field: str = "") -> None:
        """Record an expected event; `field` is the part of the pod that it is about."""
        self._record(pod, "Normal", reason, message, field)

    def warning(self, pod: Json, reason: str, message: str, field: str = "") -> None:
        """Record a problem."""
        self._record(pod, "Warning", reason, message, field)

    def _record(self, pod: Json, type_: str, reason: str, message: str, field: str) -> None:
        namespace, name = key_of(pod)
        about = {"kind": "Pod", "apiVersion": "v1", "namespace": namespace, "name": name}
        about |= {"uid": pod["metadata"]["uid"], **({"fieldPath": field} if field else {})}
        event = {
            "metadata": {"name": f"{name}.{time.time_ns():x}", "namespace": namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "type": type_,
            "source": {"component": "kubelet"},
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
        }
        self._store.create(EVENTS, event)
        self._store.delete_oldest(EVENTS, _EVENTS)
