"""The wall's API inside of Airflow's API server: which threads it uses, and its errors."""

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
from tests.support.start_run_client import StartRunClient

with warnings.catch_warnings(action="ignore"):  # Airflow imports what Starlette deprecates
    from scripts.wall import app as walls

PATHS = ["starts/here", "starts/here/cpus/8", "starts/here/program", "starts/here/picture.svg"]
REQUESTS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    with servers.running(port=servers.free_port()) as running, connect(running.url) as client:
        StartRunClient(client, "here").store_text()
        yield running


@pytest.fixture
def hanging(server: servers.Server) -> Iterator[None]:
    """A Redis that accepts connections and answers nothing."""
    server.process.send_signal(signal.SIGSTOP)
    yield
    server.process.send_signal(signal.SIGCONT)


async def allow() -> None:
    """Allow every request."""


@pytest.fixture
async def visitor(
    server: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API server with the wall, and a route that runs in FastAPI's shared threads."""
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_CPU", server.url)
    monkeypatch.setitem(walls.app.dependency_overrides, walls.MAY_SEE, allow)
    # So that the answer is the reason, however slow this machine is. test_shared_results.py tests the limit.
    for results in (walls.RESULTS, walls.PROGRAMS):
        monkeypatch.setattr(results, "_wait_seconds", 60)
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
async def test_many_requests_to_a_redis_that_hangs_take_none_of_airflows_threads(
    visitor: httpx.AsyncClient, hanging: None, path: str
) -> None:
    requests = [
        asyncio.create_task(ask(visitor, path.replace("here", f"s{number % 20}")))
        for number in range(REQUESTS)
    ]
    # As a task, it begins after the requests.
    assert (await asyncio.create_task(visitor.get("/execution"))).status_code == 200
    assert current_default_thread_limiter().borrowed_tokens == 0
    assert len([one for one in threading.enumerate() if one.name.startswith("cpu-wall")]) <= 6
    assert {answer.status_code for answer in await asyncio.gather(*requests)} == {503}


@pytest.mark.parametrize("path", PATHS)
async def test_a_redis_that_hangs_is_503_and_the_answer_names_the_connection(
    visitor: httpx.AsyncClient, hanging: None, path: str
) -> None:
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
async def test_an_unusable_connection_is_503_with_the_reason_and_without_its_secrets(
    visitor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str, connection: str, why: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_CPU", connection)
    answer = await ask(visitor, path)
    assert answer.status_code == 503
    assert why in answer.json()["detail"]
    assert "secret" not in answer.text


async def test_simultaneous_requests_for_a_picture_share_one_rendering(
    visitor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []

    def count(snapshot: Snapshot, kind: Literal["svg", "png"]) -> bytes:
        rendered.append(kind)
        return render(snapshot, kind)

    monkeypatch.setattr(walls, "render", count)
    found = await asyncio.gather(*(ask(visitor, "starts/here/picture.png") for _ in range(3)))
    assert {(answer.status_code, answer.headers["Content-Type"]) for answer in found} == {(200, "image/png")}
    assert rendered == ["png"]


async def test_a_missing_matplotlib_is_501_with_the_remedy(
    visitor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = await ask(visitor, "starts/here/picture.svg")
    assert answer.status_code == 501
    assert "pip install matplotlib" in answer.json()["detail"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_start_run_with_a_lost_part_is_404_with_the_remedy(
    visitor: httpx.AsyncClient, server: servers.Server, path: str
) -> None:
    with connect(server.url) as client:
        client.delete(*client.keys("*lost*") or ["none"])
        StartRunClient(client, "lost").store_text()
        client.delete(Keys("lost").program)
    answer = await ask(visitor, path.replace("here", "lost"))
    assert answer.status_code == 404
    assert "start the program again" in answer.json()["detail"]


async def test_an_unknown_start_run_is_404(visitor: httpx.AsyncClient) -> None:
    assert (await ask(visitor, "starts/nobody")).status_code == 404
