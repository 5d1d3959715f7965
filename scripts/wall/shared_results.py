"""Request coalescing: requests for the same thing at the same time share one result.

Results are made by a few threads of their own. Airflow's API server answers its tasks with the threads that
FastAPI shares among all endpoints, and none of those may wait for the wall, however many people watch it and
however slow Redis is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from cachetools import TTLCache

MAX_KEPT = 32
"""How many results are kept at most; the one of a large start run has a few megabytes."""


class SharedResults:
    """Results by name, for one event loop.

    A result is returned to everybody for `fresh_seconds`. After that a new one is made, by one of `threads`,
    and all who ask wait for it, for at most `wait_seconds`. If it takes longer, they get the previous result,
    provided that it is no older than `stale_seconds`.
    """

    def __init__(
        self, threads: int, *, wait_seconds: float, fresh_seconds: float, stale_seconds: float
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="cpu-wall")
        self._wait_seconds, self._fresh_seconds = wait_seconds, fresh_seconds
        self._in_progress: dict[str, tuple[Future[Any], asyncio.Future[Any]]] = {}
        self._kept: TTLCache[str, tuple[float, Any]] = TTLCache(MAX_KEPT, stale_seconds)

    async def get(self, name: str, make: Callable[[], Any]) -> Any:
        """Return the result of that name; `make` makes it, in a thread, if there is no fresh one.

        Raises what `make` raises, or TimeoutError if it takes too long and there is no previous result.
        """
        kept = self._kept.get(name)
        if kept and time.monotonic() - kept[0] <= self._fresh_seconds:
            return kept[1]
        job, result = self._in_progress.get(name) or self._begin(name, make)
        await asyncio.wait([result], timeout=self._wait_seconds)
        if result.done() and not result.cancelled():
            return result.result()
        job.cancel()  # only if it is still in the queue: otherwise its result will be of use
        if kept := self._kept.get(name):
            return kept[1]
        raise TimeoutError

    def _begin(self, name: str, make: Callable[[], Any]) -> tuple[Future[Any], asyncio.Future[Any]]:
        job = self._threads.submit(make)
        result = asyncio.wrap_future(job)
        result.add_done_callback(lambda _: self._end(name, result))
        self._in_progress[name] = job, result
        return job, result

    def _end(self, name: str, result: asyncio.Future[Any]) -> None:
        del self._in_progress[name]
        if not result.cancelled() and result.exception() is None:
            self._kept[name] = time.monotonic(), result.result()
