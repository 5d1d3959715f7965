"""Watches: the present, then every change as it happens, one JSON line each."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from scripts.kube.errors import ApiError, invalid
from scripts.kube.objects import encode
from scripts.kube.requests import Predicate, Target, flag, number
from scripts.kube.store import Change, Store
from scripts.kube.tables import table, wants_table

_DEFAULT_SECONDS = 3600


async def serve_watch(
    request: web.Request, store: Store, target: Target, matches: Predicate
) -> web.StreamResponse:
    """Stream until the client leaves or `timeoutSeconds` are over."""
    if flag(request, "sendInitialEvents"):
        # As a cluster without the feature WatchList answers: clients then list, and watch from there.
        why = "Forbidden: sendInitialEvents is forbidden for watch: list, and watch from that version"
        cause = {"reason": "FieldValueForbidden", "message": why, "field": "sendInitialEvents"}
        raise invalid("ListOptions", "", [cause])
    start, seconds = number(request, "resourceVersion") or 0, number(request, "timeoutSeconds")
    lines = _Lines(target, matches, as_table=wants_table(request))
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    queue: asyncio.Queue[Change] = asyncio.Queue()
    store.subscribe(target.kind, queue.put_nowait)
    try:
        # No await between the subscription and this: no change is missed or sent twice.
        first = _first(store, target, start)
        await response.prepare(request)
        if first is None:
            expired = ApiError(410, "Expired", f"too old resource version: {start} ({store.oldest})")
            await response.write(encode({"type": "ERROR", "object": expired.body}) + b"\n")
            return response
        await response.write(lines.of(first))
        with suppress(TimeoutError, ConnectionResetError):
            async with asyncio.timeout(seconds or _DEFAULT_SECONDS):
                while True:
                    changes = [await queue.get()]
                    while not queue.empty():  # what has queued up goes out in one piece
                        changes.append(queue.get_nowait())
                    await response.write(lines.of(changes))
    finally:
        store.unsubscribe(target.kind, queue.put_nowait)
    return response


def _first(store: Store, target: Target, start: int) -> list[Change] | None:
    """Return the changes after a version, None if some are forgotten; for 0 every object as added."""
    if start == 0:
        present = store.list(target.kind, target.namespace)
        return [Change(store.version, "ADDED", target.kind, None, thing) for thing in present]
    past = store.since(start)
    return None if past is None else [change for change in past if change.kind is target.kind]


class _Lines:
    """Turns changes into the lines of one watch."""

    def __init__(self, target: Target, matches: Predicate, *, as_table: bool) -> None:
        self._target = target
        self._matches = matches
        self._as_table = as_table
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
        if not self._as_table:
            return change.encoded
        headed, self._headed = not self._headed, True
        version = change.new["metadata"]["resourceVersion"]
        return encode(table(self._target.kind, [change.new], version, headed=headed))
