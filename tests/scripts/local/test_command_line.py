"""What holds for every command: help with exit codes, Ctrl-C, closed output; and what `demo` prints."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from scripts.local import cli
from scripts.local.demo import wall_url
from scripts.local.demo_progress import describe
from scripts.local.pods import with_sentences
from scripts.local.settings import REPOSITORY, Settings
from scripts.snapshot import CpuSnapshot, Snapshot, State
from tests.support.processes import running
from tests.support.snapshots import FACTS

LOCAL = ["up", "down", "demo", "status", "logs", "pods", "clean-up"]
COMMANDS = [
    *(["scripts.local", name] for name in LOCAL),
    *(["scripts.kind", name] for name in ("up", "down", "deploy", "chart")),
    *([f"scripts.bench.{name}"] for name in ("history", "puzzle", "start_time")),
    ["scripts.slack_notify"],
]
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
SHOWN = "2 of 5 CPUs stopped · 21 cycles, 0.0 per second · 2 running, 1 not loaded, 1 looped, 1 ended"


def start(
    *command: str | Path, stdout: int = subprocess.PIPE, **variables: Any
) -> AbstractContextManager[subprocess.Popen[str]]:
    return running(
        [sys.executable, "-m", *map(str, command)],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **variables},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_the_exit_codes(command: list[str]) -> None:
    with start(*command, "--help") as process:
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert out.startswith(f"usage: python -m {' '.join(command)} ")
    assert "130 interrupted" in " ".join(out.split())


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["logs", "--lines", "9999"]])
def test_closed_output_ends_a_command_without_a_traceback(settings: Settings, command: list[str]) -> None:
    settings.logs.mkdir(parents=True)
    (settings.logs / "redis.log").write_text("line\n" * 9999)
    reader, writer = os.pipe()
    os.close(reader)
    with start("scripts.local", *command, "--state", settings.state, stdout=writer) as process:
        os.close(writer)
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 1


def test_output_closed_after_the_first_line_ends_a_command_without_a_traceback() -> None:
    with start("scripts.bench.puzzle", "--lines", "100000") as process:
        assert process.stdout
        assert process.stdout.readline().startswith(("acc", "nop", "jmp"))
        process.stdout.close()
        assert process.wait(60) == 1
        assert process.stderr
        assert process.stderr.read() == ""


@pytest.fixture(params=["in the foreground", "in the background"])
def _with_or_without_sigint(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ignore SIGINT in the tests' own process, as in a script's background and in many CI runners, or not."""
    ignored = request.param == "in the background"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_with_or_without_sigint")
def test_logs_follows_until_ctrl_c(settings: Settings) -> None:
    settings.logs.mkdir(parents=True)
    (settings.logs / "redis.log").write_text("started\n")
    with start(
        "scripts.local", "logs", "--follow", "--state", settings.state, PYTHONUNBUFFERED="1"
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "redis | started\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == "interrupted\n"


def test_a_closed_terminal_ends_a_command_except_under_nohup(settings: Settings) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)]
    try:
        for set_by_caller, expected in (
            (signal.SIG_DFL, signal.default_int_handler),
            (signal.SIG_IGN, signal.SIG_IGN),
        ):
            signal.signal(signal.SIGHUP, set_by_caller)
            assert cli.main(["down", "--state", str(settings.state)]) == 0
            assert signal.getsignal(signal.SIGHUP) is expected
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGTERM, before[1])


def test_slack_notify_is_interrupted_without_a_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables: dict[str, Any] = {
            "SLACK_TOKEN": "xoxb-made-up",
            "SLACK_CHANNEL": "C0CPU",
            "SLACK_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/api/",
        }
        with start("scripts.slack_notify", **variables) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 130
            assert process.stderr
            assert process.stderr.read() == "interrupted\n"


def test_pods_without_kubectl_or_without_a_stack_says_what_to_do(settings: Settings, tmp_path: Path) -> None:
    def error() -> str:
        with start("scripts.local", "pods", "--state", settings.state, PATH=str(tmp_path)) as process:
            out, errors = process.communicate(timeout=60)
        assert (process.returncode, out) == (1, "")
        return errors

    assert error() == "error: kubectl is not on the PATH: install it, and try again\n"
    (tmp_path / "kubectl").symlink_to(shutil.which("true") or "/bin/true")
    assert error() == f"error: the stack in {settings.state} is not up: run up first\n"


def test_demo_refuses_a_program_that_is_not_utf_8_before_it_starts_anything(
    settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "program"
    file.write_bytes("acc +1\r\n".encode("utf-16"))
    with start("scripts.local", "demo", file, "--state", settings.state) as process:
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, settings.state.exists()) == (2, "", False)
    assert errors.startswith(f"error: {file}: the program is encoded in UTF-16: save it as UTF-8 (in ")


def test_pods_replaces_results_by_their_sentences_and_keeps_all_else() -> None:
    lines = [
        "START  RESULT\n",
        's      {"sentence":"stored 9 instructions","status":"stored"}\n',
        "\n",
        's      {"left":1}\n',
        's      {"sentence":1}\n',
        "s      {cut off\n",
        's      {"left":' + "[" * 4000 + "\n",
        "s      <none>\n",
    ]
    assert list(with_sentences(lines)) == [
        "START  RESULT",
        "s      stored 9 instructions",
        's      {"left":1}',
        's      {"sentence":1}',
        "s      {cut off",
        's      {"left":' + "[" * 4000,
        "s      <none>",
    ]


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


def test_progress_without_a_terminal_is_one_line_in_ten_seconds() -> None:
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


def test_status_with_json_prints_one_json_object(settings: Settings) -> None:
    with start("scripts.local", "status", "--json", "--state", settings.state) as process:
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors, json.loads(out)["up"]) == (3, "", False)
