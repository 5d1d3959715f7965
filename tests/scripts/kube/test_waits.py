"""The endpoint's waits miss nothing that happens just before they begin."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from scripts.kube import logs
from scripts.kube.container import until_stopping
from scripts.kube.environment import Command
from scripts.kube.logs import Log, LogOptions
from scripts.kube.objects import SECRETS
from scripts.kube.processes import Process, Processes
from scripts.kube.store import Store
from tests.support.cluster import PATIENCE


async def test_following_a_log_ends_if_the_log_is_closed_while_it_is_read(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    (tmp_path / "log").write_bytes(b"2026-01-01T00:00:00.000000000Z F said\n")
    async with asyncio.timeout(PATIENCE):
        async for piece in logs.read(log.file, LogOptions(follow=True), log):
            assert piece == b"said\n"
            log.drain()
            log.close()


async def test_a_secret_created_just_before_the_wait_for_it_is_not_missed(tmp_path: Path) -> None:
    store = Store(tmp_path / "objects.sqlite")
    change = store.next_change(SECRETS)
    store.create(SECRETS, {"metadata": {"name": "s", "namespace": "default"}})
    async with asyncio.timeout(PATIENCE):
        await until_stopping(asyncio.Event(), change)
    store.close()


async def test_a_message_that_a_start_has_read_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = Processes()
    nothing = os.open(os.devnull, os.O_WRONLY)

    def start(*arguments: str) -> Process:
        command = Command(list(arguments), {"PATH": os.defpath}, tmp_path)
        return processes.start(command, nothing, nothing)

    first = start("true")
    connection = first.launcher._connection
    receive, would_block = connection.recv, []

    def recv() -> Any:
        would_block.append(not connection.poll())
        if would_block[-1]:
            raise EOFError
        return receive()

    monkeypatch.setattr(connection, "recv", recv)
    # The message of the process's end is there, but the next start reads it before the event loop does.
    assert connection.poll(PATIENCE)
    asyncio.get_running_loop().call_soon(start, "sleep", "3600")
    assert await first.exited == 0
    assert would_block == [False, False]
    await processes.stop(grace=0)
    os.close(nothing)
