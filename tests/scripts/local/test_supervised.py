"""supervisord with a real Redis and a real PostgreSQL, without Airflow: started, killed, ended."""

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
from scripts.local.components import components
from scripts.local.errors import StackError
from scripts.local.passwords import passwords
from scripts.local.services import postgres, redis
from scripts.local.services.component import STACK_MARK
from scripts.local.settings import REPOSITORY, Settings
from scripts.local.shutdown import take_down
from scripts.local.startup import Ascent
from scripts.waiting import wait_until


def quietly(_: str) -> None:
    """Nobody is listening."""


@pytest.fixture
def ascent(settings: Settings) -> Iterator[Ascent]:
    """Everything laid out and supervisord running, with no component started."""
    settings.state.mkdir()
    way_up = Ascent(settings, quietly)
    way_up.lay_out(passwords(settings.state))
    supervisor.start(settings, components(settings))
    try:
        yield way_up
    finally:
        take_down(settings, quietly)
        assert not processes.members(settings)


@pytest.fixture
def foundations(ascent: Ascent) -> Settings:
    """PostgreSQL and Redis, up."""
    settings = ascent.settings
    ascent.start("postgres", "redis")
    ascent.wait("PostgreSQL", lambda: postgres.is_ready(settings), "postgres")
    ascent.wait("Redis", lambda: redis.is_ready(settings, passwords(settings.state)), "redis")
    return settings


def pids(settings: Settings) -> dict[str, int]:
    return {name: state.pid for name, state in supervisor.states(settings).items() if state.pid}


def alive(numbers: list[int]) -> list[int]:
    return [pid for pid in numbers if psutil.pid_exists(pid) and processes.is_alive(psutil.Process(pid))]


def test_what_is_up_is_taken_down_whole(foundations: Settings) -> None:
    running = pids(foundations)
    assert set(running) == {"postgres", "redis"}
    take_down(foundations, quietly)
    assert not alive(list(running.values()))
    assert supervisor.states(foundations) == {}
    take_down(foundations, quietly)


def test_nothing_is_left_when_supervisord_was_killed(foundations: Settings) -> None:
    running = pids(foundations)
    with supervisor.Supervisor(foundations) as supervised:
        os.kill(supervised.pid(), signal.SIGKILL)
    assert wait_until(lambda: supervisor.states(foundations) == {}, 10)
    assert set(running.values()) <= {process.pid for process in processes.members(foundations)}
    take_down(foundations, quietly)
    assert not alive(list(running.values()))


def test_every_process_is_known_by_its_component(foundations: Settings) -> None:
    found = {process.pid: name for process, name in processes.members(foundations).items()}
    for name, pid in pids(foundations).items():
        assert found[pid] == name


def test_a_component_that_dies_is_started_again(foundations: Settings) -> None:
    before = pids(foundations)["redis"]
    os.kill(before, signal.SIGKILL)
    assert wait_until(lambda: pids(foundations).get("redis", before) != before, 10)
    assert wait_until(lambda: redis.is_ready(foundations, passwords(foundations.state)), 10)


def test_redis_answers_once_what_it_keeps_is_on_the_disk(foundations: Settings) -> None:
    with Redis.from_url(redis.url_for_pods(foundations, passwords(foundations.state))) as client:
        kept = client.config_get("appendonly", "appendfsync")
    assert kept == {"appendonly": "yes", "appendfsync": "always"}


def test_a_component_that_does_not_stay_up_is_named(ascent: Ascent) -> None:
    (ascent.settings.redis / "redis.conf").write_text("no such setting\n")
    ascent.start("redis")
    with pytest.raises(StackError, match="redis does not stay up") as raised:
        ascent.wait("Redis", lambda: False, "redis", seconds=20)
    assert raised.value.component == "redis"


def test_data_outlives_the_stack(foundations: Settings) -> None:
    secrets = passwords(foundations.state)
    address = redis.url_for_pods(foundations, secrets)
    with Redis.from_url(address) as client:
        client.set("kept", "yes")
    take_down(foundations, quietly)
    supervisor.start(foundations, components(foundations))
    again = Ascent(foundations, quietly)
    again.start("redis")
    again.wait("Redis", lambda: redis.is_ready(foundations, secrets), "redis")
    with Redis.from_url(address) as client:
        assert client.get("kept") == b"yes"


def test_redis_wants_its_password(foundations: Settings) -> None:
    with Redis(port=foundations.redis_port) as client, pytest.raises(RedisError):
        client.ping()


def test_secrets_are_on_no_command_line(foundations: Settings) -> None:
    secrets = passwords(foundations.state)
    for process in processes.members(foundations):
        line = " ".join(process.cmdline())
        assert secrets.hide(line) == line


def test_processes_of_another_stack_are_left_alone(settings: Settings) -> None:
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
        take_down(settings, quietly)
        assert member.wait(timeout=10) == -signal.SIGKILL
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_a_process_that_works_below_the_endpoints_folder_is_a_pod(settings: Settings) -> None:
    settings.kube.mkdir(parents=True)
    command = [sys.executable, "-c", "input()"]
    pod = subprocess.Popen(command, stdin=subprocess.PIPE, env={}, cwd=settings.kube, start_new_session=True)
    with pod:
        assert {one.pid: name for one, name in processes.members(settings).items()} == {pod.pid: "kubernetes"}
        take_down(settings, quietly)
        assert pod.wait(timeout=10) != 0


def test_a_taken_port_is_named_with_its_holder_and_its_option(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.redis_port)):
        expected = rf"port {settings.redis_port} is taken by .* \(process {os.getpid()}\).*--redis-port"
        with pytest.raises(StackError, match=expected):
            ports.check_free(settings)
    ports.check_free(settings)


def test_an_address_of_another_machine_is_refused(settings: Settings) -> None:
    # From the block set aside for documentation: nobody has it.
    with pytest.raises(StackError, match=r"192\.0\.2\.1 is no address of this machine"):
        ports.require_free("192.0.2.1", settings.redis_port, "--redis-port")


def test_a_component_of_a_later_version_is_no_obstacle_on_the_way_down(foundations: Settings) -> None:
    with supervisor.Supervisor(foundations) as supervised:
        supervised.stop("not-yet-known")


def test_housekeeping_is_taken_down_in_its_sleep(ascent: Ascent) -> None:
    ascent.start("housekeeping")
    assert wait_until(lambda: supervisor.states(ascent.settings)["housekeeping"].is_running, 20)
    running = pids(ascent.settings)["housekeeping"]
    take_down(ascent.settings, quietly)
    assert not alive([running])


def test_postgres_answers_with_rows_of_text(foundations: Settings) -> None:
    assert postgres.ask(foundations, "SELECT NULL") == [[""]]
    assert postgres.ask(foundations, "SELECT 1 WHERE false") == []
    text = 'it\'s "two",\nlines'
    assert postgres.ask(foundations, "SELECT :'text', NULL UNION ALL SELECT 'b', 2", text=text) == [
        [text, ""],
        ["b", "2"],
    ]
    with pytest.raises(StackError, match='relation "nothing" does not exist'):
        postgres.ask(foundations, "SELECT * FROM nothing")
