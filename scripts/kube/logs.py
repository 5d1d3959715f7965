"""A container's log: lines with their time, in a file, and those who follow it.

Each record is `<time> F|P <text>\\n`, as container runtimes write it: F for a full line, P for a part of
one (a line that ended with its container, or one too long to wait for).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_CHUNK = 65536
_LONGEST = 16384


@dataclass(frozen=True)
class LogOptions:
    """What of a log is asked for; `since` is the first time wanted, as written in the log."""

    follow: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: str = ""
    limit: int | None = None


class Log:
    """The log of one run of a container, while it is written; fed by a pipe."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.closed = False
        self._grown = asyncio.Event()
        self._stream = file.open("ab", buffering=0)
        self._rest = b""
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        asyncio.get_running_loop().add_reader(self._reader, self._read)

    def started(self) -> None:
        """The process has its own end of the pipe: this one would keep it open for ever."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def drain(self) -> None:
        """Takes what is left in the pipe once the process has ended, and lets go of pipe and file."""
        self.started()
        while self._read():
            pass
        asyncio.get_running_loop().remove_reader(self._reader)
        os.close(self._reader)
        if self._rest:
            self._write([self._rest], partial=True)
            self._rest = b""
        self._stream.close()

    def close(self) -> None:
        """Tells who follows that nothing comes any more."""
        self.closed = True
        self._announce()

    @property
    def grown(self) -> asyncio.Event:
        """What is set once there is more to read than now, or the log is closed."""
        return self._grown

    def _read(self) -> bool:
        try:
            data = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            asyncio.get_running_loop().remove_reader(self._reader)
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            self._write(lines)
        if len(self._rest) >= _LONGEST:
            self._write([self._rest], partial=True)
            self._rest = b""
        return True

    def _write(self, lines: list[bytes], *, partial: bool = False) -> None:
        prefix = _timestamp().encode() + (b" P " if partial else b" F ")
        self._stream.write(b"".join(prefix + line + b"\n" for line in lines))
        self._announce()

    def _announce(self) -> None:
        event, self._grown = self._grown, asyncio.Event()
        event.set()


async def read(file: Path, options: LogOptions, log: Log | None) -> AsyncIterator[bytes]:
    """The log's text in pieces; with `follow` it goes on until `log`, which is being written, is closed."""
    left = options.limit
    offset = 0
    tail = options.tail
    while True:
        closed = log is None or log.closed
        grown = log.grown if log is not None and options.follow else None
        records, offset = _records(file, offset)
        text = _text(records if tail is None else iter(deque(records, maxlen=tail)), options)
        tail = None
        for piece in text:
            piece = piece if left is None else piece[:left]
            left = None if left is None else left - len(piece)
            if piece:
                yield piece
        if grown is None or closed or left == 0:
            return
        await grown.wait()


def last_lines(file: Path, lines: int, limit: int) -> str:
    """The end of a log: at most so many lines and bytes."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        # Every record carries some 34 bytes beside its text, so this much holds `limit` bytes of text.
        stream.seek(max(0, size - limit - lines * 40))
        if stream.tell():
            stream.readline()
        text = b"".join(_text(iter(stream.readlines()[-lines:]), LogOptions()))
    return text[-limit:].decode(errors="replace")


def since(seconds: float) -> str:
    """The time so many seconds ago, as logs write it."""
    return datetime.fromtimestamp(max(0, time.time() - seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _records(file: Path, offset: int) -> tuple[Iterator[bytes], int]:
    """The whole records from an offset on, and the offset after them."""
    end = file.stat().st_size

    def lines() -> Iterator[bytes]:
        position = offset
        with file.open("rb") as stream:
            stream.seek(position)
            while position < end:
                line = stream.readline()
                position += len(line)
                yield line

    return lines(), end


def _text(records: Iterator[bytes], options: LogOptions) -> Iterator[bytes]:
    """The records as a reader wants them, in pieces of some size."""
    piece = bytearray()
    first = options.since.encode()
    for record in records:
        timestamp, flag, text = record.split(b" ", 2)
        if timestamp < first:
            continue
        piece += timestamp + b" " + text if options.timestamps else text
        if flag == b"P":
            del piece[-1]
        if len(piece) >= _CHUNK:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _timestamp() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"
