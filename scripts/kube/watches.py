"""Watches: the present, then every change as it happens, one JSON line each."""

from __future__ import annotations

import asyncio

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
        # No await between the subscription and this: no change is missed or sent twice.
        first = self._first(target, start)
        try:
            await response.prepare(request)
            if first is None:
                expired = ApiError(
                    410, "Expired", f"too old resource version: {start} ({self._store.oldest})"
                )
                await response.write(encode({"type": "ERROR", "object": expired.body}) + b"\n")
                return response
            await response.write(lines.of(first))
            async with asyncio.timeout(seconds or _DEFAULT_SECONDS):
                await _follow(queue, response, lines)
        except (TimeoutError, ConnectionResetError):
            pass
        finally:
            self._store.unsubscribe(target.kind, queue.put_nowait)
            self._queues.discard(queue)
        return response

    def _first(self, target: Target, start: int) -> list[Change] | None:
        """Return the changes after a version, None if some are forgotten; for 0 every object as added."""
        if start == 0:
            present = self._store.list(target.kind, target.namespace)
            return [Change(self._store.version, "ADDED", target.kind, None, thing) for thing in present]
        past = self._store.since(start)
        return None if past is None else [change for change in past if change.kind is target.kind]


class _Lines:
    """Turns changes into the lines of one watch."""

    def __init__(self, request: web.Request, target: Target, matches: Predicate) -> None:
        self._target = target
        self._matches = matches
        self._table = wants_table(request)
        self._headed = False

    def of(self, changes: list[Change]) -> bytes:
        """Return the changes as lines, without those of objects that the watch does not select."""
        return b"".join(
            b'{"type":"%s","object":%s}\n' % (type_.encode(), self._object(change))
            for change in changes
            if (type_ := self._type(change))
        )

    def _type(self, change: Change) -> str:
        """Return what the change is to a watch that sees only what its selectors match, "" for nothing."""
        if self._target.namespace not in ("", change.new["metadata"].get("namespace")):
            return ""
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
    while change := await queue.get():
        changes = [change]
        while not queue.empty() and (change := queue.get_nowait()):
            changes.append(change)
        if data := lines.of(changes):
            await response.write(data)
        if change is None:
            return
