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
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path

from scripts.kube.objects import EVENTS, KINDS, NODE, Json, Key, Kind, encode, key_of, now

_HISTORY = 20_000
"""Changes of a resource that are kept for watches and lists of an older version."""
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
        """The new object as JSON, encoded once for the file, all watches and all lists."""
        return encode(self.new)

    def forget_encoded(self) -> None:
        """Free the encoded object: only a replay of the history may need it again."""
        self.__dict__.pop("encoded", None)


Listener = Callable[[Change], None]


@dataclass
class _Resource:
    """The objects of one resource: each one's last change by key, the keys in order, and what has changed."""

    oldest: int
    """The changes after this version are in the history."""
    objects: dict[Key, Change] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    history: deque[Change] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    listeners: set[Listener] = field(default_factory=set)

    def keep(self, key: Key, change: Change) -> None:
        """Make this change the object's last one."""
        if last := self.objects.get(key):
            last.forget_encoded()
        if change.type == "DELETED":
            del self.objects[key]
            del self.keys[bisect_left(self.keys, key)]
        else:
            if last is None:
                insort(self.keys, key)
            self.objects[key] = change

    def remember(self, change: Change) -> None:
        """Add a change to the history; the first one is forgotten when it is full."""
        if len(self.history) == self.history.maxlen:
            self.oldest = self.history[0].version
        self.history.append(change)


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
        # The time in µs is above every version of earlier processes: they make less than a million a second.
        self.version = time.time_ns() // 1_000
        """The newest version."""
        self._resources = {plural: _Resource(self.version) for plural in KINDS}
        for plural, body in self._database.execute("SELECT resource, body FROM objects"):
            thing = json.loads(body)
            version = int(thing["metadata"]["resourceVersion"])
            self._resources[plural].keep(key_of(thing), Change(version, "ADDED", KINDS[plural], None, thing))

    def get(self, kind: Kind, key: Key) -> Json | None:
        """Return the object as it is now."""
        change = self._resources[kind.plural].objects.get(key)
        return change.new if change else None

    def list(self, kind: Kind, namespace: str = "") -> list[Json]:
        """Return the objects of a resource, of one namespace if given, sorted by namespace and name."""
        resource = self._resources[kind.plural]
        first, end = 0, len(resource.keys)
        if namespace:
            first = bisect_left(resource.keys, (namespace, ""))
            end = bisect_left(resource.keys, (f"{namespace}\0", ""))
        return [resource.objects[key].new for key in resource.keys[first:end]]

    def list_at(self, kind: Kind, namespace: str, version: int) -> Sequence[Json] | None:
        """Return the objects as they were at a version, None if the history does not reach back that far."""
        newer = self.since(kind, version)
        if newer is None:
            return None
        things: dict[Key, Json | None] = {key_of(thing): thing for thing in self.list(kind, namespace)}
        for change in reversed(newer):
            if namespace in ("", (key := key_of(change.new))[0]):
                things[key] = change.old
        return [thing for _, thing in sorted(things.items(), key=lambda item: item[0]) if thing]

    def encoded(self, kind: Kind, thing: Json) -> bytes:
        """Return an object of this store as JSON, without encoding it again if it has not changed since."""
        change = self._resources[kind.plural].objects.get(key_of(thing))
        return change.encoded if change and change.new is thing else encode(thing)

    def create(self, kind: Kind, thing: Json) -> Json:
        """Keep a new object; return it with its identity, time and version."""
        stamp = {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        created = {"kind": kind.name, "apiVersion": "v1", **thing}
        created["metadata"] = {**thing["metadata"], **stamp}
        return self._commit("ADDED", kind, None, created)

    def update(self, kind: Kind, thing: Json) -> Json:
        """Keep and return a new state of a known object; an equal one is not a change."""
        old = self._resources[kind.plural].objects[key_of(thing)].new
        return old if old == thing else self._commit("MODIFIED", kind, old, thing)

    def delete(self, kind: Kind, key: Key) -> Json:
        """Remove the object; return its last state."""
        old = self._resources[kind.plural].objects[key].new
        return self._commit("DELETED", kind, old, old)

    def delete_oldest(self, kind: Kind, keep: int) -> None:
        """Remove the object that was added first once there are more than `keep`."""
        objects = self._resources[kind.plural].objects
        if len(objects) > keep:
            self.delete(kind, next(iter(objects)))

    def subscribe(self, kind: Kind, listener: Listener) -> None:
        """Call `listener` with every change of the resource, in order, from now on."""
        self._resources[kind.plural].listeners.add(listener)

    def unsubscribe(self, kind: Kind, listener: Listener) -> None:
        """End a subscription."""
        self._resources[kind.plural].listeners.discard(listener)

    def next_change(self, kind: Kind) -> asyncio.Future[None]:
        """Return a future that is done once any object of the resource changes after this call."""
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def listener(_change: Change) -> None:
            if not changed.done():
                changed.set_result(None)

        self.subscribe(kind, listener)
        changed.add_done_callback(lambda _: self.unsubscribe(kind, listener))
        return changed

    def oldest(self, kind: Kind) -> int:
        """Return the version after which all changes of the resource can be replayed."""
        return self._resources[kind.plural].oldest

    def since(self, kind: Kind, version: int) -> Sequence[Change] | None:
        """Return a resource's changes after a version, None if the history does not reach back that far."""
        resource = self._resources[kind.plural]
        if version < resource.oldest:
            return None
        newest_first = takewhile(lambda change: change.version > version, reversed(resource.history))
        return list(newest_first)[::-1]

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _commit(self, type_: str, kind: Kind, old: Json | None, new: Json) -> Json:
        self.version += 1
        new = {**new, "metadata": {**new["metadata"], "resourceVersion": str(self.version)}}
        change = Change(self.version, type_, kind, old, new)
        key, resource = key_of(new), self._resources[kind.plural]
        resource.keep(key, change)
        if kind is not EVENTS:
            self._save(change, key)
        resource.remember(change)
        for listener in tuple(resource.listeners):
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
