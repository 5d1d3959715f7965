"""What the containers of this machine share, and how many of them may start at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from scripts.kube.events import Recorder
from scripts.kube.images import Images
from scripts.kube.processes import Process, Processes
from scripts.kube.store import Store

STARTING_SECONDS = 0.5


class Slots:
    """How many containers may be starting at once.

    A start takes its slot until the container ends, or for half a second: interpreters that start all at
    once only slow one another down, containers that run on must not hold others up.
    """

    def __init__(self, number: int) -> None:
        self._slots = asyncio.Semaphore(number)

    async def take(self) -> None:
        """Waits for a slot."""
        await self._slots.acquire()

    def give_back(self, process: Process | None) -> None:
        """Frees the slot: now if nothing was started, else when the process is past its start."""
        if process is None:
            self._slots.release()
            return
        timer = asyncio.get_running_loop().call_later(STARTING_SECONDS, self._slots.release)

        def ended(_exited: asyncio.Future[int]) -> None:
            if timer.when() > asyncio.get_running_loop().time():
                timer.cancel()
                self._slots.release()

        process.exited.add_done_callback(ended)


@dataclass(frozen=True)
class Node:
    """What the containers of this machine share."""

    folder: Path
    store: Store
    recorder: Recorder
    images: Images
    processes: Processes
    slots: Slots
