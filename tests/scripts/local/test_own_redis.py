"""A Redis of the user's own (--redis-url): what `up` and `demo` refuse, and what they warn about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from cpu.errors import TemporaryError
from cpu.redis_client import connect
from scripts.local import demo, demo_progress
from scripts.local.demo import read_redis
from scripts.local.demo_run import DemoError, DemoRun
from scripts.local.errors import StackError
from scripts.local.settings import Settings
from scripts.local.stack import Stack
from scripts.local.startup import Startup
from tests.support import redis_server as servers
from tests.support.start_run_client import StartRunClient


@pytest.fixture
def port() -> Iterator[int]:
    port = servers.free_port()
    with servers.running(port=port):
        yield port


def warnings_for(url: str, state: Path) -> list[str]:
    """Return what ``up`` prints when it checks the Redis of that URL."""
    printed: list[str] = []
    Startup(Stack.describe(Settings(state, redis_url=url)), printed.append).check_external_redis()
    return printed


def test_up_refuses_a_redis_that_evicts_and_warns_about_one_that_could(port: int, tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{port}"
    assert warnings_for(url, tmp_path) == []
    with redis.Redis(port=port) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        [warning] = warnings_for(url, tmp_path)
        assert warning.startswith("warning: Redis would evict the CPUs' memory")
        admin.config_set("maxmemory", "100mb")
        with pytest.raises(StackError, match="set it to noeviction"):
            warnings_for(url, tmp_path)


def test_up_warns_about_an_unreachable_redis_without_showing_its_password(tmp_path: Path) -> None:
    [warning] = warnings_for(f"redis://:s3cret@127.0.0.1:{servers.free_port()}", tmp_path)
    assert warning.startswith("warning: Redis does not answer")
    assert "does --redis-url lead to it?" in warning
    assert "s3cret" not in warning


@pytest.fixture
def run() -> DemoRun:
    return DemoRun(None, "run", start="s")  # type: ignore[arg-type]


def test_demo_ends_with_a_remedy_when_redis_refuses_for_good(port: int, run: DemoRun) -> None:
    with pytest.raises(DemoError, match=r"no database of the number at the end of --redis-url"):
        read_redis(run, f"redis://127.0.0.1:{port}/99")
    with redis.Redis(port=port) as admin:
        admin.config_set("requirepass", "s3cret")
        with pytest.raises(TemporaryError, match="wants a password"):
            read_redis(run, f"redis://127.0.0.1:{port}")
        admin.config_set("requirepass", "")


def test_demo_reads_a_redis_cluster(redis_cluster_url: str, run: DemoRun) -> None:
    with connect(redis_cluster_url) as client:
        client.flushall()
        start_run = StartRunClient(client, "s")
        start_run.store()
        start_run.run(8)
    assert read_redis(run, redis_cluster_url).states == {"end": 1, "waiting": 4}


def test_demo_shows_why_redis_refuses_and_waits_until_it_answers(
    port: int, run: DemoRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis.Redis(port=port) as admin:
        StartRunClient(admin, "s").store()
        StartRunClient(admin, "s").run(8)
        admin.config_set("requirepass", "s3cret")

        def remove_password() -> str:
            admin.config_set("requirepass", "")
            return ""

        monkeypatch.setattr(demo_progress, "LINE_SECONDS", 0)
        monkeypatch.setattr(demo, "REDIS_SECONDS", 0.05)
        monkeypatch.setattr(demo, "AIRFLOW_SECONDS", 0.02)
        notes: Iterator[Callable[[], str]] = iter([str, remove_password])
        monkeypatch.setattr(DemoRun, "raise_if_failed", lambda _: None)
        monkeypatch.setattr(DemoRun, "retries", lambda _: next(notes, str)())
        monkeypatch.setattr(DemoRun, "has_ended", lambda _: True)
        monkeypatch.setattr(DemoRun, "answers", lambda _, view: {"cycles": view.cycles})
        assert demo.watch(run, f"redis://127.0.0.1:{port}") == {"cycles": 6}
    shown = capsys.readouterr().err
    assert "Redis wants a password, and --redis-url has none" in shown
    assert "1 of 5 CPUs stopped" in shown
