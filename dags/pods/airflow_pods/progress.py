"""How far a set of pods is, reported once per second at most."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

PROGRESS_SECONDS = 1.0
"""The least time between two reports."""
PROGRESS_KEY = "progress"
"""The key of the XCom in which PodExecutor keeps the progress of a set while the task runs."""


@dataclass(frozen=True)
class Progress:
    """How far a set is: numbers of indices, except for ``created`` and ``running``, which count pods."""

    count: int
    created: int
    """By this try; pods that earlier tries created are taken over."""
    running: int
    """Created or taken over, and not ended."""
    succeeded: int
    failed: int
    remaining: int
    failed_indices: str
    """Such as ``3,17-19``."""
    last_failure: str
    """Why the last pod failed; "" if none has."""
    refusal: str
    """Why the API has refused to create another pod; "" if it has created one since."""

    def to_json(self) -> dict[str, Any]:
        """Return what the XCom holds: the indices, without what a pod has said, which is for the log."""
        return {
            "count": self.count,
            "running": self.running,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "failed_indices": self.failed_indices,
        }


OnProgress = Callable[[Progress], object]


class Reports:
    """Calls somebody with the progress: when it has changed, and at most once per PROGRESS_SECONDS."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._next = -math.inf
        self._last: tuple[object, ...] = ()

    def report(self, progress: Callable[[], Progress], now: float, at_once: bool = False) -> float:
        """Report what `progress` returns, if a report is due; return when the next one will be."""
        if self._on_progress is None:
            return math.inf
        if now < self._next and not at_once:
            return self._next
        current = progress()
        if astuple(current) == self._last:
            return math.inf
        self._last = astuple(current)
        self._next = now + PROGRESS_SECONDS
        self._on_progress(current)
        return self._next
