"""What outlives the endpoint's process: the objects, in one SQLite file.

Writes are gathered for a moment and committed together, so that a pod costs no commit of its own. A crash
loses that moment at most, and versions keep rising over it because each start leaves a wide gap.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from scripts.kube.objects import Json, Key, encode

_MOMENT = 0.1
_GAP = 100_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT, namespace TEXT, name TEXT, body BLOB, PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS version (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER);
INSERT OR IGNORE INTO version VALUES (1, 0);
"""


class Database:
    """The file, and the writes not yet committed to it."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        path.chmod(0o600)  # secrets are in it
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(_SCHEMA)
        self._pending: dict[tuple[str, Key], Json | None] = {}
        self._version = 0
        self._timer: asyncio.TimerHandle | None = None

    def first_version(self) -> int:
        """A version above every one given out before."""
        (last,) = self._connection.execute("SELECT last FROM version").fetchone()
        return int(last) + _GAP

    def load(self) -> Iterator[tuple[str, Json]]:
        """Every kept object with its resource's name, in order of creation."""
        rows = self._connection.execute("SELECT resource, body FROM objects").fetchall()
        things = [(resource, json.loads(body)) for resource, body in rows]
        yield from sorted(things, key=lambda pair: int(pair[1]["metadata"]["resourceVersion"]))

    def save(self, resource: str, key: Key, thing: Json | None, version: int) -> None:
        """Notes an object's new state, None for deleted, to be committed in a moment."""
        self._pending[resource, key] = thing
        self._version = version
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_MOMENT, self.flush)

    def flush(self) -> None:
        """Commits what is noted."""
        self._timer = None
        with self._connection as connection:
            for (resource, (namespace, name)), thing in self._pending.items():
                if thing is None:
                    connection.execute(
                        "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?",
                        (resource, namespace, name),
                    )
                else:
                    connection.execute(
                        "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
                        (resource, namespace, name, encode(thing)),
                    )
            connection.execute("UPDATE version SET last = max(last, ?)", (self._version,))
        self._pending.clear()

    def close(self) -> None:
        """Commits what is left and lets go of the file."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush()
        self._connection.close()
