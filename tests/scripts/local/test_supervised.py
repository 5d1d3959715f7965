"""supervisord with a real Redis and a real PostgreSQL, without Airflow: started, killed, shut down."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from redis import Redis
from redis.exceptions import RedisError

from scripts.local import ports, processes, supervisor
from scripts.local.errors import StackError
from scripts.local.services import postgres, redis
from scripts.local.services.component import STACK_MARK
from scripts.local.settings import REPOSITORY, Settings
from scripts.local.shutdown import shut_down
from scripts.local.stack import Stack
from scripts.local.starter import Starter
from scripts.local.startup import Startup
from scripts.waiting import wait_until


def ignore(_: str) -> None:
    """Ignore a step of progress."""


@pytest.fixture
def supervised(described: Stack) -> Iterator[Stack]:
    """A configured stack with supervisord running and no component started."""
    described.settings.state.mkdir()
    Startup(described, ignore).write_config()
    supervisor.start(described)
    try:
        yield described
    finally:
        shut_down(described, ignore)
        assert not processes.members(described.settings)


@pytest.fixture
def starter(supervised: Stack) -> Starter:
    return Starter(supervised.settings, ignore)


@pytest.fixture
def foundations(supervised: Stack, starter: Starter) -> Stack:
    """A stack with PostgreSQL and Redis up."""
    starter.start("postgres", "redis")
    starter.wait_for("PostgreSQL", lambda: postgres.is_ready(supervised.settings), needs=["postgres"])
    starter.wait_for("Redis", lambda: redis_answers(supervised), needs=["redis"])
    return supervised


def redis_answers(stack: Stack) -> bool:
    return redis.is_ready(stack.settings, stack.passwords)


def pids(stack: Stack) -> dict[str, int]:
    return {name: state.pid for name, state in supervisor.states(stack.settings).items() if state.pid}


def alive(numbers: list[int]) -> list[int]:
    return [pid for pid in numbers if psutil.pid_exists(pid) and processes.is_alive(psutil.Process(pid))]


def test_shutdown_ends_supervisord_and_all_components(foundations: Stack) -> None:
    running = pids(foundations)
    assert set(running) == {"postgres", "redis"}
    shut_down(foundations, ignore)
    assert not alive(list(running.values()))
    assert supervisor.states(foundations.settings) == {}
    shut_down(foundations, ignore)


def test_shutdown_ends_all_components_when_supervisord_was_killed(foundations: Stack) -> None:
    running = pids(foundations)
    with supervisor.Supervisor(foundations.settings) as supervised:
        os.kill(supervised.pid(), signal.SIGKILL)
    assert wait_until(lambda: supervisor.states(foundations.settings) == {}, 10)
    assert set(running.values()) <= {process.pid for process in processes.members(foundations.settings)}
    shut_down(foundations, ignore)
    assert not alive(list(running.values()))


def test_every_process_is_known_by_its_component(foundations: Stack) -> None:
    found = {process.pid: name for process, name in processes.members(foundations.settings).items()}
    for name, pid in pids(foundations).items():
        assert found[pid] == name


def test_a_component_that_dies_is_started_again(foundations: Stack) -> None:
    before = pids(foundations)["redis"]
    os.kill(before, signal.SIGKILL)
    assert wait_until(lambda: pids(foundations).get("redis", before) != before, 10)
    assert wait_until(lambda: redis_answers(foundations), 10)


def test_redis_writes_to_the_disk_before_it_answers(foundations: Stack) -> None:
    with Redis.from_url(redis.url_for_pods(foundations.settings, foundations.passwords)) as client:
        configured = client.config_get("appendonly", "appendfsync")
    assert configured == {"appendonly": "yes", "appendfsync": "always"}


def test_a_component_that_does_not_stay_up_is_named(supervised: Stack, starter: Starter) -> None:
    (supervised.settings.redis / "redis.conf").write_text("no such setting\n")
    starter.start("redis")
    with pytest.raises(StackError, match="redis does not stay up") as raised:
        starter.wait_for("Redis", lambda: False, needs=["redis"], seconds=20)
    assert raised.value.component == "redis"


def test_data_survives_a_shutdown(foundations: Stack) -> None:
    address = redis.url_for_pods(foundations.settings, foundations.passwords)
    with Redis.from_url(address) as client:
        client.set("kept", "yes")
    shut_down(foundations, ignore)
    supervisor.start(foundations)
    again = Starter(foundations.settings, ignore)
    again.start("redis")
    again.wait_for("Redis", lambda: redis_answers(foundations), needs=["redis"])
    with Redis.from_url(address) as client:
        assert client.get("kept") == b"yes"


def test_redis_refuses_a_client_without_its_password(foundations: Stack) -> None:
    with Redis(port=foundations.settings.redis_port) as client, pytest.raises(RedisError):
        client.ping()


def test_no_command_line_has_a_secret(foundations: Stack) -> None:
    for process in processes.members(foundations.settings):
        line = " ".join(process.cmdline())
        assert foundations.passwords.hide(line) == line


def test_shutdown_leaves_processes_of_another_stack_alone(settings: Settings, described: Stack) -> None:
    settings.state.mkdir()
    other = {**os.environ, STACK_MARK: f"{settings.state}-beside"}
    ours = {**os.environ, STACK_MARK: str(settings.state)}
    command = [sys.executable, "-c", "input()"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, env=other, cwd=REPOSITORY) as stranger,
        subprocess.Popen(command, stdin=subprocess.PIPE, env=ours, cwd=REPOSITORY) as member,
    ):
        assert wait_until(lambda: processes.members(settings) != {}, 10)
        assert [process.pid for process in processes.members(settings)] == [member.pid]
        shut_down(described, ignore)
        assert member.wait(timeout=10) == -signal.SIGKILL
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_a_process_that_works_below_the_endpoints_folder_is_a_pod(
    settings: Settings, described: Stack
) -> None:
    settings.kube.mkdir(parents=True)
    command = [sys.executable, "-c", "input()"]
    pod = subprocess.Popen(command, stdin=subprocess.PIPE, env={}, cwd=settings.kube, start_new_session=True)
    with pod:
        assert {one.pid: name for one, name in processes.members(settings).items()} == {pod.pid: "kubernetes"}
        shut_down(described, ignore)
        assert pod.wait(timeout=10) != 0


def test_a_taken_port_is_named_with_its_process_and_its_option(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.redis_port)):
        expected = rf"port {settings.redis_port} is taken by .* \(process {os.getpid()}\).*--redis-port"
        with pytest.raises(StackError, match=expected):
            ports.check_free(settings)
    ports.check_free(settings)


def test_an_address_of_another_machine_is_refused(settings: Settings) -> None:
    # From a block reserved for documentation, which no machine has.
    with pytest.raises(StackError, match=r"192\.0\.2\.1 is not an address of this machine"):
        ports.require_free("192.0.2.1", settings.redis_port, "--redis-port")


def test_stopping_a_component_that_supervisord_does_not_know_is_no_error(foundations: Stack) -> None:
    """A stack that an earlier version has started may lack a component."""
    with supervisor.Supervisor(foundations.settings) as supervised:
        supervised.stop("not-yet-known")


def test_shutdown_ends_housekeeping_while_it_sleeps(supervised: Stack, starter: Starter) -> None:
    starter.start("housekeeping")
    assert wait_until(lambda: supervisor.states(supervised.settings)["housekeeping"].is_running, 20)
    running = pids(supervised)["housekeeping"]
    shut_down(supervised, ignore)
    assert not alive([running])


def test_postgres_returns_rows_of_text(foundations: Stack) -> None:
    settings = foundations.settings
    assert postgres.query(settings, "SELECT NULL") == [[""]]
    assert postgres.query(settings, "SELECT 1 WHERE false") == []
    text = 'it\'s "two",\nlines'
    assert postgres.query(settings, "SELECT :'text', NULL UNION ALL SELECT 'b', 2", text=text) == [
        [text, ""],
        ["b", "2"],
    ]
    with pytest.raises(StackError, match='relation "nothing" does not exist'):
        postgres.query(settings, "SELECT * FROM nothing")
