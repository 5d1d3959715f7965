"""The line of a result, and the file it is left in."""

import json
from pathlib import Path

import pytest

from cpu.errors import TemporaryError
from cpu.result import Status, leave, to_line


def test_a_result_is_one_ascii_line() -> None:
    line = to_line({"status": Status.OK, "instruction": "acc +1", "swap": None, "name": "→\n"})
    assert line == '{"status":"ok","instruction":"acc +1","swap":null,"name":"\\u2192\\n"}'
    assert json.loads(line)["status"] == Status.OK


def test_the_file_gets_the_line_that_is_printed(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = tmp_path / "result"
    file.write_bytes(b"something longer, from before")
    leave('{"status":"ok"}', file)
    assert file.read_bytes() + b"\n" == capfdbinary.readouterr().out == b'{"status":"ok"}\n'


def test_a_missing_file_is_created(tmp_path: Path) -> None:
    leave("{}", tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == b"{}"


def test_a_file_that_cannot_be_created_is_skipped(tmp_path: Path) -> None:
    leave("{}", tmp_path / "no" / "result")


def test_a_file_that_cannot_be_written_is_a_temporary_error(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match="cannot write the result to"):
        leave("{}", tmp_path)
