"""Watches: the present, then every change as it happens, one JSON line each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web

from scripts.kube.objects import encode
from scripts.kube.requests import ApiError, Predicate, Target, flag, forbidden_field, number
from scripts.kube.store import Change, Store
from scripts.kube.tables import table, wants_table

_DEFAULT_SECONDS = 3600
_AT_ONCE = 500
"""How many lines are sent in one piece, so that a long start does not hold up other requests."""


async def serve_watch(
    request: web.Request, store: Store, target: Target, selects: Predicate
) -> web.StreamResponse:
    """Stream until the client leaves or `timeoutSeconds` are over."""
    if flag(request, "sendInitialEvents"):
        # As a cluster without the feature WatchList answers: clients then list, and watch from there.
        why = "sendInitialEvents is forbidden for watch: list, and watch from that version"
        raise forbidden_field("ListOptions", "", "sendInitialEvents", why)
    start, seconds = number(request, "resourceVersion") or 0, number(request, "timeoutSeconds")
    as_table = wants_table(request)

    queue: asyncio.Queue[bytes] = asyncio.Queue()

    def follow(change: Change) -> None:
        # What the watch does not select must not wake it: there may be a watch per pod.
        if line := _line(change, target, selects, as_table=as_table):
            queue.put_nowait(line)

    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    store.subscribe(target.kind, follow)
    try:
        # No await between the subscription and this: no change is missed or sent twice.
        first = _first(store, target, start)
        await response.prepare(request)
        if first is None:
            oldest = store.oldest(target.kind)
            expired = ApiError(410, "Expired", f"too old resource version: {start} ({oldest})")
            await response.write(encode({"type": "ERROR", "object": expired.body}) + b"\n")
            return response
        for start in range(0, len(first), _AT_ONCE):
            some = first[start : start + _AT_ONCE]
            await response.write(b"".join(_line(one, target, selects, as_table=as_table) for one in some))
        with suppress(TimeoutError, ConnectionResetError):
            async with asyncio.timeout(seconds or _DEFAULT_SECONDS):
                while True:
                    lines = [await queue.get()]
                    while not queue.empty():  # what has queued up goes out in one piece
                        lines.append(queue.get_nowait())
                    await response.write(b"".join(lines))
    finally:
        store.unsubscribe(target.kind, follow)
    return response


def _first(store: Store, target: Target, start: int) -> Sequence[Change] | None:
    """Return the changes after a version, None if some are forgotten; for 0 every object as added."""
    if start:
        return store.since(target.kind, start)
    changes = []
    for thing in store.list(target.kind, target.namespace):
        change = Change(store.version, "ADDED", target.kind, None, thing)
        change.encoded = store.encoded(target.kind, thing)
        changes.append(change)
    return changes


def _line(change: Change, target: Target, selects: Predicate, *, as_table: bool) -> bytes:
    """Return the change as a line, b"" if it is none to a watch that sees only what it selects."""
    if target.namespace not in ("", change.new["metadata"].get("namespace")):
        return b""
    before = change.old is not None and selects(change.old)
    after = change.type != "DELETED" and selects(change.new)
    if not before and not after:
        return b""
    type_ = b"ADDED" if not before else b"MODIFIED" if after else b"DELETED"
    thing = encode(table(target.kind, [change.new])) if as_table else change.encoded
    return b'{"type":"%s","object":%s}\n' % (type_, thing)
