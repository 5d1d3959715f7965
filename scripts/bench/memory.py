"""The memory of processes and all that they have started, measured without the rights of root."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import psutil

INTERVAL_SECONDS = 1.0
"""The time between two looks: a look takes some milliseconds, and is not the components' own CPU time."""


@dataclass
class Peak:
    """The bytes of memory at first, and the most since then."""

    idle: int
    most: int

    @property
    def above_idle(self) -> int:
        """The most bytes, above those at first."""
        return self.most - self.idle


def memory_of(roots: Collection[int]) -> int:
    """Return the bytes of memory of these processes and all below them.

    On Linux, pages that several processes share count once: forked workers share most of theirs. Elsewhere,
    shared pages do not count.
    """
    total = 0
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(root)
            total += sum(_memory(process) for process in [first, *first.children(recursive=True)])
    return total


def _memory(process: psutil.Process) -> int:
    """Return the bytes of a process; 0 if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        memory = process.memory_full_info()
        return int(getattr(memory, "pss", memory.uss))
    return 0


@contextlib.contextmanager
def peak_memory(read: Callable[[], int], interval: float = INTERVAL_SECONDS) -> Iterator[Peak]:
    """Call ``read`` at first and then every ``interval`` seconds, in a thread, until the block is left."""
    first = read()
    peak, is_over = Peak(first, first), threading.Event()

    def look() -> None:
        while not is_over.wait(interval):
            peak.most = max(peak.most, read())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()
