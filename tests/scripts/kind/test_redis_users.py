"""The users in scripts/cluster/redis-users.acl have the rights that the whole job needs, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from cpu import redis_client
from cpu.items_commands import ItemsCommands
from cpu.redis_client import connect
from scripts.items_snapshot import newest_items_run, take_items_snapshot
from scripts.kind.redis_users import USERS, acl_file
from scripts.local.settings import REPOSITORY
from scripts.snapshot import newest_start, read_listing, take_snapshot
from tests.support import redis_server as servers
from tests.support.start_run_client import StartRunClient

PASSWORDS = {"cpu": "of-the-pods", "wall": "of-the-wall"}
CONNECTION_COMMANDS = {"auth"}
"""Commands that every client may send, because it logs in with them."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of a server with these users and an administrator who can see their commands."""
    users = tmp_path / "users.acl"
    users.write_text(acl_file(**PASSWORDS) + "user admin on >admin ~* +@all\n")
    port = servers.free_port()
    with servers.running("--aclfile", str(users), port=port):
        yield f"127.0.0.1:{port}"


@pytest.fixture
def admin(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(f"redis://admin:admin@{url}") as client:
        yield client


@pytest.fixture
def cpu(url: str) -> Iterator[StartRunClient]:
    """Run the pods' commands as the user cpu."""
    with connect(f"redis://cpu:{PASSWORDS['cpu']}@{url}") as client:
        yield StartRunClient(client)


@pytest.fixture
def wall(url: str) -> Iterator[redis.Redis]:
    with connect(f"redis://wall:{PASSWORDS['wall']}@{url}") as client:
        assert isinstance(client, redis.Redis)
        yield client


def run(client: Any, *command: str) -> None:
    client.execute_command(*command)


def allowed(user: str) -> set[str]:
    [line] = [line for line in USERS.read_text().splitlines() if line.startswith(f"user {user} ")]
    return set(re.findall(r" \+(\S+)", line))


def used(admin: redis.Redis) -> set[str]:
    """Return every command that ran since the last call, including those of scripts."""
    found = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    admin.config_resetstat()
    return found - CONNECTION_COMMANDS - {"info", "config|resetstat", "client|setinfo", "hello"}


def whole_job(start_run: StartRunClient) -> None:
    start_run.store_text()
    for number in (0, 1, 3, 5, 8):
        start_run.run(number)
    assert start_run.read(0)["acc"] == "5"
    assert start_run.read(8)["acc"] == "8"
    start_run.survey()
    start_run.load(1, once=True)
    cancelled = StartRunClient(start_run.client)
    cancelled.store_text("jmp +0\nnop -1\n", keep_going=True)
    cancelled.cancel()
    assert cancelled.run(0)["status"] == "stopped"
    hopeless = StartRunClient(start_run.client)
    hopeless.store_text("acc +1\njmp -1\njmp -2\n")
    assert [hopeless.run(number)["status"] for number in (2, 3)] == ["loop", "loop"]
    items = ItemsCommands(start_run.client, "items", 60)
    items.plan(1, 20, 10)
    for pod in (0, 1, 1):
        items.work(pod)
    assert items.report()["status"] == "complete"


def test_the_user_cpu_can_do_the_whole_job_and_needs_each_of_its_rights(
    cpu: StartRunClient, admin: redis.Redis
) -> None:
    used(admin)
    whole_job(cpu)
    assert used(admin) == allowed("cpu")


def test_the_user_wall_can_serve_wall_and_report_and_needs_each_of_its_rights(
    cpu: StartRunClient, wall: redis.Redis, admin: redis.Redis
) -> None:
    whole_job(cpu)
    used(admin)
    start = newest_start(wall)
    assert start is not None
    take_snapshot(wall, start)
    assert newest_items_run(wall) == "items"
    assert take_items_snapshot(wall, "items").done == 20
    program = take_snapshot(wall, cpu.start).program
    assert sum(line.visited for line in read_listing(wall, cpu.start, 8, program)) == 6
    assert used(admin) == allowed("wall")


def test_the_user_cpu_can_use_only_keys_of_cpus(cpu: StartRunClient, admin: redis.Redis) -> None:
    admin.set("celery", "not yours")
    for command in ("HGETALL celery", "DEL celery", "EXPIRE celery 1", "HSET celery a b"):
        with pytest.raises(redis.exceptions.NoPermissionError):
            run(cpu.client, *command.split())
    assert admin.get("celery") == b"not yours"


@pytest.mark.parametrize("command", ["FLUSHALL", "KEYS *", "CONFIG GET requirepass", "ACL LIST", "EVAL 1 0"])
def test_neither_user_can_run_another_command(command: str, cpu: StartRunClient, wall: redis.Redis) -> None:
    for client in (cpu.client, wall):
        with pytest.raises(redis.exceptions.NoPermissionError):
            run(client, *command.split())


def test_the_user_wall_cannot_write(cpu: StartRunClient, wall: redis.Redis) -> None:
    cpu.store_text()
    for command in (["DEL"], ["HSET", "a", "b"], ["EXPIRE", "1"]):
        with pytest.raises(redis.exceptions.NoPermissionError):
            run(wall, command[0], f"cpu:{{{cpu.start}}}:start", *command[1:])


def test_redis_refuses_clients_without_a_password(url: str) -> None:
    with connect(f"redis://{url}") as client, pytest.raises(redis.exceptions.AuthenticationError):
        run(client, "PING")


def test_the_redis_of_make_kind_starts_with_its_users_and_never_evicts(tmp_path: Path) -> None:
    texts = (REPOSITORY / "scripts/kind/redis.yaml").read_text()
    [workload] = [one for one in yaml.safe_load_all(texts) if one["kind"] == "StatefulSet"]
    [container] = workload["spec"]["template"]["spec"]["containers"]
    (tmp_path / "users.acl").write_text(acl_file(**PASSWORDS) + "user admin on >admin ~* +@all\n")
    places = {"/etc/redis/users.acl": str(tmp_path / "users.acl"), "/data": str(tmp_path)}
    port = servers.free_port()
    with servers.running(*(places.get(word, word) for word in container["args"]), port=port):
        with redis.Redis.from_url(f"redis://admin:admin@127.0.0.1:{port}", decode_responses=True) as client:
            settings = client.config_get("maxmemory-policy", "appendfsync")
            assert settings == {"maxmemory-policy": "noeviction", "appendfsync": "always"}
        with connect(f"redis://cpu:{PASSWORDS['cpu']}@127.0.0.1:{port}") as client:
            StartRunClient(client).store_text()


def test_the_client_works_with_the_older_redis_library_of_airflow_s_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Celery holds it at version 6.4, which has `lib_name` and `lib_version` for `driver_info`."""
    monkeypatch.delattr("redis.connection.DriverInfo")
    options = redis_client._options("redis")
    assert "driver_info" not in options
    assert (options["lib_name"], options["lib_version"]) == (None, None)
