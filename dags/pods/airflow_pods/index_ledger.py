"""The ledger of a set of pods: which indices are new, in flight, done or failed. Plain data, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

_NEW, _TAKEN, _SUCCEEDED, _FAILED = range(4)
LIST_CHARACTERS = 1000
"""The length of a list of indices, from which on it is cut off."""


class IndexLedger:
    """What has become of each index; one byte each.

    An index is new until a pod of it is created or found, then taken until it has succeeded or failed.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.succeeded = 0
        self.failed = 0
        self._states = bytearray(count)
        self._next = 0  # all indices before it have been taken at least once
        self._again: deque[int] = deque()  # taken, and to be given out again

    @property
    def remaining(self) -> int:
        """How many indices have neither succeeded nor failed."""
        return self.count - self.succeeded - self.failed

    def is_new(self, index: int) -> bool:
        """Return whether no pod of this index has been created or found."""
        return self._states[index] == _NEW

    def is_ended(self, index: int) -> bool:
        """Return whether the index has succeeded or failed."""
        return self._states[index] in (_SUCCEEDED, _FAILED)

    def take(self, index: int) -> None:
        """Note that there is a pod of this index."""
        self._states[index] = _TAKEN

    def take_next(self) -> int | None:
        """Take the next index that needs a pod; return None if there is none now."""
        if self._again:
            return self._again.popleft()
        while self._next < self.count:
            index = self._next
            self._next += 1
            if self.is_new(index):
                self.take(index)
                return index
        return None

    def give_back(self, index: int) -> None:
        """Let a taken index be given out again, before all new ones."""
        self._again.append(index)

    def succeed(self, index: int) -> None:
        """Note that a taken or new index has succeeded."""
        self._states[index] = _SUCCEEDED
        self.succeeded += 1

    def fail(self, index: int) -> None:
        """Note that a taken index has failed for good."""
        self._states[index] = _FAILED
        self.failed += 1

    def failed_indices(self, most: int = LIST_CHARACTERS) -> str:
        """Return the failed indices as text, such as ``3,17-19``."""
        return compressed(self._failed(), most)

    def _failed(self) -> Iterator[int]:
        index = self._states.find(_FAILED)
        while index >= 0:
            yield index
            index = self._states.find(_FAILED, index + 1)


def compressed(indices: Iterable[int], most: int = LIST_CHARACTERS) -> str:
    """Return ascending indices as text: single ones and ranges, ``3,17-19``, of at most so many characters.

    What is left out at the end is counted: ``3,17-19 and 4012 more``.
    """
    parts: list[str] = []
    length = left_out = 0
    for first, last in _ranges(indices):
        part = str(first) if first == last else f"{first}-{last}"
        length += len(part) + 1
        if length > most + 1 or left_out:
            left_out += last - first + 1
        else:
            parts.append(part)
    return ",".join(parts) + (f" and {left_out} more" if left_out else "")


def _ranges(indices: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for index in indices:
        if first is None or last is None:
            first = index
        elif index != last + 1:
            yield first, last
            first = index
        last = index
    if first is not None and last is not None:
        yield first, last
