"""The commands as processes, as in a pod: what they print, the file, the exit code."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest
import redis

from cpu import redis_client
from cpu.errors import PermanentError, TemporaryError
from tests.support import redis_server as servers
from tests.support.solver import EXAMPLE
from tests.support.start_run_client import StartRunClient

CPU_IMAGE = Path(__file__).parents[2] / "cpu_image"
ENCODED = base64.b64encode(zlib.compress(EXAMPLE.encode())).decode()


class Pod:
    """Runs commands on one Redis, with one file for results."""

    def __init__(self, url: str, directory: Path) -> None:
        self.file = directory / "result"
        self._environment = servers.environment(REDIS_URL=url, RESULT_FILE=str(self.file))

    def start(
        self,
        *arguments: str,
        program: Sequence[str] = (sys.executable,),
        stderr: int | IO[str] = subprocess.PIPE,
        **environment: str,
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*program, "-m", "cpu", *arguments],
            cwd=CPU_IMAGE,
            env={**self._environment, **environment},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def result(self, *arguments: str) -> str:
        """Run a command, and return its result, one line."""
        return self.output(*arguments)[0]

    def output(self, *arguments: str) -> tuple[str, str]:
        """Run a command, and return its result and the sentence on standard error."""
        process = self.start(*arguments)
        out, sentence = process.communicate(timeout=60)
        assert (process.returncode, sentence.count("\n")) == (0, 1)
        assert f"{self.file.read_text()}\n" == out
        assert out.count("\n") == 1
        return out, sentence.strip()

    def failure(self, *arguments: str, **environment: Any) -> tuple[int, str]:
        """Run a command that fails without touching the file, and return its exit code and error."""
        self.file.write_text("untouched")
        process = self.start(*arguments, **environment)
        out, errors = process.communicate(timeout=60)
        assert (out, errors.count("\n"), self.file.read_text()) == ("", 1, "untouched")
        return process.returncode, errors.strip()


@pytest.fixture
def pod(server: servers.Server, client: redis.Redis, tmp_path: Path) -> Pod:
    return Pod(server.url, tmp_path)


def test_each_command_of_a_start_run_prints_its_result_and_leaves_it_in_the_file(
    pod: Pod, client: redis.Redis
) -> None:
    stored = pod.result("store", "--start", "s", "--encoded", ENCODED[:30], ENCODED[30:])
    assert json.loads(stored) == {
        "sentence": "stored 9 instructions for start run s, 4 candidates",
        "status": "stored",
        "start": "s",
        "instructions": 9,
        "candidates": "0x12a",
    }
    loaded = pod.result("load", "--start", "s", "--cpu", "8", "--once")
    assert json.loads(loaded)["status"] == "ok"
    executed = pod.result("exec", "--start", "s", "--cpu", "8", "--cycle", "1")
    assert json.loads(executed)["cycle"] == 1
    ended = pod.result("exec", "--start", "s", "--cpu", "8", "--cycle", "2", "--cycles", "100")
    assert (json.loads(ended)["acc"], json.loads(ended)["verdict"]) == ("8", "part2")
    assert pod.result("exec", "--start", "s", "--cpu", "8", "--cycle", "2") == ended
    assert pod.result("load", "--start", "s", "--cpu", "8", "--once") == loaded
    assert json.loads(pod.result("read", "--start", "s", "--cpu", "8"))["ended"] == 1
    assert client.ttl("cpu:{s:8}:registers") > 604_000

    assert pod.failure("exec", "--start", "s", "--cpu", "8", "--cycle", "1") == (
        2,
        "cpu: CPU 8 has stopped (end) after cycle 6: it has no cycle 1 to execute",
    )
    assert pod.failure("read", "--start", "s", "--cpu", "7") == (
        2,
        "cpu: CPU 7 of start run s is not loaded, or has expired: load it first",
    )


def test_each_command_prints_the_sentence_of_its_result(pod: Pod) -> None:
    cpu = ["--start", "s", "--cpu", "8"]
    commands = [
        ["store", "--start", "s", "--encoded", ENCODED],
        ["load", *cpu],
        ["exec", *cpu, "--cycle", "1"],
        ["exec", *cpu, "--cycle", "2", "--cycles", "100"],
        ["survey", "--start", "s"],
        ["answers", "--start", "s"],
        ["cancel", "--start", "s"],
    ]
    outputs = [pod.output(*command) for command in commands]
    assert all(json.loads(line)["sentence"] == sentence for line, sentence in outputs)
    assert [sentence for _, sentence in outputs] == [
        "stored 9 instructions for start run s, 4 candidates",
        "CPU 8 loaded: line 8, jmp -4 → nop -4",
        "CPU 8, cycle 1: nop +0 → acc 0, pc 1",
        "CPU 8, cycles 2 to 6: acc +6 → acc 8, pc 9, past the last instruction: end; this answers part 2",
        "start run s is running: 4 CPUs with a cycle due, 1 with an answer",
        "start run s is not answered yet: 9 instructions, 5 CPUs · Part 1: none yet"
        " · Part 2: 8, line 8: jmp -4 → nop -4 · 1 stopped",
        "start run s is cancelled: its CPUs stop at their next cycle",
    ]
    assert pod.output("read", *cpu)[1].endswith(
        "; this answers part 2; " + account_of(pod.result("read", *cpu))
    )


def account_of(read: str) -> str:
    """Return the account in the sentence of a result of `read`."""
    result = json.loads(read)
    return f"{result['seconds']} s after store: 1 of 4 candidates stopped, 1 ended"


def test_the_log_has_the_sentence_and_then_the_result(pod: Pod) -> None:
    process = pod.start("store", "--start", "s", "--encoded", ENCODED, stderr=subprocess.STDOUT)
    log, _ = process.communicate(timeout=60)
    sentence, line = log.splitlines()
    assert sentence.startswith("stored 9 instructions")
    assert json.loads(line)["status"] == "stored"


def test_a_command_succeeds_if_standard_error_is_closed(pod: Pod) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer) as unread:
        process = pod.start("store", "--start", "s", "--encoded", ENCODED, stderr=unread)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["status"]) == (0, "stored")
    program = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable]
    process = pod.start("load", "--start", "s", "--cpu", "8", program=program)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, f"{pod.file.read_text()}\n")


def test_the_sentence_is_printed_in_ascii_on_a_terminal_without_arrows(pod: Pod) -> None:
    pod.result("store", "--start", "s", "--encoded", ENCODED)
    process = pod.start("load", "--start", "s", "--cpu", "8", PYTHONIOENCODING="ascii")
    assert process.communicate(timeout=60)[1] == "CPU 8 loaded: line 8, jmp -4 -> nop -4\n"


def test_store_of_a_wrong_program_names_the_line_and_stores_nothing(
    pod: Pod, client: redis.Redis, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text("acc +1\nacc one")
    code, message = pod.failure("store", "--start", "s", "--file", str(program))
    assert (code, message.partition(": expected")[0]) == (2, "cpu: line 2: 'acc one'")
    assert client.dbsize() == 0


def test_store_keeps_its_settings_for_cpu_ttl_seconds(pod: Pod, client: redis.Redis, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(EXAMPLE)
    settings = ["--part", "2", "--keep-going", "--cycles", "9", "--file", str(program)]
    store = pod.start("store", "--start", "s", *settings, CPU_TTL="99")
    store.communicate(timeout=60)
    assert store.returncode == 0
    assert client.hmget("cpu:{s}:start", "parts", "keep_going", "cycles") == [b"2", b"1", b"9"]
    assert 0 < client.ttl("cpu:{s}:program") <= 99


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"REDIS_URL": ""}, "REDIS_URL is not set"),
        ({"REDIS_URL": "http://:s3cret@host"}, "REDIS_URL is not a usable URL"),
        ({"REDIS_URL": "redis://:s3cret/@host:port"}, "REDIS_URL is not a usable URL"),
        ({"REDIS_URL": "redis://:s3cret@host/?s3cret=1"}, "REDIS_URL is not a usable URL"),
        ({"REDIS_URL": "redis+cluster://:s3cret@host:port"}, "REDIS_URL is not a usable URL"),
        ({"CPU_TTL": "0"}, "CPU_TTL is '0': expected seconds, from 1 to"),
        ({"CPU_TTL": "7 days"}, "CPU_TTL is '7 days': expected seconds"),
    ],
)
def test_a_wrong_environment_is_a_permanent_error_that_shows_no_password(
    pod: Pod, environment: dict[str, str], message: str
) -> None:
    code, error = pod.failure("read", "--start", "s", "--cpu", "0", **environment)
    assert (code, message in error, "s3cret" in error) == (2, True, False)


def test_a_wrong_password_is_reported_at_once_and_not_shown(tmp_path: Path) -> None:
    port = servers.free_port()
    with servers.running("--requirepass", "right", port=port):
        for password in ("", "wr0ng:", ":wr0ng"):
            pod = Pod(f"redis://{password}@127.0.0.1:{port}", tmp_path)
            code, error = pod.failure("read", "--start", "s", "--cpu", "0")
            assert (code, "wr0ng" in error) == (1, False)
            assert "REDIS_URL" in error
        right = Pod(f"redis://:right@127.0.0.1:{port}\n", tmp_path)
        assert right.failure("read", "--start", "s", "--cpu", "0")[0] == 2


def test_redis_away_or_silent_or_full_is_a_temporary_error_within_20_seconds(tmp_path: Path) -> None:
    """Run all three at once, because each takes some time: no server, no reply, no memory left."""
    with servers.running() as silent, servers.running("--maxmemory", "1") as full:
        silent.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        urls = {
            "Connection refused": f"redis://:s3cret@127.0.0.1:{servers.free_port()}",
            "timed out": silent.url,
            "no memory left": full.url,
        }
        program = tmp_path / "program"
        program.write_text(EXAMPLE)
        for directory in ("a", "b", "c"):
            (tmp_path / directory).mkdir()
        processes = {
            reason: Pod(url, tmp_path / directory).start("store", "--start", "s", "--file", str(program))
            for directory, (reason, url) in zip("abc", urls.items(), strict=True)
        }
        for reason, process in processes.items():
            out, errors = process.communicate(timeout=30)
            assert (process.returncode, out, errors.count("\n")) == (1, "", 1)
            assert reason in errors
            assert "s3cret" not in errors
        assert time.monotonic() - began < 20
    assert not list(tmp_path.glob("*/result"))


def test_a_command_waits_for_redis_to_come_back() -> None:
    port = servers.free_port()
    answers: list[object] = []

    def with_retries() -> None:
        url = f"redis://127.0.0.1:{port}"
        answers.append(
            redis_client.with_retries(url, lambda client: StartRunClient(client).store_text()["status"])
        )

    with socket.create_server(("127.0.0.1", port)) as failing:
        thread = threading.Thread(target=with_retries)
        thread.start()
        connection, _ = failing.accept()
        connection.close()
    with servers.running(port=port):
        thread.join(20)
    assert answers == ["stored"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 1), (signal.SIGINT, 130)])
def test_a_signal_ends_the_command_with_a_temporary_error(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        pod = Pod(f"redis://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        process = pod.start("read", "--start", "s", "--cpu", "0")
        connection, _ = silent.accept()
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        connection.close()
    assert (process.returncode, errors) == (code, f"cpu: interrupted by {number.name}\n")


def test_a_server_that_is_not_redis_is_a_temporary_error() -> None:
    failed: list[TemporaryError] = []

    def with_retries(url: str) -> None:
        try:
            redis_client.with_retries(url, lambda client: client.ping())
        except TemporaryError as error:
            failed.append(error)

    with socket.create_server(("127.0.0.1", 0)) as other:
        thread = threading.Thread(target=with_retries, args=(f"redis://127.0.0.1:{other.getsockname()[1]}",))
        thread.start()
        connection, _ = other.accept()
        with connection:
            connection.recv(1)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            thread.join(20)
    assert [str(error) for error in failed] == [
        "the server that REDIS_URL leads to is not Redis: host and port must be those of Redis"
    ]


def test_a_redis_cluster_that_is_away_is_a_temporary_error() -> None:
    url = f"redis+cluster://:s3cret@127.0.0.1:{servers.free_port()}"
    with pytest.raises(TemporaryError, match=r"Redis does not answer \(Connection refused\)"):
        redis_client.with_retries(url, lambda client: client.ping(), retry_seconds=0)


def test_a_url_with_an_unknown_scheme_is_a_permanent_error() -> None:
    with pytest.raises(PermanentError, match="REDIS_URL is not a usable URL"):
        redis_client.connect("postgresql://host")
