"""What holds for every command: help with exit codes, Ctrl-C, closed output."""

from __future__ import annotations

import os
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
from scripts.local.settings import REPOSITORY, Settings
from tests.support.processes import running

LOCAL = ["up", "down", "demo", "items", "status", "logs", "pods", "clean-up"]
COMMANDS = [
    *(["scripts.local", name] for name in LOCAL),
    *(["scripts.kind", name] for name in ("up", "down", "deploy", "chart")),
    *([f"scripts.bench.{name}"] for name in ("history", "puzzle", "start_time")),
    ["scripts.slack_notify"],
]


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
