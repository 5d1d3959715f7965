"""What `store` checks about Redis: it fails or warns if Redis may evict the memory of CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from cpu.describe import sentence
from cpu.errors import PreconditionError
from cpu.keys import Keys
from cpu.redis_client import Client, connect
from tests.support.redis_server import Server
from tests.support.start_run_client import StartRunClient

EVICTING = ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-ttl"]


@pytest.fixture(autouse=True)
def restore_settings(client: redis.Redis) -> Iterator[None]:
    yield
    client.config_set("maxmemory", 0)
    client.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("policy", EVICTING)
def test_store_on_a_redis_that_evicts_fails_and_stores_nothing(client: redis.Redis, policy: str) -> None:
    client.config_set("maxmemory", "100mb")
    client.config_set("maxmemory-policy", policy)
    with pytest.raises(
        PreconditionError, match=rf"evicts .*\(maxmemory-policy {policy}\).*set it to noeviction"
    ):
        StartRunClient(client).store_text()
    assert client.dbsize() == 0


def test_store_warns_of_a_redis_that_would_evict_with_a_maxmemory(client: redis.Redis) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    stored = StartRunClient(client).store_text()
    assert sentence(stored).startswith("stored 9 instructions")
    assert "; warning: Redis would evict the CPUs' memory if it had a maxmemory" in sentence(stored)
    assert "set it to noeviction" in sentence(stored)


@pytest.mark.parametrize("limit", ["0", "100mb"])
def test_store_does_not_warn_of_a_redis_that_never_evicts(client: redis.Redis, limit: str) -> None:
    client.config_set("maxmemory", limit)
    assert "warning" not in StartRunClient(client).store_text()


def test_store_succeeds_for_a_user_without_the_right_to_info(client: redis.Redis, server: Server) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.acl_setuser(
        "limited", enabled=True, passwords=["+limited"], keys=["*"], commands=["+@all", "-info"]
    )
    with connect(server.url.replace("unix://", "unix://limited:limited@")) as limited:
        start_run = StartRunClient(limited)
        assert start_run.store_text()["status"] == "stored"
    client.acl_deluser("limited")
    assert client.exists(Keys(start_run.start).facts)


def test_store_checks_all_nodes_of_a_redis_cluster(redis_cluster: Client) -> None:
    setting: Any = redis_cluster
    try:
        setting.config_set("maxmemory-policy", "volatile-lru")
        assert "volatile-lru" in StartRunClient(redis_cluster).store_text()["warning"]
    finally:
        setting.config_set("maxmemory-policy", "noeviction")
