"""Every object, its version, and the recent history that watches replay.

Objects are never changed in place: a change is a new dict under a new version, so that whoever holds an
old one (a watch, the history) keeps it as it was. All of it runs on one event loop, without locks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from scripts.kube.database import Database
from scripts.kube.kinds import KINDS, Kind
from scripts.kube.objects import Json, Key, encode, key_of, new_uid, now

HISTORY = 10_000
"""Changes kept for watches that start from an older version."""


@dataclass
class Change:
    """One change of one object: ADDED, MODIFIED or DELETED; `old` is None when it was added."""

    version: int
    type: str
    kind: Kind
    old: Json | None
    new: Json

    @cached_property
    def encoded(self) -> bytes:
        """The new object as JSON, encoded once for all who watch."""
        return encode(self.new)


Listener = Callable[[Change], None]


class Store:
    """The objects by resource and key."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._objects: dict[str, dict[Key, Json]] = {plural: {} for plural in KINDS}
        self._listeners: dict[str, set[Listener]] = {plural: set() for plural in KINDS}
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self.version = database.first_version()
        self._forgotten = self.version
        for plural, thing in database.load():
            self._objects[plural][key_of(thing)] = thing

    def get(self, kind: Kind, key: Key) -> Json | None:
        """The object as it is now."""
        return self._objects[kind.plural].get(key)

    def list(self, kind: Kind, namespace: str = "") -> list[Json]:
        """All objects of a resource, of one namespace if it is given, by namespace and name."""
        found = self._objects[kind.plural].items()
        return [thing for key, thing in sorted(found, key=_by_key) if namespace in ("", key[0])]

    def oldest(self, kind: Kind) -> Json | None:
        """The object that was added first."""
        return next(iter(self._objects[kind.plural].values()), None)

    def count(self, kind: Kind) -> int:
        """How many objects a resource has."""
        return len(self._objects[kind.plural])

    def create(self, kind: Kind, thing: Json) -> Json:
        """Keeps a new object, with identity, time and version."""
        stamp = {"uid": new_uid(), "creationTimestamp": now()}
        created = {"kind": kind.name, "apiVersion": "v1", **thing}
        created["metadata"] = {**thing["metadata"], **stamp}
        return self._commit("ADDED", kind, None, created)

    def update(self, kind: Kind, thing: Json) -> Json:
        """Keeps a new state of a known object; one that differs in nothing is no change."""
        old = self._objects[kind.plural][key_of(thing)]
        return old if old == thing else self._commit("MODIFIED", kind, old, thing)

    def delete(self, kind: Kind, key: Key) -> Json:
        """Forgets the object; returns its last state."""
        old = self._objects[kind.plural][key]
        return self._commit("DELETED", kind, old, old)

    def subscribe(self, kind: Kind, listener: Listener) -> None:
        """Calls `listener` with every change of the resource, in order, from now on."""
        self._listeners[kind.plural].add(listener)

    def unsubscribe(self, kind: Kind, listener: Listener) -> None:
        """Ends a subscription."""
        self._listeners[kind.plural].discard(listener)

    def next_change(self, kind: Kind) -> asyncio.Future[None]:
        """Return what is done once any object of the resource has changed from now on."""
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def listener(_change: Change) -> None:
            if not changed.done():
                changed.set_result(None)

        self.subscribe(kind, listener)
        changed.add_done_callback(lambda _: self.unsubscribe(kind, listener))
        return changed

    def since(self, version: int) -> Iterator[Change] | None:
        """The changes after a version; None when the history does not reach that far back."""
        if version < self._forgotten:
            return None
        return (change for change in list(self._history) if change.version > version)

    @property
    def forgotten(self) -> int:
        """The newest version whose change can no longer be replayed."""
        return self._forgotten

    def _commit(self, kind_of_change: str, kind: Kind, old: Json | None, new: Json) -> Json:
        self.version += 1
        new = {**new, "metadata": {**new["metadata"], "resourceVersion": str(self.version)}}
        key = key_of(new)
        if kind_of_change == "DELETED":
            del self._objects[kind.plural][key]
        else:
            self._objects[kind.plural][key] = new
        if kind.kept:
            self._database.save(kind.plural, key, None if kind_of_change == "DELETED" else new, self.version)
        change = Change(self.version, kind_of_change, kind, old, new)
        if len(self._history) == HISTORY:
            self._forgotten = self._history[0].version
        self._history.append(change)
        for listener in tuple(self._listeners[kind.plural]):
            listener(change)
        return new


def _by_key(item: tuple[Key, Json]) -> Key:
    return item[0]
