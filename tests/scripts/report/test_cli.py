"""`python -m scripts.report`, and the picture for a task, with a real Redis."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import redis

from cpu import redis_client
from cpu.keys import Keys
from cpu.redis_client import Client, connect
from scripts.local.passwords import passwords
from scripts.local.services.airflow import environment
from scripts.local.settings import REPOSITORY, Settings
from scripts.report.cli import main
from scripts.report.picture import png_or_none
from scripts.snapshot import newest_start
from tests.support import redis_server as servers
from tests.support.processes import running
from tests.support.trial import Trial

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the caller's own, and little patience."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STACK_REDIS_URL", raising=False)
    monkeypatch.setenv("STACK_DIR", str(tmp_path / "no-stack"))
    monkeypatch.setattr(redis_client, "PATIENCE_SECONDS", 0.05)


@pytest.fixture
def finished(trial: Trial) -> Trial:
    trial.store()
    for cpu in (0, 8, 1, 3, 5):
        trial.run(cpu)
    return trial


def stored_at(trial: Trial, when: float) -> None:
    trial.store()
    trial.client.hset(Keys(trial.start).facts, "stored", f"{when:.6f}")


# ------------------------------------------------------------------ the command


def test_it_leaves_both_pictures_in_a_folder_and_tells_where(
    finished: Trial, server: servers.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([finished.start, "--redis-url", server.url]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == [f".report/{finished.start}.svg", f".report/{finished.start}.png"]
    assert "Part 2: 8 (line 8: jmp -4 → nop -4)" in Path(told[0]).read_text()
    assert Path(told[1]).read_bytes().startswith(PNG)


def test_it_leaves_pictures_where_it_is_told_to(
    finished: Trial, server: servers.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["there/one.png", "two.svg"]
    outputs = [f"--output={file}" for file in wanted]
    assert main([finished.start, "--redis-url", server.url, *outputs]) == 0
    assert capsys.readouterr().out.splitlines() == wanted
    assert Path(wanted[0]).read_bytes().startswith(PNG)
    assert Path(wanted[1]).read_text().startswith("<?xml")


def test_it_prints_what_there_is_to_draw_as_json(
    finished: Trial, server: servers.Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json", "--redis-url", server.url]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["start"], told["part1"], told["part2"]) == (
        finished.start,
        {"text": "5", "cpu": 0},
        {"text": "8", "cpu": 8},
    )
    assert [one["cpu"] for one in told["cpus"]] == [0, 1, 3, 5, 8]
    assert [one["state"] for one in told["cpus"]] == ["loop", "stopped", "stopped", "stopped", "end"]
    assert told["cpus"][4]["cycle"] == finished.read(8)["cycle"]
    for one in told["cpus"]:
        assert told["stored"] <= one["loaded"] <= one["stopped"] <= told["ended"] <= told["now"]
    assert list(tmp_path.iterdir()) == []


def test_without_a_name_it_is_the_start_run_that_was_stored_last(
    client: redis.Redis, server: servers.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = [Trial(client) for _ in range(3)]
    for trial, when in zip(trials, (5.5, 20.25, 9.75), strict=True):
        stored_at(trial, when)
        trial.load(8)
    assert main(["--json", "--redis-url", server.url]) == 0
    assert json.loads(capsys.readouterr().out)["start"] == trials[1].start


def test_the_newest_start_run_is_found_in_a_redis_cluster(redis_cluster: Client) -> None:
    assert newest_start(redis_cluster) is None
    old, new = Trial(redis_cluster), Trial(redis_cluster)
    stored_at(old, 5)
    stored_at(new, 6)
    assert newest_start(redis_cluster) == new.start


def test_the_stack_s_redis_is_found_by_its_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, port = tmp_path / "state", servers.free_port()
    state.mkdir()
    Settings(state, redis_port=port).save()
    password = passwords(state).redis
    with servers.running("--requirepass", password, port=port):
        with connect(f"redis://:{password}@127.0.0.1:{port}") as client:
            Trial(client, "here").store()
        assert main(["--json", "--state", str(state)]) == 0
        monkeypatch.setenv("STACK_DIR", str(state))
        assert main(["--json"]) == 0
    told = capsys.readouterr()
    assert told.out.count('"start": "here"') == 2
    assert main(["--json"]) == 1
    away = capsys.readouterr()
    assert away.err.startswith("error: Redis does not answer (Connection refused): is it up, and does")
    assert away.err.endswith("(make up starts the stack)\n")
    assert password not in told.out + told.err + away.out + away.err


def test_another_redis_is_named_by_environment(
    finished: Trial,
    server: servers.Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STACK_REDIS_URL", server.url)
    assert main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["start"] == finished.start


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is no stack in"),
        (["--redis-url=unix:///nowhere"], "Redis does not answer (No such file or directory)"),
        (["--redis-url={url}"], "Redis keeps no start run: make demo runs one"),
        (["nobody", "--redis-url={url}"], "start run nobody is not kept"),
    ],
)
def test_where_there_is_nothing_to_show_it_says_why(
    client: redis.Redis,
    server: servers.Server,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    assert main([one.format(url=server.url) for one in arguments]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"error: {said}")
    assert told.err.count("\n") == 1


def test_a_picture_that_cannot_be_written_is_named(
    finished: Trial, server: servers.Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["--redis-url", server.url, "--output", "file/one.svg"]) == 1
    assert capsys.readouterr().err == "error: cannot write file/one.svg: File exists\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["UPPER"], "START is 'UPPER'"),
        (["x" * 33], "START is"),
        (["--output=one.pdf"], "--output is 'one.pdf'"),
        (["--json", "--output=one.svg"], "not allowed with"),
        (["--redis-url=redis://:secret@127.0.0.1"], "set STACK_REDIS_URL"),
        (["--redis-url=redis://127.0.0.1?password=secret"], "set STACK_REDIS_URL"),
        (["--unknown"], "unrecognized arguments"),
    ],
)
def test_wrong_arguments_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (2, "")
    assert said in told.err
    assert "secret" not in told.err


def test_an_address_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--redis-url", "http://127.0.0.1"]) == 2
    assert capsys.readouterr().err.startswith("error: the address given is not a usable URL")


def command(*arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """As it is typed."""
    line = [sys.executable, "-m", "scripts.report", *arguments]
    pipe = subprocess.PIPE
    return running(line, cwd=REPOSITORY, stdout=pipe, stderr=pipe, text=True)


def test_who_stops_reading_gets_no_complaint(finished: Trial, server: servers.Server) -> None:
    with command("--json", "--redis-url", server.url) as process:
        assert process.stdout
        process.stdout.close()
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_help_tells_all_there_is() -> None:
    with command("--help") as process:
        out, errors = process.communicate(timeout=60)
    assert errors == ""
    for name in ("START", "--output", "--folder", "--json", "--redis-url", "STACK_REDIS_URL", "exit codes:"):
        assert name in out


# ------------------------------------------------------------------ for a task

AS_A_TASK = """
import sys
from scripts.report.picture import png_or_none
heavy = {"matplotlib", "redis", "airflow", "pydantic"} & set(sys.modules)
assert not heavy, heavy
sys.stdout.buffer.write(png_or_none(sys.argv[1]))
"""


def test_a_task_gets_the_picture_though_another_cpu_is_on_its_path(tmp_path: Path) -> None:
    own = {
        # Airflow adds the folder of the DAGs, where `cpu` is one of them.
        "PYTHONPATH": f"{environment(Settings(tmp_path))['PYTHONPATH']}:{REPOSITORY / 'dags'}",
        "AIRFLOW_HOME": str(tmp_path),
    }
    port = servers.free_port()
    with servers.running(port=port) as reached:
        with connect(reached.url) as client:
            Trial(client, "here").store()
        own["AIRFLOW_CONN_REDIS_CPU"] = reached.url
        line = [sys.executable, "-c", AS_A_TASK, "here"]
        done = subprocess.run(line, env={**os.environ, **own}, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert PNG in done.stdout


class Said(logging.Handler):
    """What the logger says; on itself, as Airflow sets the root's handlers anew when it is imported."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[list[str]]:
    handler = Said()
    logger = logging.getLogger("scripts.report.picture")
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


def test_a_task_is_told_that_the_connection_is_missing(said: list[str]) -> None:
    assert png_or_none("nobody") is None
    (told,) = said
    assert told.startswith(
        "There is no picture of start run nobody: there is no Airflow connection redis_cpu"
    )
    assert "add it: the address of the CPUs' Redis" in told


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://:secret@127.0.0.1:{free}/0", "does the Airflow connection redis_cpu lead to it"),
        ("http://:secret@127.0.0.1:{free}/0", "the Airflow connection redis_cpu has the type 'http'"),
        ("redis://127.0.0.1:{port}/0", "start run nobody is not kept"),
    ],
)
def test_a_task_is_told_that_redis_has_nothing_for_it(
    said: list[str], monkeypatch: pytest.MonkeyPatch, url: str, why: str
) -> None:
    port = servers.free_port()
    with servers.running(port=port):
        address = url.format(port=port, free=servers.free_port())
        monkeypatch.setenv("AIRFLOW_CONN_REDIS_CPU", address)
        assert png_or_none("nobody") is None
    (told,) = said
    assert why in told
    assert "secret" not in told


def test_a_task_is_told_that_matplotlib_is_missing(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    port = servers.free_port()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with servers.running(port=port) as reached:
        with connect(reached.url) as client:
            Trial(client, "here").store()
        monkeypatch.setenv("AIRFLOW_CONN_REDIS_CPU", reached.url)
        assert png_or_none("here") is None
    assert said[0].endswith("matplotlib is not installed here, and draws the picture: pip install matplotlib")
