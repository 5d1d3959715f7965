"""The pace at which a set creates its pods: slower when the API refuses one, then faster again. No I/O."""

from __future__ import annotations

import math
import random

MOST_AT_ONCE = 16
"""How many creations may be in flight at once."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 15.0
"""The pause in seconds after the first refusal in a row, and after many."""


class Pace:
    """Decides when another pod may be created. All times are seconds of one clock.

    After a refusal nothing is created during a pause; then one pod at a time, and one more at once for each
    that is accepted. Where a quota is full, only as many pods as fitted are in flight; after a pause one more
    is tried.
    """

    def __init__(self) -> None:
        self._at_once = MOST_AT_ONCE
        self._paused_until = -math.inf
        self._refused_at = -math.inf
        self._refusals = 0  # in a row
        self._room: int | None = None  # how many pods in flight a full quota has room for
        self._full_until = -math.inf

    def next_time(self, creating: int, in_flight: int) -> float:
        """Return when another pod may be created; infinity if the answer to a creation comes first.

        ``in_flight`` counts the pods that have not ended, with those that are being created.
        """
        if creating >= self._at_once:
            return math.inf
        if self._room is not None and in_flight >= self._room:
            return max(self._paused_until, self._full_until)
        return self._paused_until

    def accepted(self, in_flight: int) -> None:
        """Note that a pod was created beside so many others."""
        self._refusals = 0
        self._at_once = min(self._at_once + 1, MOST_AT_ONCE)
        if self._room is not None and in_flight >= self._room:
            self._room = None

    def refused(self, begun: float, now: float, retry_after: float = 0) -> None:
        """Note that the API refused a creation that began then, and asks for a pause of so many seconds."""
        self._paused_until = max(self._paused_until, now + max(self._pause(begun, now), retry_after))

    def quota_is_full(self, begun: float, now: float, in_flight: int) -> None:
        """Note that a quota refused a creation that began then, while so many others were in flight."""
        pause = self._pause(begun, now)
        self._room = in_flight
        # With pods in flight, the end of one of them makes room before that.
        self._full_until = now + (LONGEST_PAUSE if in_flight else pause)

    def _pause(self, begun: float, now: float) -> float:
        """Return the length of the next pause, twice the last one's unless it is the same refusal."""
        if begun > self._refused_at:  # else it was in flight when another one was refused
            self._refusals += 1
        self._refused_at = now
        self._at_once = 1
        longest = min(SHORTEST_PAUSE * 2.0 ** (self._refusals - 1), LONGEST_PAUSE)
        return longest * random.uniform(0.75, 1)  # noqa: S311
