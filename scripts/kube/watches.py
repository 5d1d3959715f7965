"""Watches: the present, then every change as it happens, one JSON line each."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from scripts.kube import tables
from scripts.kube.errors import ApiError, bad_request, expired
from scripts.kube.objects import Json, encode
from scripts.kube.requests import Target, flag, number
from scripts.kube.selectors import Predicate
from scripts.kube.store import Change, Store

_DEFAULT_SECONDS = 3600
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""The annotation of the bookmark that follows the present, where a client asks for `sendInitialEvents`."""


class Watches:
    """All open watches; `close` ends them so that the endpoint can stop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queues: set[asyncio.Queue[Change | None]] = set()

    def close(self) -> None:
        """Ends every watch."""
        for queue in self._queues:
            queue.put_nowait(None)

    async def serve(self, request: web.Request, target: Target, matches: Predicate) -> web.StreamResponse:
        """Streams until the client leaves, `timeoutSeconds` are over, or the endpoint stops."""
        start = _start(request)
        lines = _Lines(request, target, matches)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._queues.add(queue)
        self._store.subscribe(target.kind, queue.put_nowait)
        try:
            # Between the subscription and this there is no await: no change is missed, none comes twice.
            first = self._first(target, start, lines)
            if flag(request, "sendInitialEvents"):
                first += lines.bookmark(self._store.version, {_INITIAL_EVENTS_END: "true"})
            await response.prepare(request)
            await response.write(first)
            with suppress(TimeoutError, ConnectionResetError):
                async with asyncio.timeout(number(request, "timeoutSeconds") or _DEFAULT_SECONDS):
                    await _follow(queue, response, lines)
            with suppress(ConnectionResetError):
                if flag(request, "allowWatchBookmarks"):
                    await response.write(lines.bookmark(self._store.version))
                await response.write_eof()
        except ApiError as gone:
            await response.prepare(request)
            await response.write(encode({"type": "ERROR", "object": gone.body}) + b"\n")
        finally:
            self._store.unsubscribe(target.kind, queue.put_nowait)
            self._queues.discard(queue)
        return response

    def _first(self, target: Target, start: int, lines: _Lines) -> bytes:
        """What is told before anything happens: the present, or what happened since `start`."""
        if start == 0:
            present = self._store.list(target.kind, target.namespace)
            changes = [Change(self._store.version, "ADDED", target.kind, None, thing) for thing in present]
            return b"".join(map(lines.line, changes))
        past = self._store.since(start)
        if past is None:
            raise expired(start, self._store.forgotten + 1)
        return b"".join(lines.line(change) for change in past if change.kind is target.kind)


class _Lines:
    """Turns changes into what one watch is told of them."""

    def __init__(self, request: web.Request, target: Target, matches: Predicate) -> None:
        self._namespace = target.namespace
        self._kind = target.kind
        self._matches = matches
        self._table = tables.wanted(request.headers.get("Accept", ""))
        self._include = request.query.get("includeObject", "Metadata")
        self._headed = False

    def line(self, change: Change) -> bytes:
        """The event as a line, empty when the change is none of this watch's."""
        if self._namespace and change.new["metadata"]["namespace"] != self._namespace:
            return b""
        type_ = self._type(change)
        if not type_:
            return b""
        return b'{"type":"%s","object":%s}\n' % (type_.encode(), self._object(change))

    def bookmark(self, version: int, annotations: Json | None = None) -> bytes:
        """An event that only says how far the watch has come."""
        metadata: Json = {"resourceVersion": str(version), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        thing = {"kind": self._kind.name, "apiVersion": "v1", "metadata": metadata}
        return encode({"type": "BOOKMARK", "object": thing}) + b"\n"

    def _type(self, change: Change) -> str:
        """What the change is to a watch that sees only what its selectors match."""
        before = change.old is not None and self._matches(change.old)
        if change.type == "DELETED":
            return "DELETED" if before else ""
        after = self._matches(change.new)
        if before:
            return "MODIFIED" if after else "DELETED"
        return "ADDED" if after else ""

    def _object(self, change: Change) -> bytes:
        if not self._table:
            return change.encoded
        metadata = {"resourceVersion": change.new["metadata"]["resourceVersion"]}
        headed, self._headed = not self._headed, True
        return encode(tables.table(self._kind, [change.new], metadata, include=self._include, headed=headed))


async def _follow(queue: asyncio.Queue[Change | None], response: web.StreamResponse, lines: _Lines) -> None:
    while True:
        changes = [await queue.get()]
        while not queue.empty():
            changes.append(queue.get_nowait())
        told = b"".join(lines.line(change) for change in changes if change is not None)
        if told:
            await response.write(told)
        if None in changes:
            return


def _start(request: web.Request) -> int:
    """The version to start after; 0 is the present."""
    start = number(request, "resourceVersion") or 0
    match = request.query.get("resourceVersionMatch", "")
    if not flag(request, "sendInitialEvents"):
        return start
    if match != "NotOlderThan" or not flag(request, "allowWatchBookmarks"):
        raise bad_request(
            "sendInitialEvents: Forbidden: it needs resourceVersionMatch=NotOlderThan and allowWatchBookmarks"
        )
    return 0
