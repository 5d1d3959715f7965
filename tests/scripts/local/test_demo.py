"""``demo``: what it refuses, how it shows progress, and how it reads Redis."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import redis

from cpu.errors import TemporaryError
from cpu.redis_client import connect
from scripts.local import demo, demo_progress
from scripts.local.demo import read_redis, wall_url
from scripts.local.demo_progress import describe
from scripts.local.demo_run import DemoError, DemoRun
from scripts.local.settings import REPOSITORY, Settings
from scripts.snapshot import CpuSnapshot, Snapshot, State
from tests.support.processes import running
from tests.support.snapshots import FACTS
from tests.support.start_run_client import StartRunClient

CPUS: list[tuple[State, int]] = [("running", 4), ("running", 5), ("waiting", 0), ("loop", 6), ("end", 6)]
VIEW = Snapshot(
    "here",
    FACTS,
    [],
    0.0,
    [
        CpuSnapshot(cpu, None, None, state, cycle, "0", "0", None, None)
        for cpu, (state, cycle) in enumerate(CPUS)
    ],
    {},
)
SHOWN = "2 of 5 CPUs stopped · 21 cycles, 0.0 per second · 1 waiting, 2 running, 1 loop, 1 end"


def test_demo_refuses_a_program_that_is_not_utf_8_before_it_starts_anything(
    settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "program"
    file.write_bytes("acc +1\r\n".encode("utf-16"))
    done = subprocess.run(
        [sys.executable, "-m", "scripts.local", "demo", file, "--state", settings.state],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, settings.state.exists()) == (2, "", False)
    assert done.stderr.startswith(f"error: {file}: the program is encoded in UTF-16: save it as UTF-8 (in ")


@pytest.mark.parametrize(
    ("airflow", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/plugin/cpu-wall/cpu-wall/?run=a%2Fb"),
        ("https://h/air/flow", "https://h/air/flow/plugin/cpu-wall/air/flow/cpu-wall/?run=a%2Fb"),
    ],
)
def test_the_walls_address_has_airflows_path_twice(airflow: str, url: str) -> None:
    assert wall_url(airflow, "a/b") == url


def progress(stderr: int, columns: int = 150) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Start a process that shows the progress of a start run three times."""
    code = f"""
from cpu.records import Facts
from scripts.local.demo_progress import DemoProgress
from scripts.snapshot import CpuSnapshot, Snapshot
with DemoProgress() as progress:
    for _ in range(3):
        progress.update({VIEW!r}, " · note [red]")
"""
    path = f"{REPOSITORY}:{REPOSITORY / 'cpu_image'}"
    environment = {"PYTHONPATH": path, "TERM": "xterm", "COLUMNS": str(columns)}
    return running([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=stderr)


def test_progress_without_a_terminal_is_a_line_every_ten_seconds() -> None:
    assert describe(VIEW, 0.0) == SHOWN
    with progress(subprocess.PIPE) as process:
        out, errors = process.communicate(timeout=60)
    assert (out, errors.decode()) == (b"", f"    0 s  {SHOWN} · note [red]\n")


@pytest.mark.parametrize("columns", [70, 150])
def test_progress_in_a_terminal_is_a_bar(columns: int) -> None:
    master, terminal = pty.openpty()
    shown = b""
    with progress(terminal, columns) as process:
        os.close(terminal)
        try:
            while data := os.read(master, 65_536):
                shown += data
        except OSError:  # raised when a terminal is closed
            pass
        finally:
            os.close(master)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"0:00:\d\d [━╸╺]{24} 2 of 5 CPUs stopped", plain)
    assert f"{SHOWN} · note [red]" in " ".join(plain.split())


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
        start_run.store_text()
        start_run.run(8)
    assert read_redis(run, redis_cluster_url).states == {"end": 1, "waiting": 4}


def test_demo_shows_why_redis_refuses_and_waits_until_it_answers(
    port: int, run: DemoRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis.Redis(port=port) as admin:
        StartRunClient(admin, "s").store_text()
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
