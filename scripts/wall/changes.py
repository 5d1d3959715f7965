"""What has changed on the wall since a page last asked, so that a poll costs as much as there is news."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cachetools import TTLCache

from scripts.wall.models import Wall

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_KEPT = 32
"""Of how many start runs the previous moment is kept."""
KEEP_SECONDS = 60
"""How long it is kept; a page that asks less often gets all CPUs."""
SERVER = secrets.token_hex(4)
"""Tells the versions of this process from those of other API servers, which count for themselves."""


@dataclass(frozen=True)
class Moment:
    """A start run at one moment, with all CPUs, and the number at which each CPU last changed."""

    number: int
    wall: Wall
    changed: Mapping[int, int]

    def since(self, version: str) -> bytes:
        """Return as JSON what has changed since that version; everything if this process does not know it."""
        server, _, text = version.partition("-")
        if server != SERVER or not (text.isascii() and text.isdigit()):
            return self._everything
        before = int(text)
        cpus = [cpu for cpu in self.wall.cpus if self.changed[cpu.cpu] > before]
        return self.wall.model_copy(update={"cpus": cpus, "complete": False}).model_dump_json().encode()

    @cached_property
    def _everything(self) -> bytes:
        return self.wall.model_dump_json().encode()


class Moments:
    """The latest moment of each start run that is being watched."""

    def __init__(self) -> None:
        self._latest: TTLCache[str, Moment] = TTLCache(MAX_KEPT, KEEP_SECONDS)
        self._numbers = 0
        self._lock = threading.Lock()

    def add(self, wall: Wall) -> Moment:
        """Return the moment at which a start run is as this wall says, compared with the previous one."""
        with self._lock:
            self._numbers += 1
            number, previous = self._numbers, self._latest.get(wall.start)
            before = {cpu.cpu: cpu for cpu in previous.wall.cpus} if previous else {}
            changed = {
                cpu.cpu: previous.changed[cpu.cpu] if previous and before.get(cpu.cpu) == cpu else number
                for cpu in wall.cpus
            }
            versioned = wall.model_copy(update={"version": f"{SERVER}-{number}"})
            moment = self._latest[wall.start] = Moment(number, versioned, changed)
            return moment
