"""A container's log: a file of lines with their times, its readers, and the pods/log subresource.

Each record is `<time> F|P <text>\\n`, as container runtimes write it: F for a full line, P for a part of
one (the rest of a line at the container's end, or a line too long to wait for).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aiohttp import web

from scripts.kube.objects import Json, dig
from scripts.kube.requests import bad_request, flag, number

_CHUNK = 65536
_LONGEST_LINE = 16384


@dataclass(frozen=True)
class LogOptions:
    """What to read: `tail` is a number of lines, `since` the first time, as written in the log."""

    follow: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: str = ""


class Log:
    """The log of one run of a container while it is written: what arrives in a pipe goes to the file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.closed = False
        self.changed = asyncio.Event()
        """Set when the file grows or the log is closed, then replaced by a new event."""
        self._stream = file.open("ab", buffering=0)
        self._rest = b""
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        asyncio.get_running_loop().add_reader(self._reader, self._read)

    def started(self) -> None:
        """Close our copy of the pipe's writing end, once the process has its own."""
        os.close(self.writer)

    def drain(self) -> None:
        """Write what is left in the pipe once the process has ended."""
        while self._read():
            pass
        asyncio.get_running_loop().remove_reader(self._reader)
        os.close(self._reader)
        if self._rest:
            self._write([self._rest], b"P")
        self._stream.close()

    def close(self) -> None:
        """End the reading of those who follow the log."""
        self.closed = True
        self._announce()

    def _read(self) -> bool:
        """Copy from the pipe; return whether there may be more."""
        try:
            data = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            asyncio.get_running_loop().remove_reader(self._reader)
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            self._write(lines, b"F")
        if len(self._rest) >= _LONGEST_LINE:
            self._write([self._rest], b"P")
            self._rest = b""
        return True

    def _write(self, lines: list[bytes], kind: bytes) -> None:
        now = _timestamp(time.time_ns()).encode()
        self._stream.write(b"".join(b"%s %s %s\n" % (now, kind, line) for line in lines))
        self._announce()

    def _announce(self) -> None:
        event, self.changed = self.changed, asyncio.Event()
        event.set()


def log_file(folder: Path, container: str, run: int) -> Path:
    """Return the file of the log of a container's nth run, in the folder of its pod."""
    return folder / f"{container}.{run}.log"


class LogKeeper(Protocol):
    """The kubelet, as this module sees it."""

    def log(self, pod: Json, name: str, run: int) -> tuple[Path, Log | None]:
        """Return the file of the log of a container's nth run, and the log itself while it is written."""


async def read(file: Path, options: LogOptions, log: Log | None) -> AsyncIterator[bytes]:
    """Yield the log's text in pieces; with `follow`, until `log`, which is being written, is closed."""
    tail = options.tail
    with file.open("rb") as stream:
        while True:
            # Taken before the file is read, so that no change after the reading is missed.
            follows, changed = options.follow and log and not log.closed, log and log.changed
            for piece in _text(stream if tail is None else deque(stream, tail), options):
                yield piece
            if not follows or not changed:
                return
            await changed.wait()
            tail = None


def last_lines(file: Path, lines: int, limit: int) -> str:
    """Return the end of a log: at most so many lines and bytes."""
    with file.open("rb") as stream:
        text = b"".join(_text(deque(stream, lines), LogOptions()))
    return text[-limit:].decode(errors="replace")


def _text(records: Iterable[bytes], options: LogOptions) -> Iterator[bytes]:
    """Yield the records' text in pieces of about 64 KiB at most."""
    piece = bytearray()
    since = options.since.encode()
    for record in records:
        timestamp, kind, text = record.split(b" ", 2)
        if timestamp < since:
            continue
        piece += timestamp + b" " + text if options.timestamps else text
        if kind == b"P":
            del piece[-1]
        if len(piece) >= _CHUNK:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _timestamp(nanoseconds: int) -> str:
    seconds, rest = divmod(max(0, nanoseconds), 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


async def serve_log(request: web.Request, pod: Json, keeper: LogKeeper) -> web.StreamResponse:
    """Stream the log of one of the pod's containers as text; raise ApiError (400)."""
    name = container_name(request, pod)
    options = _options(request)
    groups = ("containerStatuses", "initContainerStatuses")
    statuses = [each for group in groups for each in pod["status"].get(group, [])]
    status: Json = next((each for each in statuses if each["name"] == name), {})
    run = status.get("restartCount", 0) - flag(request, "previous")
    container = f'container "{name}" in pod "{pod["metadata"]["name"]}"'
    if run < 0:
        raise bad_request(f"previous terminated {container} not found")
    file, log = keeper.log(pod, name, run)
    if not file.exists():
        reason = dig(status, "state.waiting.reason") or "ContainerCreating"
        raise bad_request(f"{container} is waiting to start: {reason}")
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    with suppress(ConnectionResetError):
        async for piece in read(file, options, log):
            await response.write(piece)
        await response.write_eof()
    return response


def container_name(request: web.Request, pod: Json) -> str:
    """Return the container that the request names, or the only one; raise ApiError (400)."""
    mains = [container["name"] for container in pod["spec"]["containers"]]
    inits = [container["name"] for container in pod["spec"].get("initContainers") or []]
    pod_name = pod["metadata"]["name"]
    name = request.query.get("container") or (mains[0] if len(mains) == 1 else "")
    if not name:
        why = f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(mains)}]"
        raise bad_request(why + (f" or one of the init containers: [{' '.join(inits)}]" if inits else ""))
    if name not in (*mains, *inits):
        raise bad_request(f"container {name} is not valid for pod {pod_name}")
    return str(name)


def _options(request: web.Request) -> LogOptions:
    for name in ("limitBytes", "sinceTime"):
        if name in request.query:
            raise bad_request(f"{name} is not supported by this endpoint: use tailLines or sinceSeconds")
    tail, seconds = number(request, "tailLines"), number(request, "sinceSeconds")
    if (tail or 0) < 0 or (seconds or 1) < 1:
        raise bad_request("tailLines must be at least 0, and sinceSeconds at least 1")
    since = "" if seconds is None else _timestamp(time.time_ns() - seconds * 10**9)
    return LogOptions(flag(request, "follow"), flag(request, "timestamps"), tail, since)
