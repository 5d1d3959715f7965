"""`python -m scripts.report`, and the picture for a task of Airflow's, on a real Redis."""

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
from tests.support.start_run_client import StartRunClient

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use no file or variable of whoever runs the tests, and do not wait for a Redis that is away."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STACK_REDIS_URL", raising=False)
    monkeypatch.setenv("STACK_DIR", str(tmp_path / "no-stack"))
    monkeypatch.setattr(redis_client, "RETRY_SECONDS", 0.05)


@pytest.fixture
def finished(start_run: StartRunClient) -> StartRunClient:
    start_run.store_text()
    for cpu in (0, 8, 1, 3, 5):
        start_run.run(cpu)
    return start_run


def store_at(start_run: StartRunClient, time: float) -> None:
    start_run.store_text()
    start_run.client.hset(Keys(start_run.start).facts, "stored", f"{time:.6f}")


# ------------------------------------------------------------------ the command


def test_report_writes_svg_and_png_into_the_folder_and_prints_their_names(
    finished: StartRunClient, server: servers.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([finished.start, "--redis-url", server.url]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f".report/{finished.start}.svg", f".report/{finished.start}.png"]
    assert "Part 2: 8 (line 8: jmp -4 → nop -4)" in Path(printed[0]).read_text()
    assert Path(printed[1]).read_bytes().startswith(PNG)


def test_output_names_the_files_to_write(
    finished: StartRunClient, server: servers.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["there/one.png", "two.svg"]
    outputs = [f"--output={file}" for file in wanted]
    assert main([finished.start, "--redis-url", server.url, *outputs]) == 0
    assert capsys.readouterr().out.splitlines() == wanted
    assert Path(wanted[0]).read_bytes().startswith(PNG)
    assert Path(wanted[1]).read_text().startswith("<?xml")


def test_json_prints_the_snapshot_and_writes_no_file(
    finished: StartRunClient, server: servers.Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json", "--redis-url", server.url]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["start"], printed["part1"], printed["part2"]) == (
        finished.start,
        {"text": "5", "cpu": 0},
        {"text": "8", "cpu": 8},
    )
    assert [one["cpu"] for one in printed["cpus"]] == [0, 1, 3, 5, 8]
    assert [one["state"] for one in printed["cpus"]] == ["loop", "stopped", "stopped", "stopped", "end"]
    assert printed["cpus"][4]["cycle"] == finished.read(8)["cycle"]
    for one in printed["cpus"]:
        assert printed["stored"] <= one["loaded"] <= one["stopped"] <= printed["ended"] <= printed["now"]
    assert list(tmp_path.iterdir()) == []


def test_the_default_is_the_start_run_that_was_stored_last(
    client: redis.Redis, server: servers.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = [StartRunClient(client) for _ in range(3)]
    for start_run, when in zip(trials, (5.5, 20.25, 9.75), strict=True):
        store_at(start_run, when)
        start_run.load(8)
    assert main(["--json", "--redis-url", server.url]) == 0
    assert json.loads(capsys.readouterr().out)["start"] == trials[1].start


def test_the_newest_start_run_is_found_in_a_redis_cluster(redis_cluster: Client) -> None:
    assert newest_start(redis_cluster) is None
    old, new = StartRunClient(redis_cluster), StartRunClient(redis_cluster)
    store_at(old, 5)
    store_at(new, 6)
    assert newest_start(redis_cluster) == new.start


def test_the_redis_of_the_stack_is_found_by_the_folder_of_the_stack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, port = tmp_path / "state", servers.free_port()
    state.mkdir()
    Settings(state, redis_port=port).save()
    password = passwords(state).redis
    with servers.running("--requirepass", password, port=port):
        with connect(f"redis://:{password}@127.0.0.1:{port}") as client:
            StartRunClient(client, "here").store_text()
        assert main(["--json", "--state", str(state)]) == 0
        monkeypatch.setenv("STACK_DIR", str(state))
        assert main(["--json"]) == 0
    printed = capsys.readouterr()
    assert printed.out.count('"start": "here"') == 2
    assert main(["--json"]) == 1
    away = capsys.readouterr()
    assert away.err.startswith("error: Redis does not answer (Connection refused): is it up, and does")
    assert away.err.endswith("(make up starts the stack)\n")
    assert password not in printed.out + printed.err + away.out + away.err


def test_a_variable_names_another_redis(
    finished: StartRunClient,
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
def test_without_a_start_run_the_error_says_why(
    client: redis.Redis,
    server: servers.Server,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    assert main([one.format(url=server.url) for one in arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {said}")
    assert printed.err.count("\n") == 1


def test_a_file_that_cannot_be_written_is_named(
    finished: StartRunClient, server: servers.Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
def test_wrong_arguments_are_refused_without_a_password_in_the_text(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert said in printed.err
    assert "secret" not in printed.err


def test_a_url_that_is_not_of_redis_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--redis-url", "http://127.0.0.1"]) == 2
    assert capsys.readouterr().err.startswith("error: the address given is not a usable URL")


def command(*arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run the command as people do."""
    line = [sys.executable, "-m", "scripts.report", *arguments]
    pipe = subprocess.PIPE
    return running(line, cwd=REPOSITORY, stdout=pipe, stderr=pipe, text=True)


def test_a_reader_that_closes_the_pipe_gets_no_error(
    finished: StartRunClient, server: servers.Server
) -> None:
    with command("--json", "--redis-url", server.url) as process:
        assert process.stdout
        process.stdout.close()
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_help_names_every_option_variable_and_exit_code() -> None:
    with command("--help") as process:
        out, errors = process.communicate(timeout=60)
    assert errors == ""
    for name in ("START", "--output", "--folder", "--json", "--redis-url", "STACK_REDIS_URL", "exit codes:"):
        assert name in out


# ------------------------------------------------------------------ for a task

TASK = """
import sys
from scripts.report.picture import png_or_none
heavy = {"matplotlib", "redis", "airflow", "pydantic"} & set(sys.modules)
assert not heavy, heavy
sys.stdout.buffer.write(png_or_none(sys.argv[1]))
"""


def test_a_task_gets_the_picture_although_the_dag_file_cpu_is_on_its_path(tmp_path: Path) -> None:
    own = {
        # Airflow adds the folder of the DAGs, where `cpu` is one of them.
        "PYTHONPATH": f"{environment(Settings(tmp_path))['PYTHONPATH']}:{REPOSITORY / 'dags'}",
        "AIRFLOW_HOME": str(tmp_path),
    }
    port = servers.free_port()
    with servers.running(port=port) as reached:
        with connect(reached.url) as client:
            StartRunClient(client, "here").store_text()
        own["AIRFLOW_CONN_REDIS_CPU"] = reached.url
        line = [sys.executable, "-c", TASK, "here"]
        done = subprocess.run(line, env={**os.environ, **own}, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert PNG in done.stdout


class Messages(logging.Handler):
    """Keeps messages of one logger: Airflow replaces the handlers of the root logger when it is imported."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def logged() -> Iterator[list[str]]:
    handler = Messages()
    logger = logging.getLogger("scripts.report.picture")
    logger.addHandler(handler)
    yield handler.messages
    logger.removeHandler(handler)


def test_a_task_logs_that_the_connection_is_missing_and_has_no_picture(logged: list[str]) -> None:
    assert png_or_none("nobody") is None
    (message,) = logged
    assert message.startswith(
        "There is no picture of start run nobody: there is no Airflow connection redis_cpu"
    )
    assert "add it: the address of the CPUs' Redis" in message


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://:secret@127.0.0.1:{free}/0", "does the Airflow connection redis_cpu lead to it"),
        ("http://:secret@127.0.0.1:{free}/0", "the Airflow connection redis_cpu has the type 'http'"),
        ("redis://127.0.0.1:{port}/0", "start run nobody is not kept"),
    ],
)
def test_a_task_logs_why_redis_has_no_picture_for_it_without_its_password(
    logged: list[str], monkeypatch: pytest.MonkeyPatch, url: str, why: str
) -> None:
    port = servers.free_port()
    with servers.running(port=port):
        address = url.format(port=port, free=servers.free_port())
        monkeypatch.setenv("AIRFLOW_CONN_REDIS_CPU", address)
        assert png_or_none("nobody") is None
    (message,) = logged
    assert why in message
    assert "secret" not in message


def test_a_task_logs_that_matplotlib_is_missing_and_has_no_picture(
    logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = servers.free_port()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with servers.running(port=port) as reached:
        with connect(reached.url) as client:
            StartRunClient(client, "here").store_text()
        monkeypatch.setenv("AIRFLOW_CONN_REDIS_CPU", reached.url)
        assert png_or_none("here") is None
    assert logged[0].endswith(
        "matplotlib is not installed here, and draws the picture: pip install matplotlib"
    )
