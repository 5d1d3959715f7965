"""A Redis of the user's own (--redis-url): what `up` and `demo` say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from cpu.errors import TemporaryError
from cpu.redis_client import connect
from scripts.local import demo
from scripts.local.demo import DemoError, StartRun, look
from scripts.local.errors import StackError
from scripts.local.settings import Settings
from scripts.local.startup import Ascent
from tests.support import redis_server as servers
from tests.support.start_run_client import StartRunClient


@pytest.fixture
def port() -> Iterator[int]:
    port = servers.free_port()
    with servers.running(port=port):
        yield port


def said_of(url: str, state: Path) -> list[str]:
    said: list[str] = []
    Ascent(Settings(state, redis_url=url), said.append).check_redis()
    return said


def test_one_that_evicts_is_refused_or_warned_of_before_anything_is_started(
    port: int, tmp_path: Path
) -> None:
    url = f"redis://127.0.0.1:{port}"
    assert said_of(url, tmp_path) == []
    with redis.Redis(port=port) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        [warning] = said_of(url, tmp_path)
        assert warning.startswith("warning: Redis would evict the CPUs' memory")
        admin.config_set("maxmemory", "100mb")
        with pytest.raises(StackError, match="set it to noeviction"):
            said_of(url, tmp_path)


def test_one_that_only_the_pods_can_reach_is_said_to_be_away_and_left_to_them(tmp_path: Path) -> None:
    [warning] = said_of(f"redis://:s3cret@127.0.0.1:{servers.free_port()}", tmp_path)
    assert warning.startswith("warning: Redis does not answer")
    assert "does --redis-url lead to it?" in warning
    assert "s3cret" not in warning


@pytest.fixture
def run() -> StartRun:
    return StartRun(None, "run", start="s", cpus=[0, 8])  # type: ignore[arg-type]


def test_the_demo_tells_the_remedy_instead_of_waiting_for_a_redis_that_refuses_it(
    port: int, run: StartRun
) -> None:
    with pytest.raises(DemoError, match=r"no database of the number at the end of --redis-url"):
        look(run, f"redis://127.0.0.1:{port}/99")
    with redis.Redis(port=port) as admin:
        admin.config_set("requirepass", "s3cret")
        with pytest.raises(TemporaryError, match="wants a password"):
            look(run, f"redis://127.0.0.1:{port}")
        admin.config_set("requirepass", "")


def test_the_demo_watches_a_redis_cluster_too(redis_cluster_url: str, run: StartRun) -> None:
    with connect(redis_cluster_url) as client:
        client.flushall()
        start_run = StartRunClient(client, "s")
        start_run.store()
        start_run.run(8)
    assert look(run, redis_cluster_url).states == {"end": 1, "waiting": 1}


def test_the_demo_shows_what_redis_refuses_and_waits_until_it_answers(
    port: int, run: StartRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis.Redis(port=port) as admin:
        StartRunClient(admin, "s").store()
        StartRunClient(admin, "s").run(8)
        admin.config_set("requirepass", "s3cret")

        def put_right() -> str:
            admin.config_set("requirepass", "")
            return ""

        monkeypatch.setattr(demo, "PLAIN_SECONDS", 0)
        monkeypatch.setattr(demo, "LOOK_SECONDS", 0.05)
        monkeypatch.setattr(demo, "AIRFLOW_SECONDS", 0.02)
        troubles: Iterator[Callable[[], str]] = iter([str, put_right])
        monkeypatch.setattr(StartRun, "raise_if_failed", lambda _: None)
        monkeypatch.setattr(StartRun, "trouble", lambda _: next(troubles, str)())
        monkeypatch.setattr(StartRun, "is_over", lambda _: True)
        monkeypatch.setattr(StartRun, "answers", lambda _, view: {"cycles": view.cycles})
        assert demo.watch(run, f"redis://127.0.0.1:{port}") == {"cycles": 6}
    said = capsys.readouterr().err
    assert "Redis wants a password, and --redis-url has none" in said
    assert "1 of 2 CPUs stopped" in said
