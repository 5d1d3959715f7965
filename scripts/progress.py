"""Show on standard error what a command is doing: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import track
from rich.status import Status

T = TypeVar("T")


def is_live(console: Console) -> bool:
    """Return whether the console can move its cursor: it is a terminal, and TERM is not `dumb`."""
    return console.is_terminal and not console.is_dumb_terminal


class Progress:
    """Shows one step at a time, with the seconds since the command's start."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._status: Status | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Progress:
        if is_live(self._console):
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Remove the live line."""
        if self._status:
            self._status.stop()

    def show(self, step: str) -> None:
        """Show the step that begins now."""
        seconds = time.monotonic() - self._began
        if self._status:
            self._status.update(f"{step} [dim]({seconds:.0f} s)[/dim]")
        else:
            self._console.print(f"{seconds:5.1f} s  {step}", soft_wrap=True)


def with_progress_bar(items: Sequence[T], description: str) -> Iterable[T]:
    """Yield the items; show a bar of how many are done where it can move."""
    console = Console(stderr=True)
    return track(items, description, console=console, transient=True, disable=not is_live(console))
