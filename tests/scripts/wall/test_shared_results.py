"""One look for everybody: shared, by a few threads, and waited for briefly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from scripts.wall.shared_results import SharedResults

SOON, LONG = 0.05, 30.0


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set it, and looks that hang end; no thread outlives a test."""
    event = threading.Event()
    yield event
    event.set()


def looks(threads: int = 2, wait: float = LONG, fresh: float = 0.0, stale: float = LONG) -> SharedResults:
    return SharedResults(threads, wait_seconds=wait, fresh_seconds=fresh, stale_seconds=stale)


class Counted:
    """A look that counts how often it is made, and how often at once; it may hang."""

    def __init__(self, until: threading.Event | None = None) -> None:
        self.made, self.now, self.most = 0, 0, 0
        self._until, self._lock = until, threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.made, self.now = self.made + 1, self.now + 1
            self.most = max(self.most, self.now)
        if self._until:
            self._until.wait(LONG)
        with self._lock:
            self.now -= 1
        return self.made


async def test_all_who_ask_at_once_share_one_look() -> None:
    one, look = looks(), Counted()
    assert await asyncio.gather(*(one.get("a", look) for _ in range(60))) == [1] * 60


async def test_a_fresh_result_is_shared_and_an_older_one_made_anew() -> None:
    fresh, old, look = looks(fresh=LONG), looks(), Counted()
    assert [await fresh.get("a", look) for _ in range(2)] == [1, 1]
    assert [await old.get("a", look) for _ in range(2)] == [2, 3]


async def test_looks_that_hang_take_no_more_than_the_threads_they_have(released: threading.Event) -> None:
    few, look = looks(threads=2, wait=SOON), Counted(released)
    asked = [few.get(str(number), look) for number in range(60)]
    assert {type(found) for found in await asyncio.gather(*asked, return_exceptions=True)} == {TimeoutError}
    assert (look.made, look.most) == (2, 2)


async def test_a_look_that_nobody_waits_for_any_more_is_never_made(released: threading.Event) -> None:
    few, hanging, queued = looks(threads=1, wait=SOON), Counted(released), Counted()
    for name, look in (("a", hanging), ("b", queued)):
        with pytest.raises(TimeoutError):
            await few.get(name, look)
    released.set()
    await until(lambda: hanging.now == 0)
    assert await few.get("c", Counted()) == 1
    assert queued.made == 0


async def test_the_last_result_is_given_while_a_new_one_takes_long(released: threading.Event) -> None:
    patient = looks(wait=SOON)

    def second() -> str:
        released.wait(LONG)
        return "second"

    assert await patient.get("a", lambda: "first") == "first"
    assert await patient.get("a", second) == "first"
    released.set()
    for _ in range(1000):
        if (found := await patient.get("a", lambda: "third")) != "first":
            break
    assert found in ("second", "third")


async def test_all_who_ask_are_told_the_same_error_and_the_next_look_may_succeed() -> None:
    one = looks()

    def broken() -> None:
        raise LookupError("not kept")

    found = await asyncio.gather(*(one.get("a", broken) for _ in range(5)), return_exceptions=True)
    assert {str(error) for error in found} == {"not kept"}
    assert await one.get("a", lambda: 1) == 1


async def until(predicate: Callable[[], bool]) -> None:
    for _ in range(2000):
        if predicate():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("still not so")
