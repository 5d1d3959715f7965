"""``logs``: the components' logs, each line after its component's name, with secrets starred out."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from scripts.local.errors import StackError
from scripts.local.passwords import passwords
from scripts.local.settings import Settings

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")
FOLLOW_SECONDS = 0.2
"""How often the files are checked for new lines."""


def show(settings: Settings, names: list[str], *, lines: int, follow: bool) -> int:
    """Print the last lines of these components' logs, or of all, and keep printing new lines if ``follow``.

    Raises StackError for a component without a log.
    """
    found = {path.stem: path for path in sorted(settings.logs.glob("*.log"))}
    for name in names:
        if name not in found:
            known = ", ".join(found) or "none yet: run up first"
            raise StackError(f"there is no log of {name!r}; there are: {known}")
    chosen = {name: path for name, path in found.items() if not names or name in names}
    if not chosen:
        raise StackError(f"there are no logs in {settings.logs}: run up first")
    printer = _Printer(settings, list(chosen), sys.stdout)
    for name, path in chosen.items():
        printer.print(name, tail(path, lines))
    if follow:
        _follow(printer, chosen)
    return 0


def print_tail(settings: Settings, name: str, lines: int = 30) -> None:
    """Print the last lines of one component's log on standard error, if it has a log."""
    path = settings.logs / f"{name}.log"
    if path.exists():
        _Printer(settings, [name], sys.stderr).print(name, tail(path, lines))


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a file."""
    with path.open(errors="replace") as file:
        return list(deque(file, maxlen=max(0, lines)))


class _Printer:
    """Prints log lines, each after its component's name in a colour of its own."""

    def __init__(self, settings: Settings, names: list[str], to: TextIO) -> None:
        self._console = Console(file=to, highlight=False, soft_wrap=True)
        self._names = names
        self._width = max((len(name) for name in names), default=0)
        self._secrets = passwords(settings.state)

    def print(self, name: str, lines: Iterable[str]) -> None:
        colour = COLOURS[self._names.index(name) % len(COLOURS)]
        prefix = Text(f"{name:{self._width}} | ", style=colour)
        for line in lines:
            self._console.print(prefix + Text.from_ansi(self._secrets.hide(line.rstrip("\n"))))


def _follow(printer: _Printer, paths: dict[str, Path]) -> None:
    """Print what is appended to the files until interrupted; a truncated file is read from its beginning."""
    positions = {name: path.stat().st_size for name, path in paths.items()}
    while True:
        for name, path in paths.items():
            size = path.stat().st_size if path.exists() else 0
            if size < positions[name]:
                positions[name] = 0
            if size > positions[name]:
                with path.open(errors="replace") as file:
                    file.seek(positions[name])
                    printer.print(name, file)
                    positions[name] = file.tell()
        time.sleep(FOLLOW_SECONDS)
