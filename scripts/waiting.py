"""One way to wait for what has no event to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(predicate: Callable[[], bool], seconds: float) -> bool:
    """Look ten times a second until it is so, or the time is up; say whether it is so."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
