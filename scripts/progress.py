"""A live line of what is being waited for; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import track
from rich.status import Status

T = TypeVar("T")


class Progress:
    """Shows one thing at a time; how long each took is told when it is over."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._status: Status | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Nothing more is waited for."""
        if self._status:
            self._status.stop()

    def say(self, what: str) -> None:
        """What is being done from now on."""
        seconds = time.monotonic() - self._began
        if self._status:
            self._status.update(f"{what} [dim]({seconds:.0f} s)[/dim]")
        else:
            self._console.print(f"{seconds:5.1f} s  {what}")


def counted(things: Sequence[T], what: str) -> Iterable[T]:
    """The things one by one, and in a terminal a bar of how many are done."""
    console = Console(stderr=True)
    return track(things, what, console=console, transient=True, disable=not console.is_terminal)
