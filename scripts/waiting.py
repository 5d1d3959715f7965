"""Wait by polling, for conditions that have no event to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(predicate: Callable[[], bool], seconds: float, interval: float = 0.1) -> bool:
    """Poll every ``interval`` seconds until the predicate is true or time is up; return whether it is."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
