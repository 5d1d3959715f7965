"""The CPU wall in small, for a terminal: a tile per CPU, the clock rate, and the answers when they come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, get_args

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from scripts.snapshot import Answer, Snapshot, State

OTHER_LINES = 8
"""The lines of a terminal that are kept free of tiles: answers, counts, a note, and the shell's prompt."""


class Look(NamedTuple):
    """How a state is shown: a sign, so that colour is not needed to tell states apart, and a style."""

    sign: str
    style: str


LOOKS: dict[State, Look] = {
    "waiting": Look("·", "dim"),
    "running": Look("▶", "blue"),
    "loop": Look("↻", "magenta"),
    "end": Look("✔", "bold green"),
    "fault": Look("✖", "red"),
    "stopped": Look("■", "bright_black"),
    "invalid": Look("–", "bright_black"),
    "gone": Look("?", "bright_black"),
}


@dataclass(frozen=True)
class DemoWall:
    """One picture of the wall.

    `lit`: the CPUs that have executed a cycle since the picture before. `rate`: the cycles per second now.
    `began`: when the demo began, by the monotonic clock. `is_last`: no other follows, but the answers do.
    """

    view: Snapshot
    lit: frozenset[int]
    rate: float
    note: str
    began: float
    is_last: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines, with as many tiles as the terminal has room for."""
        if not self.is_last:
            for part, text in answers(self.view).items():
                yield Text.assemble((f"{part}: ", "bold"), (text, "bold green"))
        yield from self._tiles(options.max_width, max(1, console.height - OTHER_LINES))
        yield Text(f"{_clock(time.monotonic() - self.began)}  {self._counts()}")
        yield self._legend()
        if self.note and not self.is_last:
            yield Text(self.note)

    def _tiles(self, width: int, height: int) -> Iterator[Text]:
        """Yield rows of tiles: with the CPUs' numbers if all fit, or else only signs, as many as fit."""
        cpus = self.view.cpus
        digits = len(str(max((cpu.cpu for cpu in cpus), default=0)))
        per_row = max(1, width // (digits + 3))
        if numbered := len(cpus) <= per_row * height:
            tiles = [(f"{cpu.cpu:{digits}} {LOOKS[cpu.state].sign}", cpu) for cpu in cpus]
        else:
            per_row = width
            tiles = [(LOOKS[cpu.state].sign, cpu) for cpu in cpus[: per_row * height]]
        for first in range(0, len(tiles), per_row):
            row = Text(no_wrap=True)
            for text, cpu in tiles[first : first + per_row]:
                style = LOOKS[cpu.state].style
                row.append(text, f"{style} reverse" if cpu.cpu in self.lit else style)
                row.append(" " if numbered else "")
            yield row
        if len(tiles) < len(cpus):
            yield Text(f"… and {len(cpus) - len(tiles)} more CPUs")

    def _counts(self) -> str:
        now = "" if self.is_last else f"{self.rate:.1f} Hz now, "
        return (
            f"{self.view.stopped} of {len(self.view.cpus)} CPUs stopped · {self.view.cycles} cycles · "
            f"{now}{mean_rate(self.view):.1f} Hz since the start"
        )

    def _legend(self) -> Text:
        counts = self.view.states
        shown: list[str | tuple[str, str]] = []
        for state in get_args(State):
            if counts[state]:
                shown += [(f"{LOOKS[state].sign} {counts[state]} {state}", LOOKS[state].style), "  "]
        return Text.assemble(*shown)


def answers(view: Snapshot) -> dict[str, str]:
    """Return the answers that are known by now, by part, such as ``8 (line 8: jmp -4 → nop -4)``."""
    found = {"Part 1": view.part1(), "Part 2": view.part2()}
    return {part: _text(view, answer) for part, answer in found.items() if answer}


def _text(view: Snapshot, answer: Answer) -> str:
    cpu = view.cpu(answer.cpu) if answer.cpu else None
    return f"{answer.text} (line {cpu.line}: {cpu.swap})" if cpu else answer.text


def mean_rate(view: Snapshot) -> float:
    """Return the cycles per second since the program was stored, until the last CPU has stopped."""
    seconds = (view.ended or view.now) - view.stored
    return view.cycles / seconds if seconds > 0 else 0.0


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
