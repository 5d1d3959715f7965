"""Parsing a program: what is accepted, and how the error names what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpu.errors import ProgramError
from cpu.program import ARGUMENT_MAX, ARGUMENT_MIN, MAX_INSTRUCTIONS, Instruction, parse
from tests.support.solver import EXAMPLE, Lines, candidates, programs, text_of


def error_of(text: str) -> str:
    with pytest.raises(ProgramError) as caught:
        parse(text)
    return str(caught.value)


def test_each_line_is_an_instruction() -> None:
    assert parse("nop +0\nacc -99\njmp +4").instructions == (
        Instruction("nop", 0, 1),
        Instruction("acc", -99, 2),
        Instruction("jmp", 4, 3),
    )


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE.rstrip("\n"),
        EXAMPLE.replace("\n", "\r\n"),
        "\ufeff" + EXAMPLE,
        EXAMPLE.replace("\n", "  \t\n").replace(" ", " \t "),
        EXAMPLE + "\r",
    ],
    ids=["no final newline", "CRLF", "byte order mark", "blanks", "CR at the end"],
)
def test_blanks_line_ends_and_a_byte_order_mark_are_ignored(text: str) -> None:
    assert parse(text) == parse(EXAMPLE)


def test_blank_lines_count_as_lines_and_not_as_instructions() -> None:
    program = parse("\n \t\r\nnop +0\n\nacc +1\n\n")
    assert [(str(i), i.line) for i in program.instructions] == [("nop +0", 3), ("acc +1", 5)]


@pytest.mark.parametrize("argument", [ARGUMENT_MIN, -1, 0, 1, ARGUMENT_MAX])
def test_an_argument_of_64_bits_is_accepted(argument: int) -> None:
    assert parse(f"acc {argument:+d}").instructions[0].argument == argument


def test_leading_zeros_do_not_make_an_argument_large() -> None:
    assert parse("acc -" + "0" * 10_000 + "7").instructions[0].argument == -7


@pytest.mark.parametrize(
    "argument",
    [f"{ARGUMENT_MIN - 1}", f"+{ARGUMENT_MAX + 1}", "+" + "9" * 30, "-1" + "0" * 10_000],
    ids=["just below", "just above", "far above", "more digits than int() takes"],
)
def test_an_argument_outside_64_bits_is_rejected(argument: str) -> None:
    message = error_of(f"nop +0\nacc {argument}")
    assert "expected an integer from -9223372036854775808 to +9223372036854775807" in message


@pytest.mark.parametrize(
    "line",
    [
        "mul +1",
        "acc",
        "acc+1",
        "acc +",
        "acc + 1",
        "acc +1 +2",
        "acc +1 # one",
        "acc +1.0",
        "acc +0x1",
        "acc +1_000",
        "acc ++1",
        "acc −1",
        "acc +١",
        "acc +１",
        "ACC +1",
        "acc\u00a0+1",
        "acc +1\x0bacc +2",
        "acc +1\x1cacc +2",
        "acc +1\u2028acc +2",
        "acc +1\x00",
        "acc +1\x85",
        "acc +1\racc +2",
        "+1 acc",
        "\ufeffacc +1",
    ],
)
def test_a_wrong_line_is_rejected_with_its_number_and_what_was_expected(line: str) -> None:
    message = error_of(f"nop +0\n\n{line}\nacc +1")
    assert message.startswith(f"line 3: {line!a}: expected one of acc, jmp, nop and a signed integer")


def test_an_argument_without_a_sign_is_rejected() -> None:
    assert error_of("acc 1") == "line 1: 'acc 1': expected a sign before the number, + or -"


@pytest.mark.parametrize("text", ["", "\n", " \r\n\t\n", "\ufeff"])
def test_an_empty_program_is_rejected(text: str) -> None:
    assert error_of(text).startswith("the program is empty: expected one instruction per line")


def test_ten_thousand_instructions_are_accepted_and_one_more_is_not() -> None:
    text = "\n" + "acc +1\n" * MAX_INSTRUCTIONS + "\n"
    assert len(parse(text)) == MAX_INSTRUCTIONS
    assert error_of(text + "acc -7") == "line 10003: 'acc -7': expected no more than 10,000 instructions"


@pytest.mark.parametrize(
    "line", ["x" * 10**7, "\x1b[31m\x07" * 10**6, "acc +" + "9" * 10**7, "acc 1" + "\n" * 99]
)
def test_the_error_shows_a_wrong_line_shortened_and_without_control_characters(line: str) -> None:
    message = error_of(line)
    assert len(message) < 250
    assert message.isascii()
    assert message.isprintable()


def test_the_candidates_are_the_jumps_and_the_nops() -> None:
    assert list(parse(EXAMPLE).candidates()) == [1, 3, 5, 8]


def test_a_swap_changes_one_instruction_and_keeps_its_argument_and_line() -> None:
    program = parse(EXAMPLE)
    swapped = program.with_swap(8)
    assert str(swapped.instructions[7]) == "nop -4"
    assert swapped.instructions[7].line == 8
    assert swapped.with_swap(8) == program
    assert program.with_swap(0) is program
    assert program.with_swap(2) is program


@given(programs)
def test_a_parsed_program_has_the_instructions_of_its_text(lines: Lines) -> None:
    program = parse(text_of(lines))
    assert [(i.operation, i.argument) for i in program.instructions] == lines
    assert list(program.candidates()) == candidates(lines)


@given(st.text(alphabet=st.sampled_from("acjmpno+-019 \t\r\n\x00\x85\u2028é\ud800")) | st.text())
def test_any_text_is_parsed_or_rejected_with_what_was_expected(text: str) -> None:
    try:
        program = parse(text)
    except ProgramError as error:
        message = str(error)
        assert message.isprintable()
        assert "expected" in message
    else:
        assert 1 <= len(program) <= text.count("\n") + 1
