"""`python -m cpu` as a process, in a Python without installed packages."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cpu.__main__ import main
from tests.support.numbers import BEYOND_64_BITS, assert_exact_for_all_readers
from tests.support.processes import running
from tests.support.solver import EXAMPLE

CPU_IMAGE = Path(__file__).parents[2] / "cpu_image"


def cpu(*arguments: str, stdin: str | bytes = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a Python without installed packages."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "cpu", *arguments],
        cwd=CPU_IMAGE,
        input=stdin if isinstance(stdin, bytes) else stdin.encode(),
        env=environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_run_prints_both_answers_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_text(EXAMPLE)
    done = cpu("run", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "Part 1: 5\nPart 2: 8 (line 8: jmp -4 → nop -4)\n",
        "",
    )


def test_run_prints_both_answers_to_standard_input() -> None:
    assert cpu("run", "-", stdin=EXAMPLE).stdout == "Part 1: 5\nPart 2: 8 (line 8: jmp -4 → nop -4)\n"


def test_run_prints_its_answers_on_a_terminal_without_arrows() -> None:
    done = cpu("run", "-", stdin=EXAMPLE, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "Part 1: 5\nPart 2: 8 (line 8: jmp -4 ? nop -4)\n")


def test_run_exits_with_1_if_no_swap_ends_the_program() -> None:
    done = cpu("run", "-", stdin="acc +1\nacc +1\njmp -2")
    assert (done.returncode, done.stdout) == (0, "Part 1: 2\nPart 2: 2 (line 3: jmp -2 → nop -2)\n")
    done = cpu("run", "-", stdin="acc +1\njmp -1\njmp -2")
    assert (done.returncode, done.stdout) == (1, "Part 1: 1\nPart 2: no swap ends this program\n")


@pytest.mark.parametrize(
    ("program", "code", "answers"),
    [
        (
            EXAMPLE,
            0,
            {
                "part1": {
                    "status": "loop", "cpu": 0, "cycle": 7, "line": 5, "pc": "1", "acc": "5", "swap": None,
                },
                "part2": {
                    "status": "end", "cpu": 8, "cycle": 6, "line": 9, "pc": "9", "acc": "8",
                    "swap": {"line": 8, "before": "jmp -4", "after": "nop -4"},
                },
                "ending": [8],
            },
        ),
        (
            "acc +7",
            1,
            {
                "part1": {
                    "status": "end", "cpu": 0, "cycle": 1, "line": 1, "pc": "1", "acc": "7", "swap": None,
                },
                "part2": None,
                "ending": [],
            },
        ),
    ],
)  # fmt: skip
def test_run_prints_json(program: str, code: int, answers: dict[str, object]) -> None:
    done = cpu("run", "--json", "-", stdin=program)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (code, "", 1)
    assert json.loads(done.stdout) == answers


def test_run_prints_numbers_beyond_64_bits_exactly() -> None:
    done = cpu("run", "--json", "-", stdin=BEYOND_64_BITS)
    answers = json.loads(done.stdout)
    assert (answers["part1"]["acc"], answers["part2"]["acc"]) == ("27670116110564327421",) * 2
    assert_exact_for_all_readers(done.stdout)
    done = cpu("run", "--json", "-", stdin="nop +0\njmp +9223372036854775807")
    assert json.loads(done.stdout)["part1"]["pc"] == "9223372036854775808"
    assert_exact_for_all_readers(done.stdout)


def test_an_interrupted_run_exits_with_130(tmp_path: Path) -> None:
    pipe = tmp_path / "program"
    os.mkfifo(pipe)
    command = [sys.executable, "-S", "-m", "cpu", "run", str(pipe)]
    with running(command, cwd=CPU_IMAGE, stderr=subprocess.PIPE) as process:
        with pipe.open("w"):  # opens once the command has opened the other end
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        assert process.stderr
        assert process.stderr.read() == b"cpu: interrupted by SIGINT\n"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"nop +0\nfoo +1", "cpu: line 2: 'foo +1': expected one of acc, jmp, nop and a signed integer"),
        (b"", "cpu: the program is empty"),
        (EXAMPLE.encode("utf-16"), "cpu: the program is encoded in UTF-16: save it as UTF-8"),
        (b"acc +1\n\x1b]0;\xff", "cpu: line 2: byte 0xff is not UTF-8: save the program as UTF-8"),
        (b"acc +1" + b"\n" * 2**24, "cpu: the program is too large: expected no more than 16 MiB"),
    ],
)
def test_a_wrong_program_is_one_line_on_standard_error_and_exit_code_2(program: bytes, message: str) -> None:
    done = cpu("run", "-", stdin=program)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert done.stderr.isascii()


@pytest.mark.parametrize("path", ["/no/such\nfile", "/", "a\x00b"])
def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_2(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", path]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["walk"],
        ["run"],
        ["run", "a", "b\nc"],
        ["load", "--start", "s"],
        ["load", "--start", "s", "--cpu", "-1"],
        ["load", "--start", "s", "--cpu", "10001"],
        ["load", "--start", "s", "--cpu", "1_0"],
        ["load", "--start", "s", "--cpu", "١"],
        ["load", "--start", "S", "--cpu", "1"],
        ["load", "--start", "a{b}", "--cpu", "1"],
        ["load", "--start", "a:1", "--cpu", "1"],
        ["load", "--start", "a\n", "--cpu", "1"],
        ["load", "--start", "-a", "--cpu", "1"],
        ["load", "--start", "x" * 33, "--cpu", "1"],
        ["exec", "--start", "s", "--cpu", "1", "--cycle", "0"],
        ["exec", "--start", "s", "--cpu", "1", "--cycle", "1", "--cycles", "0"],
        ["exec", "--start", "s", "--cpu", "1", "--cyc", "1"],
        ["store", "--start", "s"],
        ["store", "--start", "s", "--file", "f", "--encoded", "e"],
        ["store", "--start", "s", "--part", "3", "--file", "f"],
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    "command", [[], ["run"], ["store"], ["load"], ["exec"], ["read"], ["cancel"], ["survey"], ["answers"]]
)
def test_each_command_has_a_help(command: list[str]) -> None:
    done = cpu(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {' '.join(['python -m cpu', *command])} ")
    assert "exit codes:" in done.stdout


@pytest.mark.parametrize("command", [["run"], ["store", "--start", "s", "--file"]])
def test_a_file_that_powershell_has_written_in_utf_16_is_rejected_with_the_remedy(
    tmp_path: Path, command: list[str]
) -> None:
    file = tmp_path / "program"
    file.write_bytes(EXAMPLE.replace("\n", "\r\n").encode("utf-16"))
    done = cpu(*command, str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cpu: the program is encoded in UTF-16: save it as UTF-8 (in PowerShell: ")


def test_store_rejects_a_wrong_program_before_it_connects_to_redis() -> None:
    done = cpu("store", "--start", "s", "--file", "-", stdin="acc one")
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "cpu")
    assert "line 1: 'acc one': expected" in done.stderr


def test_a_closed_standard_output_is_one_line_and_exit_code_1() -> None:
    with running(
        [sys.executable, "-S", "-m", "cpu", "run", "-"],
        cwd=CPU_IMAGE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(EXAMPLE.encode(), timeout=60)
    assert process.returncode == 1
    assert errors == b"cpu: cannot print the result: Broken pipe\n"
