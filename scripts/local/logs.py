"""The components' logs, each line under its component's name, without secrets."""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from scripts.local.errors import StackError
from scripts.local.passwords import passwords
from scripts.local.settings import Settings

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")


class Printer:
    """Prints log lines under their component's name."""

    def __init__(self, settings: Settings, names: list[str], to: TextIO) -> None:
        self._console = Console(file=to, highlight=False, soft_wrap=True)
        self._names = names
        self._width = max((len(name) for name in names), default=0)
        self._secrets = passwords(settings.state)

    def line(self, name: str, text: str) -> None:
        """One line of this component's."""
        colour = COLOURS[self._names.index(name) % len(COLOURS)]
        prefix = Text(f"{name:{self._width}} | ", style=colour)
        self._console.print(prefix + Text.from_ansi(self._secrets.hide(text.rstrip("\n"))))


def show(settings: Settings, names: list[str], *, lines: int, follow: bool) -> int:
    """Print the last lines of these components' logs, or of all, and go on as they grow if asked to."""
    found = {path.stem: path for path in sorted(settings.logs.glob("*.log"))}
    for name in names:
        if name not in found:
            known = ", ".join(found) or "none yet: run up first"
            raise StackError(f"there is no log of {name!r}; there are: {known}")
    chosen = {name: path for name, path in found.items() if not names or name in names}
    if not chosen:
        raise StackError(f"there are no logs in {settings.logs}: run up first")
    printer = Printer(settings, list(chosen), sys.stdout)
    for name, path in chosen.items():
        for line in tail(path, lines):
            printer.line(name, line)
    if follow:
        go_on(printer, chosen)
    return 0


def print_tail(settings: Settings, name: str, lines: int = 30) -> None:
    """Print the end of one component's log on stderr, if it has one."""
    path = settings.logs / f"{name}.log"
    if path.exists():
        printer = Printer(settings, [name], sys.stderr)
        for line in tail(path, lines):
            printer.line(name, line)


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a file."""
    with path.open(errors="replace") as file:
        return list(deque(file, maxlen=max(0, lines)))


def go_on(printer: Printer, paths: dict[str, Path]) -> None:
    """Print what is added to the files, until interrupted; a file started anew is read from its start."""
    at = {name: path.stat().st_size for name, path in paths.items()}
    while True:
        for name, path in paths.items():
            size = path.stat().st_size if path.exists() else 0
            if size < at[name]:
                at[name] = 0
            if size > at[name]:
                with path.open(errors="replace") as file:
                    file.seek(at[name])
                    for line in file:
                        printer.line(name, line)
                    at[name] = file.tell()
        time.sleep(0.2)
