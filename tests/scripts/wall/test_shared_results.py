"""Request coalescing: results are shared, made by a few threads, and waited for briefly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from scripts.wall.shared_results import SharedResults

SOON, LONG = 0.05, 30.0


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """An event that ends the computations that hang: no thread outlives a test."""
    event = threading.Event()
    yield event
    event.set()


def shared_results(
    threads: int = 2, wait: float = LONG, fresh: float = 0.0, stale: float = LONG
) -> SharedResults:
    return SharedResults(threads, wait_seconds=wait, fresh_seconds=fresh, stale_seconds=stale)


class Computation:
    """Returns how often it has begun. `at_once`: how many have run at the same time, at most."""

    def __init__(self, hangs_until: threading.Event | None = None) -> None:
        self.begun, self.running, self.at_once = 0, 0, 0
        self._hangs_until, self._lock = hangs_until, threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.begun, self.running = self.begun + 1, self.running + 1
            self.at_once = max(self.at_once, self.running)
        if self._hangs_until:
            self._hangs_until.wait(LONG)
        with self._lock:
            self.running -= 1
        return self.begun


async def test_simultaneous_requests_share_one_computation() -> None:
    results, compute = shared_results(), Computation()
    assert await asyncio.gather(*(results.get("a", compute) for _ in range(60))) == [1] * 60


async def test_a_fresh_result_is_shared_and_an_older_one_computed_again() -> None:
    fresh, old, compute = shared_results(fresh=LONG), shared_results(), Computation()
    assert [await fresh.get("a", compute) for _ in range(2)] == [1, 1]
    assert [await old.get("a", compute) for _ in range(2)] == [2, 3]


async def test_computations_that_hang_take_no_more_threads_than_allowed(released: threading.Event) -> None:
    results, compute = shared_results(threads=2, wait=SOON), Computation(released)
    requests = [results.get(str(number), compute) for number in range(60)]
    outcomes = await asyncio.gather(*requests, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {TimeoutError}
    assert (compute.begun, compute.at_once) == (2, 2)


async def test_a_queued_computation_never_begins_if_nobody_waits_for_it_any_more(
    released: threading.Event,
) -> None:
    results, hanging, queued = shared_results(threads=1, wait=SOON), Computation(released), Computation()
    for name, compute in (("a", hanging), ("b", queued)):
        with pytest.raises(TimeoutError):
            await results.get(name, compute)
    released.set()
    await wait_until(lambda: hanging.running == 0)
    assert await results.get("c", Computation()) == 1
    assert queued.begun == 0


async def test_the_previous_result_is_returned_while_a_new_one_takes_long(released: threading.Event) -> None:
    results = shared_results(wait=SOON)

    def second() -> str:
        released.wait(LONG)
        return "second"

    assert await results.get("a", lambda: "first") == "first"
    assert await results.get("a", second) == "first"
    released.set()
    for _ in range(1000):
        if (result := await results.get("a", lambda: "third")) != "first":
            break
    assert result in ("second", "third")


async def test_simultaneous_requests_share_an_error_and_the_next_request_may_succeed() -> None:
    results = shared_results()

    def fail() -> None:
        raise LookupError("not kept")

    outcomes = await asyncio.gather(*(results.get("a", fail) for _ in range(5)), return_exceptions=True)
    assert {str(outcome) for outcome in outcomes} == {"not kept"}
    assert await results.get("a", lambda: 1) == 1


async def wait_until(predicate: Callable[[], bool]) -> None:
    for _ in range(2000):
        if predicate():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("the condition does not hold after 20 s")
