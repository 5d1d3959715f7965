"""Fixtures of a real Redis: one server for the session, empty before and after each test."""

from collections.abc import Iterator

import pytest
import redis

from cpu.redis_client import Client, connect
from scripts.waiting import wait_until
from tests.support import redis_server as servers
from tests.support.start_run_client import StartRunClient


@pytest.fixture(scope="session")
def server() -> Iterator[servers.Server]:
    with servers.running() as running:
        yield running


@pytest.fixture(scope="session")
def session_client(server: servers.Server) -> Iterator[redis.Redis]:
    client = connect(server.url)
    assert isinstance(client, redis.Redis)
    with client:
        yield client


@pytest.fixture
def client(session_client: redis.Redis) -> Iterator[redis.Redis]:
    session_client.flushall()
    yield session_client
    session_client.flushall()


@pytest.fixture
def start_run(client: redis.Redis) -> StartRunClient:
    return StartRunClient(client)


@pytest.fixture(scope="session")
def redis_cluster_url() -> Iterator[str]:
    """The URL of a Redis Cluster of one node, which has all slots."""
    port, bus = servers.free_port(), servers.free_port()
    options = ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-announce-ip", "127.0.0.1"]
    with servers.running(*options, port=port) as running:
        with redis.Redis.from_url(running.url, decode_responses=True) as node:
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            assert wait_until(lambda: node.cluster("info")["cluster_state"] == "ok", 30)
        yield running.url.replace("redis://", "redis+cluster://")


@pytest.fixture
def redis_cluster(redis_cluster_url: str) -> Iterator[Client]:
    client = connect(redis_cluster_url)
    client.flushall()
    yield client
    client.close()
