"""One look for everybody who asks for the same thing, made by a few threads and waited for briefly.

Airflow's API server answers its tasks with the threads that FastAPI shares among all endpoints. None of those
may wait for the wall, however many people watch and however slow Redis is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from cachetools import TTLCache

MAX_KEPT = 32
"""How many results are kept at most; a large start run's has some megabytes."""


class Looks:
    """Results by name, for one event loop.

    A result is shared for `fresh_seconds`. While a new one is made everybody waits for that, for no longer
    than `wait_seconds`; then they get the last result, if it is no older than `stale_seconds`.
    """

    def __init__(
        self, threads: int, *, wait_seconds: float, fresh_seconds: float, stale_seconds: float
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="cpu-wall")
        self._wait_seconds, self._fresh_seconds = wait_seconds, fresh_seconds
        self._under_way: dict[str, tuple[Future[Any], asyncio.Future[Any]]] = {}
        self._kept: TTLCache[str, tuple[float, Any]] = TTLCache(MAX_KEPT, stale_seconds)

    async def get(self, name: str, make: Callable[[], Any]) -> Any:
        """Return the result of that name, made by `make` in a thread where there is no fresh one.

        Raises what `make` raises, or TimeoutError where it takes too long and there is no earlier result.
        """
        kept = self._kept.get(name)
        if kept and time.monotonic() - kept[0] <= self._fresh_seconds:
            return kept[1]
        job, look = self._under_way.get(name) or self._begin(name, make)
        await asyncio.wait([look], timeout=self._wait_seconds)
        if look.done() and not look.cancelled():
            return look.result()
        job.cancel()  # which does nothing where a thread works at it: its result will be of use
        if kept := self._kept.get(name):
            return kept[1]
        raise TimeoutError

    def _begin(self, name: str, make: Callable[[], Any]) -> tuple[Future[Any], asyncio.Future[Any]]:
        job = self._threads.submit(make)
        look = asyncio.wrap_future(job)
        look.add_done_callback(lambda _: self._end(name, look))
        self._under_way[name] = job, look
        return job, look

    def _end(self, name: str, look: asyncio.Future[Any]) -> None:
        del self._under_way[name]
        if not look.cancelled() and look.exception() is None:
            self._kept[name] = time.monotonic(), look.result()
