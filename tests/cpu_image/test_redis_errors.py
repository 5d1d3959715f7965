"""Each cause of an error of Redis, with a real server wherever a server can be made to fail like that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from redis._parsers.base import BaseParser

from cpu.errors import CpuError, PermanentError, PreconditionError, TemporaryError
from cpu.redis_client import Client, with_retries
from cpu.redis_errors import CAUSES, find_cause
from cpu.result import Result
from scripts.waiting import wait_until
from tests.support import redis_server as servers
from tests.support import tls
from tests.support.start_run_client import StartRunClient

Command = Callable[[Client], object]
SECRET = "s3cret"


error_reply: Callable[[str], redis.RedisError] = BaseParser.parse_error
"""Returns the exception of redis-py for an error reply."""


def store_as(name: str) -> Callable[[Client], Result]:
    return lambda client: StartRunClient(client, name).store_text()


def store(client: Client) -> Result:
    return StartRunClient(client, "s").store_text()


def load(client: Client) -> Result:
    return StartRunClient(client, "s").load(1)


def error_of(url: str, command: Command) -> CpuError:
    """Return the error of a command that is not retried. Asserts that it shows no secret and no address."""
    with pytest.raises(CpuError) as caught:
        with_retries(url, command, retry_seconds=0)
    error = caught.value
    assert not isinstance(error, PreconditionError)
    assert "\n" not in str(error)
    assert ": " in str(error)
    assert not {SECRET, "127.0.0.1"} & set(str(error).replace(":", " ").split())
    assert error.__cause__ is error.__context__ is None  # so that a traceback shows none either
    return error


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = servers.free_port()
    with servers.running("--databases", "4", "--enable-protected-configs", "yes", port=port):
        yield port


@pytest.fixture
def admin(port: int) -> Iterator[redis.Redis]:
    with redis.Redis(port=port) as client:
        client.flushall()
        client.script_flush()
        yield client


@contextmanager
def configured(admin: redis.Redis, **settings: str) -> Iterator[None]:
    names = {name.replace("_", "-"): value for name, value in settings.items()}
    before: Any = {name: admin.config_get(name)[name] for name in names}
    for name, value in names.items():
        admin.config_set(name, value)
    yield
    for name, value in before.items():
        admin.config_set(name, value)


@pytest.mark.parametrize("who", ["", f":{SECRET}@", f"user:{SECRET}@"])
def test_a_missing_or_wrong_password_is_a_temporary_error(admin: redis.Redis, port: int, who: str) -> None:
    with configured(admin, requirepass="right"):
        error = error_of(f"redis://{who}127.0.0.1:{port}", store)
    assert isinstance(error, TemporaryError)
    expected = "rejects the user or the password" if who else "wants a password, and REDIS_URL has none"
    assert expected in str(error)


def test_a_password_for_a_redis_without_one_is_named(admin: redis.Redis, port: int) -> None:
    error = error_of(f"redis://:{SECRET}@127.0.0.1:{port}", store)
    assert "REDIS_URL has a password, and Redis has none" in str(error)


@pytest.mark.parametrize(
    ("rights", "keys", "command"),
    [
        ("-evalsha", "*", store),
        ("-script", "*", store),
        ("-hset", "*", store),
        ("-hmget", "*", load),
        ("-multi", "*", load),
        ("+get", "another", load),
        ("+get", "another", store),
    ],
)
def test_a_missing_right_is_a_permanent_error_that_names_the_list_of_rights(
    admin: redis.Redis, port: int, rights: str, keys: str, command: Command
) -> None:
    admin.acl_setuser("cpu", enabled=True, passwords=[f"+{SECRET}"], keys=[keys], commands=["+@all", rights])
    error = error_of(f"redis://cpu:{SECRET}@127.0.0.1:{port}", command)
    admin.acl_deluser("cpu")
    assert isinstance(error, PermanentError)
    assert "lacks the right" in str(error)
    assert "scripts/cluster/redis-users.acl" in str(error)


@pytest.mark.parametrize("command", [store, load])
@pytest.mark.parametrize("database", ["9", "4"])
def test_a_missing_database_is_a_permanent_error(
    admin: redis.Redis, port: int, command: Command, database: str
) -> None:
    error = error_of(f"redis://127.0.0.1:{port}/{database}", command)
    assert isinstance(error, PermanentError)
    assert "no database of the number at the end of REDIS_URL" in str(error)


@pytest.mark.parametrize("command", [store, load])
def test_a_key_of_another_type_is_a_permanent_error(admin: redis.Redis, port: int, command: Command) -> None:
    admin.set("cpu:{s}:start", "something else")
    error = error_of(f"redis://127.0.0.1:{port}", command)
    assert isinstance(error, PermanentError)
    assert "has a type that the CPUs do not use" in str(error)


def test_a_full_redis_is_a_temporary_error(admin: redis.Redis, port: int) -> None:
    with configured(admin, maxmemory="1"):
        error = error_of(f"redis://127.0.0.1:{port}", store)
    assert isinstance(error, TemporaryError)
    assert "no memory left: raise its maxmemory" in str(error)


@pytest.mark.parametrize("command", [store, load])
@pytest.mark.parametrize("stale", ["yes", "no"])
def test_a_replica_is_a_temporary_error(admin: redis.Redis, port: int, stale: str, command: Command) -> None:
    with configured(admin, replica_serve_stale_data=stale):
        admin.replicaof("127.0.0.1", servers.free_port())
        try:
            error = error_of(f"redis://127.0.0.1:{port}", command)
        finally:
            admin.replicaof("NO", "ONE")
    assert isinstance(error, TemporaryError)
    assert "REDIS_URL must lead to the primary" in str(error)


def test_a_primary_with_too_few_replicas_is_a_temporary_error(admin: redis.Redis, port: int) -> None:
    with configured(admin, min_replicas_to_write="1"):
        error = error_of(f"redis://127.0.0.1:{port}", store)
    assert isinstance(error, TemporaryError)
    assert "min-replicas-to-write" in str(error)


def test_a_redis_that_cannot_save_is_a_temporary_error(admin: redis.Redis, port: int, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with configured(admin, save="1000 1000"):
        with configured(admin, dir=str(folder)):
            folder.rmdir()
            admin.bgsave()
            assert wait_until(lambda: saved(admin) == "err", 10)
            error = error_of(f"redis://127.0.0.1:{port}", store)
        admin.bgsave()
        assert wait_until(lambda: saved(admin) == "ok", 10)
    assert isinstance(error, TemporaryError)
    assert "cannot save its data and takes no writes" in str(error)


def saved(admin: redis.Redis) -> str:
    found: Any = admin.info("persistence")
    return str(found["rdb_last_bgsave_status"])


def test_a_redis_busy_with_a_script_is_a_temporary_error(admin: redis.Redis, port: int) -> None:
    def loop() -> None:
        with redis.Redis(port=port) as busy, pytest.raises(redis.ResponseError):
            busy.eval("while true do end", 0)

    with configured(admin, lua_time_limit="1"):
        thread = threading.Thread(target=loop)
        thread.start()
        try:
            assert wait_until(lambda: not answers(admin), 10)
            error = error_of(f"redis://127.0.0.1:{port}", store)
        finally:
            admin.script_kill()
            thread.join(10)
    assert isinstance(error, TemporaryError)
    assert "busy with a script" in str(error)


def answers(admin: redis.Redis) -> bool:
    try:
        return bool(admin.ping())
    except redis.ResponseError:
        return False


def test_a_redis_with_too_many_clients_is_a_temporary_error(admin: redis.Redis, port: int) -> None:
    with configured(admin, maxclients="1"):
        error = error_of(f"redis://127.0.0.1:{port}", store)
    assert isinstance(error, TemporaryError)
    assert "raise its maxclients" in str(error)


def test_a_redis_without_a_command_is_a_permanent_error() -> None:
    port = servers.free_port()
    with servers.running("--rename-command", "EVALSHA", "", port=port):
        error = error_of(f"redis://127.0.0.1:{port}", store)
    assert isinstance(error, PermanentError)
    assert "none of the commands in scripts/cluster/redis-users.acl renamed or removed" in str(error)


def test_a_single_redis_behind_a_cluster_url_is_a_permanent_error(admin: redis.Redis, port: int) -> None:
    error = error_of(f"redis+cluster://127.0.0.1:{port}", store)
    assert isinstance(error, PermanentError)
    assert "Redis is not a cluster: REDIS_URL must begin with redis://" in str(error)


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_redis_cluster_without_slots_is_a_temporary_error(scheme: str) -> None:
    port, bus = servers.free_port(), servers.free_port()
    with servers.running("--cluster-enabled", "yes", "--cluster-port", str(bus), port=port):
        error = error_of(f"{scheme}://127.0.0.1:{port}", store)
        database = error_of(f"{scheme}://127.0.0.1:{port}/3", store)
    assert isinstance(error, TemporaryError)
    assert "each needs a primary that is up" in str(error)
    assert isinstance(database, PermanentError)
    assert "0 always exists, and a cluster has no other" in str(database)


def test_keys_in_several_slots_are_a_permanent_error(redis_cluster_url: str) -> None:
    error = error_of(
        redis_cluster_url.replace("redis+cluster", "redis"), lambda client: client.mget("a", "b")
    )
    assert isinstance(error, PermanentError)
    assert "in several slots" in str(error)


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[list[str]]:
    """A Redis Cluster of two nodes, each with half of the slots."""
    ports = [servers.free_port() for _ in range(4)]
    options = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-port"]
    with (
        servers.running(*options, str(ports[2]), port=ports[0]) as one,
        servers.running(*options, str(ports[3]), port=ports[1]) as other,
        redis.Redis(port=ports[0], decode_responses=True) as first,
        redis.Redis(port=ports[1], decode_responses=True) as second,
    ):
        execute: list[Any] = [first.execute_command, second.execute_command]
        execute[0]("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        execute[1]("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        execute[0]("CLUSTER", "MEET", "127.0.0.1", ports[1], ports[3])
        assert wait_until(
            lambda: all(
                (found["cluster_state"], found["cluster_size"]) == ("ok", "2")
                for found in (run("CLUSTER INFO") for run in execute)
            ),
            30,
        )
        yield [one.url, other.url]


def test_store_detects_a_redis_cluster_behind_a_plain_url_in_every_slot(
    two_nodes: list[str],
) -> None:
    for url in two_nodes:
        for name in ("a", "b", "c", "d"):
            with pytest.raises(PreconditionError, match=r"Redis is a cluster: .* redis\+cluster://"):
                with_retries(url, store_as(name), retry_seconds=0)


def test_a_key_of_another_node_is_a_permanent_error(two_nodes: list[str]) -> None:
    slot_owner, other = two_nodes[::-1]  # "a" is in slot 15495
    assert with_retries(slot_owner, lambda client: client.exists("a"), retry_seconds=0) == 0
    error = error_of(other, lambda client: client.exists("a"))
    assert isinstance(error, PermanentError)
    assert "REDIS_URL must begin with redis+cluster://" in str(error)


def test_a_start_run_works_on_a_redis_cluster_of_two_nodes(two_nodes: list[str]) -> None:
    def job(client: Client) -> list[object]:
        start_run = StartRunClient(client, "two-nodes")
        start_run.store_text()
        results = [start_run.run(cpu) for cpu in (0, 8)]
        return [
            start_run.survey()["status"],
            start_run.answers()["status"],
            *(result["acc"] for result in results),
        ]

    assert with_retries(two_nodes[0].replace("redis:", "redis+cluster:"), job) == [
        "running",
        "answered",
        "5",
        "8",
    ]


@pytest.fixture
async def tls_port(admin: redis.Redis, port: int, tmp_path: Path) -> Any:
    async with tls.relay("127.0.0.1", port, tmp_path) as (listens, _):
        yield listens


async def test_a_redis_that_wants_tls_is_a_temporary_error(tls_port: int) -> None:
    error = await asyncio.to_thread(error_of, f"redis://:{SECRET}@127.0.0.1:{tls_port}", store)
    assert isinstance(error, TemporaryError)
    assert "if Redis requires TLS, REDIS_URL must begin with rediss://" in str(error)


@pytest.mark.parametrize("scheme", ["rediss", "rediss+cluster"])
async def test_an_untrusted_certificate_is_a_temporary_error(tls_port: int, scheme: str) -> None:
    error = await asyncio.to_thread(error_of, f"{scheme}://127.0.0.1:{tls_port}", store)
    assert isinstance(error, TemporaryError)
    assert "certificate is not trusted: name its authority in REDIS_URL" in str(error)


def test_a_redis_without_tls_is_a_temporary_error(admin: redis.Redis, port: int) -> None:
    url = f"rediss://127.0.0.1:{port}?socket_timeout=0.3&socket_connect_timeout=0.3"
    error = error_of(url, store)
    assert isinstance(error, TemporaryError)
    assert "if Redis does not use TLS, REDIS_URL must begin with redis://" in str(error)


@pytest.mark.parametrize(
    ("reply", "retry", "text"),
    [
        ("LOADING Redis is loading the dataset in memory", "soon", "still loading its data"),
        ("NOSCRIPT No matching script. Please use EVAL.", "soon", "lost the CPUs' script"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "soon", "moving slots"),
        ("ERR max number of clients reached", "soon", "maxclients"),
        (
            "ERR Error running script (call to f_1): @user_script:7: WRONGTYPE Operation",
            "never",
            "a type that the CPUs do not use",
        ),
        (
            "ERR Error running script (call to f_1): @user_script: 7: -OOM command not allowed",
            "later",
            "maxmemory",
        ),
        (
            "ERR unknown command `EVALSHA`, with args beginning with: `WRONGTYPE`",
            "never",
            "not know a command",
        ),
        ("NOPERM User OOM has no permissions to run the 'get' command", "never", "lacks the right"),
    ],
)
def test_errors_that_no_server_makes_on_demand_have_a_cause(reply: str, retry: str, text: str) -> None:
    row = find_cause(error_reply(reply), "redis://host")
    assert (row.retry, text in row.text) == (retry, True)


@pytest.mark.parametrize("reply", ["MOVED 5 10.0.0.7:6379", "ASK 5 10.0.0.7:6379"])
def test_a_moved_slot_is_a_wrong_url_only_if_the_url_is_not_for_a_cluster(reply: str) -> None:
    error = error_reply(reply)
    assert find_cause(error, f"rediss://:{SECRET}@host").retry == "never"
    assert find_cause(error, f"rediss+cluster://:{SECRET}@host").retry == "soon"


def test_an_unknown_error_is_reported_by_its_code_and_not_its_text() -> None:
    row = find_cause(error_reply(f"STRANGE {SECRET} something"), "redis://host")
    assert row.retry == "later"
    assert "STRANGE" in row.text
    assert SECRET not in row.text


def test_every_text_names_the_cause_and_after_a_colon_the_remedy() -> None:
    for row in CAUSES:
        cause, _, remedy = row.text.partition(": ")
        assert cause, row
        assert len(remedy) > 10, row
