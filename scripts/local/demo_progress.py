"""The demo's progress on standard error: a bar in a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import time
from typing import get_args

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from scripts.snapshot import Snapshot, State

LINE_SECONDS = 10.0
"""The time between two lines if there is no terminal."""
RATE_SECONDS = 30.0
"""The time over which cycles per second are counted."""
BAR_WIDTH = 24


class DemoProgress:
    """Shows how many CPUs have stopped, or what is waited for."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._began = time.monotonic()
        self._last_line = self._began - LINE_SECONDS
        self._counts: list[tuple[float, int]] = []
        self._bar = Progress(
            TimeElapsedColumn(),
            BarColumn(BAR_WIDTH),
            # Takes the rest of the line, and wraps.
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1)),
            expand=True,
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> DemoProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, view: Snapshot, note: str) -> None:
        """Show how many CPUs have stopped, followed by a note."""
        self._bar.update(self._task, total=len(view.cpus), completed=view.stopped)
        self.show(f"{describe(view, self._rate(view.cycles))}{note}")

    def show(self, line: str) -> None:
        """Show a line without changing the bar."""
        self._bar.update(self._task, description=line)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self._console.print(f"{now - self._began:5.0f} s  {line}", markup=False, soft_wrap=True)

    def _rate(self, cycles: int) -> float:
        """Return the cycles per second over the last RATE_SECONDS."""
        now = time.monotonic()
        self._counts = [
            *((at, count) for at, count in self._counts if now - at < RATE_SECONDS),
            (now, cycles),
        ]
        since, before = self._counts[0]
        return (cycles - before) / (now - since) if now > since else 0.0


def describe(view: Snapshot, rate: float) -> str:
    """Return ``2 of 5 CPUs stopped · 21 cycles, 1.4 per second · 3 running, 1 loop, 1 end``."""
    counts = view.states
    states = ", ".join(f"{counts[state]} {state}" for state in get_args(State) if counts[state])
    stopped = f"{view.stopped} of {len(view.cpus)} CPUs stopped"
    return f"{stopped} · {view.cycles} cycles, {rate:.1f} per second · {states}"
