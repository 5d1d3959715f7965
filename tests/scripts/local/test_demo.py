"""``demo``: what it refuses, how it shows progress, and how it reads Redis."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
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
from tests.support.snapshots import FACTS, STORED
from tests.support.start_run_client import StartRunClient

CPUS: list[tuple[int, State, int]] = [
    (0, "loop", 6),
    (1, "running", 4),
    (2, "waiting", 0),
    (3, "running", 5),
    (9, "end", 6),
]
VIEW = Snapshot(
    "here",
    replace(FACTS, answer=9),
    [],
    STORED + 10,
    [
        CpuSnapshot(cpu, cpu, "jmp -4 → nop -4", state, cycle, "0", "8" if cpu else "5", None, None)
        for cpu, state, cycle in CPUS
    ],
    {},
)
SHOWN = "2 of 5 CPUs stopped · 21 cycles, 0.0 Hz · 1 waiting, 2 running, 1 loop, 1 end"


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


def progress(stderr: int, view: str, **variables: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Start a process that shows the progress of a start run three times; `view` is a Python expression."""
    code = f"""
from cpu.records import Facts
from scripts.local.demo_progress import DemoProgress
from scripts.snapshot import CpuSnapshot, Snapshot
from tests.support.snapshots import start_run
with DemoProgress() as progress:
    progress.show("storing the program")
    for _ in range(3):
        progress.update({view}, " · note [red]")
"""
    path = f"{REPOSITORY}:{REPOSITORY / 'cpu_image'}"
    environment = {"PYTHONPATH": path, "TERM": "xterm", "COLUMNS": "80", "LINES": "24", **variables}
    return running([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=stderr)


def shown_in_terminal(view: str, **variables: str) -> str:
    """Return what the progress of a start run writes to a terminal, without colours and cursor movements."""
    master, terminal = pty.openpty()
    shown = b""
    with progress(terminal, view, **variables) as process:
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
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r\n", "\n").replace("\r", "\n")


LINES = [
    "    0 s  storing the program",
    "    0 s  Part 1: 5",
    "    0 s  Part 2: 8 (line 9: jmp -4 → nop -4)",
]


def test_progress_without_a_terminal_is_a_line_every_ten_seconds_and_each_answer() -> None:
    assert describe(VIEW, 0.0) == SHOWN
    with progress(subprocess.PIPE, repr(VIEW)) as process:
        out, errors = process.communicate(timeout=60)
    assert (out, errors.decode().splitlines()) == (b"", LINES)


def test_progress_in_a_terminal_that_cannot_move_its_cursor_is_lines_too() -> None:
    assert shown_in_terminal(repr(VIEW), TERM="dumb").splitlines() == LINES


def test_progress_in_a_terminal_has_a_tile_for_each_cpu_the_clock_rate_and_the_answers() -> None:
    shown = shown_in_terminal(repr(VIEW))
    assert "storing the program" in shown
    first, last = shown.split("Part 1: 5\n", 1)[1], shown.rsplit("note [red]", 1)[1]
    assert first.startswith("Part 2: 8 (line 9: jmp -4 → nop -4)\n0 ↻ 1 ▶ 2 · 3 ▶ 9 ✔")
    assert "2 of 5 CPUs stopped · 21 cycles · 0.0 Hz now, 2.1 Hz since the start" in first
    assert "· 1 waiting  ▶ 2 running  ↻ 1 loop  ✔ 1 end" in first
    assert "Part" not in last  # the answers are printed below
    assert "0 ↻ 1 ▶ 2 · 3 ▶ 9 ✔" in last


@pytest.mark.parametrize(("cpus", "rows", "more"), [(230, 3, 0), (2000, 16, 720)])
def test_tiles_without_numbers_fill_the_terminal_when_there_are_many_cpus(
    cpus: int, rows: int, more: int
) -> None:
    shown = shown_in_terminal(f"start_run({cpus}, seconds=40)")
    last = shown.split("Hz since the start")[-2].splitlines()  # between the last two frames
    tiles = [line for line in last if re.fullmatch("[·▶↻✔✖■]{2,80}", line)]
    assert len(tiles) == rows
    assert sum(map(len, tiles)) == cpus - more
    assert (f"… and {more} more CPUs" in last) is (more > 0)


@pytest.mark.parametrize(("name", "conf"), [(None, {}), ("medium", {"bundled": "medium"})])
def test_demo_runs_the_example_or_a_bundled_program(name: str | None, conf: dict[str, str]) -> None:
    assert demo.choose_program(name) == conf


def test_demo_runs_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("acc +1\n")
    assert demo.choose_program(str(tmp_path / "mine")) == {"program": "acc +1\n"}


def test_a_program_that_is_neither_bundled_nor_a_file_is_refused_with_what_there_is() -> None:
    with pytest.raises(demo.Refused) as error:
        demo.choose_program("no-such-program")
    assert str(error.value) == (
        "cannot read the program 'no-such-program': No such file or directory; "
        "the bundled programs are example, several, fault, endless, medium, puzzle"
    )


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
