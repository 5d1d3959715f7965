"""Pods of the image with a Redis on this machine, which they reach at the address --host-for-pods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from scripts.bench import start_time
from tests.cluster.image import Image
from tests.cpu_image.test_main import ENCODED
from tests.support import redis_server as servers
from tests.support import tls

STORE = ["store", "--start", "image", "--encoded", ENCODED]


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> str:
    given = request.config.getoption("--host-for-pods")
    assert given, "these tests need an address at which pods reach this machine: --host-for-pods ADDRESS"
    return str(given)


@pytest.fixture(scope="module")
def port(host: str) -> Iterator[int]:
    port = servers.free_port()
    with servers.running("--bind", host, "--requirepass", "secret", port=port):
        yield port


def test_pods_run_one_after_another_give_the_answer(image: Image, host: str, port: int) -> None:
    redis = f"redis://:secret@{host}:{port}/0"
    assert image.answer(*STORE, redis=redis)["status"] == "stored"
    assert image.answer("load", "--start", "image", "--cpu", "8", redis=redis)["status"] == "ok"
    execute = ["exec", "--start", "image", "--cpu", "8", "--cycle", "1", "--cycles", "100"]
    assert image.answer(*execute, redis=redis)["status"] == "end"
    assert image.answer("read", "--start", "image", "--cpu", "8", redis=redis)["acc"] == "8"


def test_pods_reach_redis_by_host_name(image: Image, host: str, port: int) -> None:
    names = [{"ip": host, "hostnames": ["redis.example"]}]
    url = f"redis://:secret@redis.example:{port}/1"
    assert image.answer(*STORE, redis=url, hostAliases=names)["status"] == "stored"


async def test_pods_reach_redis_over_tls(image: Image, host: str, port: int, tmp_path: Path) -> None:
    async with tls.relay(host, port, tmp_path) as (tls_port, certificate):
        url = f"rediss://:secret@{host}:{tls_port}/2?ssl_ca_data={quote(certificate)}"
        stored = await asyncio.to_thread(image.answer, *STORE, redis=url)
    assert stored["status"] == "stored"


def test_start_time_measures_the_time_to_the_first_redis_command(
    request: pytest.FixtureRequest, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    option = request.config.getoption
    context = ["--context", option("--context")] if option("--context") else []
    where = ["--kubeconfig", option("--kubeconfig"), *context, "--host-for-pods", host]
    start_time.main([*where, "--image", option("--cpu-image"), "--pods", "1", "--json"])
    measured = json.loads(capsys.readouterr().out)
    assert measured.keys() == {"cycle", "python"}
    assert all(0 < seconds < 60 for [seconds] in measured.values())
