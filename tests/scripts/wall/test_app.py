"""The wall's API beside Airflow's own: which threads it takes, and what it tells when Redis is away."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Literal

import httpx
import pytest
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI

from cpu.keys import Keys
from cpu.redis_client import connect
from scripts.report.picture import render
from scripts.snapshot import Snapshot
from tests.support import redis_server as servers
from tests.support.trial import Trial

with warnings.catch_warnings(action="ignore"):  # Airflow imports what Starlette deprecates
    from scripts.wall import app as walls

PATHS = ["starts/here", "starts/here/cpus/8", "starts/here/picture.svg"]
WATCHERS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    with servers.running(port=servers.free_port()) as running, connect(running.url) as client:
        Trial(client, "here").store()
        yield running


@pytest.fixture
def stopped(server: servers.Server) -> Iterator[None]:
    """Redis takes connections and answers nothing."""
    server.process.send_signal(signal.SIGSTOP)
    yield
    server.process.send_signal(signal.SIGCONT)


async def may_see() -> None:
    """Everybody may."""


@pytest.fixture
async def visitor(
    server: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who may see the wall, at an API server that has a route of its own in the shared threads."""
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_CPU", server.url)
    monkeypatch.setitem(walls.app.dependency_overrides, walls.MAY_SEE, may_see)
    # So the reason is answered, however slow this machine is; test_shared_results.py tests the limit of time.
    monkeypatch.setattr(walls.RESULTS, "_wait_seconds", 60)
    airflow = FastAPI()
    airflow.mount("/cpu-wall", walls.app)

    @airflow.get("/execution")
    def execution() -> str:
        return "ok"

    transport = httpx.ASGITransport(airflow)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
        yield client


async def ask(visitor: httpx.AsyncClient, path: str) -> httpx.Response:
    return await visitor.get(f"/cpu-wall/api/{path}")


@pytest.mark.parametrize("path", PATHS)
async def test_many_who_watch_a_redis_that_hangs_leave_airflow_s_threads_alone(
    visitor: httpx.AsyncClient, stopped: None, path: str
) -> None:
    watching = [
        asyncio.create_task(ask(visitor, path.replace("here", f"s{number % 20}")))
        for number in range(WATCHERS)
    ]
    # A task, so that its turn comes after theirs.
    assert (await asyncio.create_task(visitor.get("/execution"))).status_code == 200
    assert current_default_thread_limiter().borrowed_tokens == 0
    assert len([one for one in threading.enumerate() if one.name.startswith("cpu-wall")]) <= 5
    assert {answer.status_code for answer in await asyncio.gather(*watching)} == {503}


@pytest.mark.parametrize("path", PATHS)
async def test_a_redis_that_hangs_is_told(visitor: httpx.AsyncClient, stopped: None, path: str) -> None:
    answer = await ask(visitor, path)
    assert answer.status_code == 503
    assert "does not answer" in answer.json()["detail"]
    assert "connection redis_cpu" in answer.json()["detail"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("connection", "why"),
    [
        ("redis://:secret@127.0.0.1:1/0", "does not answer"),
        ("http://:secret@127.0.0.1:1/0", "has the type 'http'"),
        ("redis://:secret@127.0.0.1:1/0?ssl_cert_req=none", "unknown extra 'ssl_cert_req'"),
        ("secret", "has the type"),
        ('{"conn_type": "redis", "host": "127.0.0.1", "port": "secret"}', "no Airflow connection redis_cpu"),
    ],
)
async def test_a_connection_that_cannot_be_used_is_told_without_its_secrets(
    visitor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str, connection: str, why: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_CPU", connection)
    answer = await ask(visitor, path)
    assert answer.status_code == 503
    assert why in answer.json()["detail"]
    assert "secret" not in answer.text


async def test_a_picture_is_drawn_once_for_all_who_ask_in_a_moment(
    visitor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def count(run: Snapshot, kind: Literal["svg", "png"]) -> bytes:
        drawn.append(kind)
        return render(run, kind)

    monkeypatch.setattr(walls, "render", count)
    found = await asyncio.gather(*(ask(visitor, "starts/here/picture.png") for _ in range(3)))
    assert {(answer.status_code, answer.headers["Content-Type"]) for answer in found} == {(200, "image/png")}
    assert drawn == ["png"]


async def test_that_matplotlib_is_missing_is_told(
    visitor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = await ask(visitor, "starts/here/picture.svg")
    assert answer.status_code == 501
    assert "pip install matplotlib" in answer.json()["detail"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_start_run_of_which_redis_has_lost_a_part_is_404_with_the_remedy(
    visitor: httpx.AsyncClient, server: servers.Server, path: str
) -> None:
    with connect(server.url) as client:
        client.delete(*client.keys("*lost*") or ["none"])
        Trial(client, "lost").store()
        client.delete(Keys("lost").program)
    answer = await ask(visitor, path.replace("here", "lost"))
    assert answer.status_code == 404
    assert "start the program again" in answer.json()["detail"]


async def test_what_redis_does_not_keep_is_404(visitor: httpx.AsyncClient) -> None:
    assert (await ask(visitor, "starts/nobody")).status_code == 404
