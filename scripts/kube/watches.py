"""Watches: the present, then every change as it happens, one JSON line each."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from scripts.kube.errors import ApiError, invalid
from scripts.kube.objects import encode
from scripts.kube.requests import Target, flag, number
from scripts.kube.selectors import Predicate
from scripts.kube.store import Change, Store
from scripts.kube.tables import table, wants_table

_DEFAULT_SECONDS = 3600


class Watches:
    """All open watches; `close` ends them so that the endpoint can stop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queues: set[asyncio.Queue[Change | None]] = set()

    def close(self) -> None:
        """End every watch."""
        for queue in self._queues:
            queue.put_nowait(None)

    async def serve(self, request: web.Request, target: Target, matches: Predicate) -> web.StreamResponse:
        """Stream until the client leaves, `timeoutSeconds` are over, or the endpoint stops."""
        if flag(request, "sendInitialEvents"):
            # As a cluster without the feature WatchList answers: clients then list, and watch from there.
            why = "Forbidden: sendInitialEvents is forbidden for watch: list, and watch from that version"
            cause = {"reason": "FieldValueForbidden", "message": why, "field": "sendInitialEvents"}
            raise invalid("ListOptions", "", [cause])
        start, seconds = number(request, "resourceVersion") or 0, number(request, "timeoutSeconds")
        lines = _Lines(request, target, matches)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._queues.add(queue)
        self._store.subscribe(target.kind, queue.put_nowait)
        try:
            # No await between the subscription and this: no change is missed or sent twice.
            first = self._first(target, start, lines)
            await response.prepare(request)
            await response.write(first)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds or _DEFAULT_SECONDS):
                    await _follow(queue, response, lines)
            if flag(request, "allowWatchBookmarks"):
                await response.write(lines.bookmark(self._store.version))
            await response.write_eof()
        except ApiError as expired:  # a watch tells that as an event
            await response.prepare(request)
            await response.write(encode({"type": "ERROR", "object": expired.body}) + b"\n")
        except ConnectionResetError:
            pass
        finally:
            self._store.unsubscribe(target.kind, queue.put_nowait)
            self._queues.discard(queue)
        return response

    def _first(self, target: Target, start: int, lines: _Lines) -> bytes:
        """Return the first lines: the changes after version `start`, or every object for 0."""
        if start == 0:
            present = self._store.list(target.kind, target.namespace)
            changes = [Change(self._store.version, "ADDED", target.kind, None, thing) for thing in present]
            return b"".join(map(lines.line, changes))
        past = self._store.since(start)
        if past is None:
            raise ApiError(410, "Expired", f"too old resource version: {start} ({self._store.oldest})")
        return b"".join(lines.line(change) for change in past if change.kind is target.kind)


class _Lines:
    """Turns changes into the lines of one watch."""

    def __init__(self, request: web.Request, target: Target, matches: Predicate) -> None:
        self._target = target
        self._matches = matches
        self._table = wants_table(request)
        self._headed = False

    def line(self, change: Change) -> bytes:
        """Return the event as a line, empty if the watch does not select the object."""
        if self._target.namespace and change.new["metadata"]["namespace"] != self._target.namespace:
            return b""
        type_ = self._type(change)
        return b'{"type":"%s","object":%s}\n' % (type_.encode(), self._object(change)) if type_ else b""

    def bookmark(self, version: int) -> bytes:
        """Return an event that only says how far the watch has come."""
        metadata = {"resourceVersion": str(version), "creationTimestamp": None}
        thing = {"kind": self._target.kind.name, "apiVersion": "v1", "metadata": metadata}
        return encode({"type": "BOOKMARK", "object": thing}) + b"\n"

    def _type(self, change: Change) -> str:
        """Return what the change is to a watch that sees only what its selectors match, "" for nothing."""
        before = change.old is not None and self._matches(change.old)
        after = change.type != "DELETED" and self._matches(change.new)
        if before:
            return "MODIFIED" if after else "DELETED"
        return "ADDED" if after else ""

    def _object(self, change: Change) -> bytes:
        if not self._table:
            return change.encoded
        headed, self._headed = not self._headed, True
        version = change.new["metadata"]["resourceVersion"]
        return encode(table(self._target.kind, [change.new], version, headed=headed))


async def _follow(queue: asyncio.Queue[Change | None], response: web.StreamResponse, lines: _Lines) -> None:
    """Send changes until None comes; those that have queued up go out in one piece."""
    while True:
        changes = [await queue.get()]
        while not queue.empty():
            changes.append(queue.get_nowait())
        if data := b"".join(lines.line(change) for change in changes if change is not None):
            await response.write(data)
        if None in changes:
            return
