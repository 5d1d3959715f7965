"""The benchmark of a pod's start: how it evaluates the commands that Redis has seen."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.bench.start_time import parse, redis_server, table, times_of


def seen(*commands: tuple[float, str, str]) -> Any:
    return iter([{"time": time, "client_port": port, "command": command} for time, port, command in commands])


def test_the_first_command_is_that_of_another_connection_than_the_launcher_s() -> None:
    commands = seen(
        (1.0, "7", "AUTH (redacted)"),
        (2.0, "7", "SET launcher begin"),
        (2.5, "8", "EVALSHA 1"),
        (2.6, "8", "EVALSHA 2"),
        (3.0, "7", "SET launcher end"),
    )
    assert times_of(commands) == (2.0, 2.5, 3.0)


def test_a_command_that_sends_nothing_to_redis_has_only_its_end() -> None:
    commands = seen((2.0, "7", "SET launcher begin"), (3.0, "7", "SET launcher end"))
    assert times_of(commands) == (2.0, 3.0, 3.0)


def test_the_table_has_milliseconds_and_the_ratio() -> None:
    text = table({"cycle": [0.1, 0.2, 0.06], "python": [0.02, 0.03, 0.01]})
    assert [line.split()[-3:] for line in text.splitlines()[1:3]] == [
        ["100", "60", "200"],
        ["20", "10", "30"],
    ]
    assert text.splitlines()[-1] == "5.0 times a bare Python, 3 pods each"


def test_an_address_of_another_machine_is_refused() -> None:
    with (
        pytest.raises(SystemExit, match=r"cannot listen on 192\.0\.2\.7 .*--host-for-pods"),
        redis_server("192.0.2.7"),
    ):
        pass


def test_zero_pods_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--kubeconfig", "any", "--host-for-pods", "127.0.0.1", "--pods", "0"])
    assert "--pods is 0: expected 1 or more" in capsys.readouterr().err
