"""The commands as a user runs them, as far as they need no Airflow."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from scripts.local import logs
from scripts.local.passwords import passwords
from scripts.local.pods import with_sentences
from scripts.local.settings import REPOSITORY, Settings


def command(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the caller's environment, but without its STACK_… variables, and ``variables``."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("STACK_", "CPUS_"))}
    return subprocess.run(
        [sys.executable, "-m", "scripts.local", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**inherited, **variables},
    )


def test_help_names_every_command_and_variable() -> None:
    assert all(name in command("--help").stdout for name in ("up", "down", "status", "logs", "demo"))
    shown = command("up", "--help").stdout
    assert all(name in shown for name in ("STACK_DIR", "STACK_PORT", "CPUS_AT_ONCE", "--pods-reach-host-at"))


def test_down_of_a_stack_that_was_never_up_does_nothing(settings: Settings) -> None:
    assert command("down", "--state", settings.state).returncode == 0
    assert not settings.state.exists()


def test_status_of_a_stack_that_was_never_up_shows_stopped_components(settings: Settings) -> None:
    shown = command("status", "--json", "--state", settings.state)
    assert shown.returncode == 3
    found = json.loads(shown.stdout)
    assert found["up"] is False
    assert {one["state"] for one in found["components"]} == {"stopped"}
    assert not settings.state.exists()


def test_status_with_json_prints_one_json_object(settings: Settings) -> None:
    shown = command("status", "--json", "--state", settings.state)
    assert (shown.returncode, shown.stderr, json.loads(shown.stdout)["up"]) == (3, "", False)


def test_up_on_a_taken_port_fails_with_one_line(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.port)):
        failed = command("up", "--state", settings.state, "--port", str(settings.port))
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"error: port {settings.port} is taken")
    assert len(failed.stderr.splitlines()) == 1


def test_down_with_purge_removes_the_state_folder(settings: Settings) -> None:
    (settings.state / "redis").mkdir(parents=True)
    assert command("down", "--purge", "--state", settings.state).returncode == 0
    assert not settings.state.exists()


def test_logs_without_a_log_say_what_to_do(settings: Settings) -> None:
    failed = command("logs", "--state", settings.state)
    assert failed.returncode == 1
    assert "run up first" in failed.stderr
    assert not settings.state.exists()


def test_logs_prints_last_lines_after_component_names_without_secrets(settings: Settings) -> None:
    settings.logs.mkdir(parents=True)
    secret = passwords(settings.state).redis
    (settings.logs / "redis.log").write_text(f"one\ntwo\nthree {secret}\n")
    (settings.logs / "scheduler.log").write_text("loop\n")
    shown = command("logs", "-n", "2", "--state", settings.state).stdout
    assert shown.splitlines() == ["redis     | two", "redis     | three ***", "scheduler | loop"]
    assert command("logs", "scheduler", "--state", settings.state).stdout == "scheduler | loop\n"
    assert "there are: redis, scheduler" in command("logs", "reddis", "--state", settings.state).stderr


def test_a_tail_of_no_lines_is_empty(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\n")
    assert logs.tail(tmp_path / "log", 0) == []


def test_pods_without_kubectl_or_without_a_stack_says_what_to_do(settings: Settings, tmp_path: Path) -> None:
    def error() -> str:
        failed = command("pods", "--state", settings.state, PATH=str(tmp_path))
        assert (failed.returncode, failed.stdout) == (1, "")
        return failed.stderr

    assert error() == "error: kubectl is not on the PATH: install it, and try again\n"
    (tmp_path / "kubectl").symlink_to(shutil.which("true") or "/bin/true")
    assert error() == f"error: the stack in {settings.state} is not up: run up first\n"


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
