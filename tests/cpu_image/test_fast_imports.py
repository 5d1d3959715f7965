"""The commands as they run in a pod: with fast imports, and only with the packages of the image."""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from cpu.items_commands import ItemsCommands
from tests.cpu_image.test_main import CPU_IMAGE, ENCODED
from tests.support import redis_server as servers
from tests.support import tls

LIBRARIES = Path(sys.prefix) / "cpu-image"
UNNEEDED = {
    "redis", "redis.asyncio", "redis.asyncio.client", "redis.sentinel", "redis.cluster",
    "asyncio", "_ssl", "email", "importlib.metadata", "concurrent.futures",
}  # fmt: skip
STORE = ["store", "--start", "fast", "--encoded", ENCODED]
WORK = ["work", "--items", "fast"]


def command(url: str, *options: str, arguments: Sequence[str] = STORE) -> subprocess.CompletedProcess[str]:
    """Run a command, by default `store`, as the image's entrypoint does."""
    with tempfile.TemporaryDirectory() as folder:
        environment = servers.environment(
            REDIS_URL=url, PYTHONPATH=str(LIBRARIES), RESULT_FILE=f"{folder}/result"
        )
        return subprocess.run(
            [sys.executable, "-S", *options, "-m", "cpu", *arguments],
            cwd=CPU_IMAGE,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def assert_stored(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "stored"


def imported(url: str, arguments: Sequence[str] = STORE) -> set[str]:
    """Return the modules that a command imports."""
    done = command(url, "-X", "importtime", arguments=arguments)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))


def test_a_command_imports_nothing_that_it_does_not_use(server: servers.Server, client: redis.Redis) -> None:
    modules = imported(server.url)
    assert {"redis.client", "redis.connection", "cpu.commands"} <= modules
    assert not modules & UNNEEDED


def test_work_imports_nothing_that_it_does_not_use(server: servers.Server, client: redis.Redis) -> None:
    ItemsCommands(client, "fast", 60).plan(1, 10, 10)
    modules = imported(server.url, WORK)
    assert {"redis.client", "redis.connection", "cpu.items_commands"} <= modules
    assert not modules & {*UNNEEDED, "cpu.commands", "cpu.start_run", "cpu.records"}


def test_fast_imports_reach_redis_on_a_unix_socket(server: servers.Server, client: redis.Redis) -> None:
    assert_stored(command(server.url))
    assert client.exists("cpu:{fast}:start")


def test_fast_imports_reach_redis_on_a_port_with_password_and_database() -> None:
    port = servers.free_port()
    with servers.running("--requirepass", "secret", port=port):
        url = f"redis://:secret@127.0.0.1:{port}/3"
        assert_stored(command(url))
        with redis.Redis.from_url(url) as client:
            assert client.exists("cpu:{fast}:start")


def test_fast_imports_reach_a_redis_cluster(redis_cluster_url: str) -> None:
    assert_stored(command(redis_cluster_url))


@pytest.fixture
async def tls_url(tmp_path: Path) -> AsyncIterator[str]:
    port = servers.free_port()
    with servers.running("--requirepass", "secret", port=port):
        async with tls.relay("127.0.0.1", port, tmp_path) as (tls_port, certificate):
            yield f"rediss://:secret@127.0.0.1:{tls_port}/0?ssl_ca_data={quote(certificate)}"


async def test_fast_imports_reach_redis_with_tls(tls_url: str) -> None:
    assert_stored(await asyncio.to_thread(command, tls_url))


async def test_fast_imports_reject_an_untrusted_certificate(tls_url: str) -> None:
    done = await asyncio.to_thread(command, tls_url.partition("?")[0])
    assert (done.returncode, done.stdout) == (1, "")
    assert "Redis' TLS certificate is not trusted" in done.stderr
