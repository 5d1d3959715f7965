"""Watches: the present, then every change as it happens, one JSON line each."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from scripts.kube.objects import encode
from scripts.kube.requests import ApiError, Predicate, Target, flag, forbidden_field, number
from scripts.kube.store import Change, Store
from scripts.kube.tables import table, wants_table

_DEFAULT_SECONDS = 3600


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

    def lines(changes: list[Change]) -> bytes:
        return b"".join(_line(change, target, selects, as_table=as_table) for change in changes)

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
        await response.write(lines(first))
        with suppress(TimeoutError, ConnectionResetError):
            async with asyncio.timeout(seconds or _DEFAULT_SECONDS):
                while True:
                    changes = [await queue.get()]
                    while not queue.empty():  # what has queued up goes out in one piece
                        changes.append(queue.get_nowait())
                    await response.write(lines(changes))
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
