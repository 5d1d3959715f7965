"""The demo's progress on standard error: the wall in small in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import get_args

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from scripts.local.demo_wall import DemoWall, answers
from scripts.progress import is_live
from scripts.snapshot import Snapshot, State

LINE_SECONDS = 10.0
"""The time between two lines if there is no terminal."""
RATE_SECONDS = 10.0
"""The time over which the clock rate is counted."""


class DemoProgress:
    """Shows the CPUs of a start run, or what is waited for."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console) if is_live(self._console) else None
        self._began = time.monotonic()
        self._last_line = self._began - LINE_SECONDS
        self._counts: list[tuple[float, int]] = []
        self._wall: DemoWall | None = None
        self._answers: dict[str, str] = {}

    def __enter__(self) -> DemoProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave the wall in the terminal; without the answers if the caller prints them below."""
        if self._live:
            if self._wall and kind is None:
                self._live.update(replace(self._wall, is_last=True), refresh=True)
            self._live.stop()

    def update(self, view: Snapshot, note: str) -> None:
        """Show the CPUs, the clock rate, the answers that are known by now, and a note."""
        rate = self._rate(view.cycles)
        if self._live:
            before = {cpu.cpu: cpu.cycle for cpu in self._wall.view.cpus} if self._wall else {}
            lit = frozenset(cpu.cpu for cpu in view.cpus if cpu.cycle != before.get(cpu.cpu, 0))
            self._wall = DemoWall(view, lit, rate, note.removeprefix(" · "), self._began)
            self._live.update(self._wall, refresh=True)
            return
        known = answers(view)
        for part, text in known.items():
            if part not in self._answers:
                self._print(f"{part}: {text}")
        self._answers = known
        self.show(f"{describe(view, rate)}{note}")

    def show(self, line: str) -> None:
        """Show a line: below the tiles in a terminal; elsewhere every LINE_SECONDS."""
        if self._live:
            self._live.update(
                replace(self._wall, note=line) if self._wall else Spinner("dots", Text(line)), refresh=True
            )
        elif time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            self._print(line)

    def _print(self, line: str) -> None:
        seconds = time.monotonic() - self._began
        self._console.print(f"{seconds:5.0f} s  {line}", markup=False, soft_wrap=True)

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
    """Return ``2 of 5 CPUs stopped · 21 cycles, 1.4 Hz · 3 running, 1 loop, 1 end``."""
    counts = view.states
    states = ", ".join(f"{counts[state]} {state}" for state in get_args(State) if counts[state])
    stopped = f"{view.stopped} of {len(view.cpus)} CPUs stopped"
    return f"{stopped} · {view.cycles} cycles, {rate:.1f} Hz · {states}"
