"""A container's log: a file of lines with their times, and its readers.

Each record is `<time> F|P <text>\\n`, as container runtimes write it: F for a full line, P for a part of
one (the rest of a line at the container's end, or a line too long to wait for).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 65536
_LONGEST_LINE = 16384


@dataclass(frozen=True)
class LogOptions:
    """What to read: `since` is the first time, as written in the log; `limit` is in bytes."""

    follow: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: str = ""
    limit: int | None = None


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
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"
        self._stream.write(b"".join(b"%s %s %s\n" % (now.encode(), kind, line) for line in lines))
        self._announce()

    def _announce(self) -> None:
        event, self.changed = self.changed, asyncio.Event()
        event.set()


async def read(file: Path, options: LogOptions, log: Log | None) -> AsyncIterator[bytes]:
    """Yield the log's text in pieces; with `follow`, until `log`, which is being written, is closed."""
    left, tail = options.limit, options.tail
    with file.open("rb") as stream:
        while True:
            # Taken before the file is read, so that no change after the reading is missed.
            follows, changed = options.follow and log and not log.closed, log and log.changed
            for piece in _text(stream if tail is None else deque(stream, tail), options):
                yield piece if left is None else piece[:left]
                left = None if left is None else left - len(piece)
                if left is not None and left <= 0:
                    return
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
    """Yield the records' text in pieces of at most some 64 KiB."""
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
