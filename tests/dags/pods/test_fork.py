"""A worker that is forked from a scheduler whose PodExecutor has run pods."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from asgiref.sync import sync_to_async

import airflow_pods.executor  # noqa: F401

CHILD_SECONDS = 20


async def read_connection() -> str:
    """Wait for a thread, as Airflow does when it reads a connection in an event loop."""
    async with asyncio.timeout(CHILD_SECONDS):
        return await sync_to_async(lambda: "found")()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_worker_reads_connections_although_the_scheduler_has_read_some_before() -> None:
    before = threading.Thread(target=asyncio.run, args=[read_connection()])
    before.start()
    before.join()
    if not (child := os.fork()):
        try:
            os._exit(0 if asyncio.run(read_connection()) == "found" else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
