"""Untrusted programs and arguments: taken literally, or rejected in one printable line."""

from __future__ import annotations

import base64
import io
import re
import resource
import subprocess
import sys
import zlib
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cpu import cli, source
from cpu.__main__ import MAX_ERROR_LENGTH, main, print_error
from cpu.errors import CpuError, PermanentError, ProgramError
from cpu.program import parse
from tests.support import untrusted

CPU_IMAGE = Path(__file__).parents[2] / "cpu_image"
POD_MEMORY = 256 * 2**20
TOO_MANY = "9" * 5000


def parse_independently(text: str) -> list[tuple[int, str, int]] | int:
    """Parse a program without the CPU's parser: each line's number, operation and argument.

    Returns the number of the first wrong line if there is one.
    """
    found = []
    for at, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        words = [word for word in line.strip("\r\t ").replace("\t", " ").split(" ") if word]
        if not words:
            continue
        sign, digits = words[-1][:1], words[-1][1:]
        is_number = sign in {"+", "-"} and digits != "" and set(digits) <= set("0123456789")
        if len(words) != 2 or words[0] not in {"acc", "jmp", "nop"} or not is_number:
            return at
        magnitude = digits.lstrip("0").rjust(19, "0")
        if (
            magnitude > ("9223372036854775808" if sign == "-" else "9223372036854775807")
            or len(magnitude) > 19
        ):
            return at
        found.append((at, words[0], int(sign + magnitude)))
    return found


@given(untrusted.program)
def test_any_program_is_parsed_as_its_lines_say_or_rejected_with_the_wrong_line(text: str) -> None:
    expected = parse_independently(text)
    try:
        program = parse(text)
    except ProgramError as error:
        message = str(error)
        assert message.isascii()
        assert message.isprintable()
        assert len(message) < 250
        if expected:
            assert isinstance(expected, int)
            wrong = text.removeprefix("\ufeff").split("\n")[expected - 1].strip("\r\t ")
            assert message.startswith(f"line {expected}: {ascii(wrong[:60])[:50]}")
            assert ": expected " in message
        else:
            assert message.startswith("the program is empty: expected ")
    else:
        assert [(one.line, one.operation, one.argument) for one in program.instructions] == expected


@pytest.mark.parametrize(
    "text",
    [
        "acc +" + "0" * 10**7 + "x",
        "acc +" + "9" * 10**7,
        "acc +1" + " \t" * 5 * 10**6 + "x",
        "acc" * 3 * 10**6,
        "\u2028".join(["acc +1"] * 10**6),
        "acc +1\r" * 10**6,
        "\x00" * 10**7,
        "\ud800" * 10**7,
    ],
    ids=["zeros", "nines", "blanks", "one word", "line separators", "CRs", "NULs", "surrogates"],
)
def test_a_wrong_line_of_ten_megabytes_has_a_short_error(text: str) -> None:
    with pytest.raises(ProgramError, match=r"^line 1: .{1,70}: expected ") as refused:
        parse(text)
    assert len(str(refused.value)) < 250


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not enforce a limit on memory")
@pytest.mark.parametrize(
    ("line", "last"),
    [
        (b"\n", b"hlt"),
        (b"\n\xc3\xa9" + b" " * 9, b""),
        (b" \xf0\x9d\x92\xb3\n", b""),
        (b"ab\n", b""),
        (b"9", b""),
    ],
    ids=["empty lines", "short lines", "wide characters", "words", "digits"],
)
def test_sixteen_megabytes_are_rejected_within_the_memory_of_a_pod(line: bytes, last: bytes) -> None:
    program = line * ((source.MAX_BYTES - len(last)) // len(line)) + last
    done = subprocess.run(
        [sys.executable, "-S", "-m", "cpu", "run", "-"],
        cwd=CPU_IMAGE,
        input=program,
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (POD_MEMORY, POD_MEMORY)),
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert re.match(rb"cpu: line \d+: .+: expected one of ", done.stderr)


@given(untrusted.program)
@example("\0\n")
def test_an_encoded_program_is_decoded_as_it_was_sent(text: str) -> None:
    sent = text.encode(errors="replace")
    encoded = base64.b64encode(zlib.compress(sent)).decode()
    if "\0" in text[:4]:  # such bytes may be UTF-16 as well
        with suppress(ProgramError):
            assert source.decode([encoded[:7], encoded[7:]]) == sent.decode()
    else:
        assert source.decode([encoded[:7], encoded[7:]]) == sent.decode()


@given(
    st.lists(
        untrusted.text | st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode()), min_size=1
    )
)
def test_any_chunks_are_decoded_or_rejected(chunks: list[str]) -> None:
    with suppress(PermanentError):
        source.decode(chunks)


@given(start=untrusted.name)
def test_the_name_of_a_start_run_is_a_dns_label_of_32_characters_or_rejected(start: str) -> None:
    fine = (
        1 <= len(start) <= 32
        and set(start) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        and "-" not in (start[0], start[-1])
    )
    try:
        options = cli.parse(["read", f"--start={start}", "--cpu=0"])
    except PermanentError:
        assert not fine
    else:
        assert (options.start, fine) == (start, True)


@given(
    option=st.sampled_from(["--cpu", "--cycle", "--cycles"]),
    value=untrusted.number | untrusted.digits | untrusted.text,
)
def test_a_number_is_decimal_digits_within_its_bounds_or_rejected(option: str, value: str) -> None:
    bounds = {"--cpu": (0, 10_000), "--cycle": (1, 10**12), "--cycles": (1, 10**6)}[option]
    given_ = {"--start": "s", "--cpu": "1", "--cycle": "1", option: value}
    is_number = value != "" and set(value) <= set("0123456789") and len(value) <= 18
    fine = is_number and bounds[0] <= int(value) <= bounds[1]
    try:
        options = cli.parse(["exec", *(f"{name}={one}" for name, one in given_.items())])
    except PermanentError:
        assert not fine
    else:
        assert (vars(options)[option.removeprefix("--")], fine) == (int(value), True)


words = st.sampled_from(
    ["run", "store", "load", "exec", "read", "--start", "--cpu", "--cycle", "--cycles", "--part"]
)
flags = st.sampled_from(
    ["--once", "--keep-going", "--encoded", "--file", "s", "0", "1", "12", "-1", TOO_MANY]
)
# No path of an existing file, which might be endless, and no --help, which does not fail.
no_path = untrusted.text.filter(lambda word: word != "-" and "/" not in word)
no_help = (words | flags | no_path | untrusted.number).filter(
    lambda word: not word.startswith(("-h", "--help"))
)


@given(st.lists(no_help, max_size=9))
def test_any_wrong_arguments_have_an_error_of_one_line(given_: list[str]) -> None:
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors), pytest.MonkeyPatch.context() as environment:
        environment.delenv("REDIS_URL", raising=False)
        code = main(given_)
    error = errors.getvalue()
    assert (code, out.getvalue(), error.count("\n")) == (2, "", 1)
    assert error.isascii()
    assert error.removesuffix("\n").isprintable()
    assert len(error) <= MAX_ERROR_LENGTH + len("cpu: \n")


@given(untrusted.text)
def test_an_error_is_one_printable_line_whatever_it_quotes(text: str) -> None:
    errors = io.StringIO()
    with redirect_stderr(errors):
        assert print_error(text, CpuError.exit_code) == CpuError.exit_code
    assert errors.getvalue().removesuffix("\n").isprintable()
