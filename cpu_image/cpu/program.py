"""A program: parsed from text, with an error that names the wrong line, and with one instruction swapped."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import StringIO

from cpu.errors import ProgramError
from cpu.instructions import INSTRUCTION_SET

MAX_INSTRUCTIONS = 10_000
ARGUMENT_MIN, ARGUMENT_MAX = -(2**63), 2**63 - 1

_BLANKS = " \t\r\n"
# [0-9], because \d matches the digits of every script. No two neighbouring parts match the same character:
# otherwise a line of a million such characters would be tried in every way to divide it between them.
_INSTRUCTION = re.compile(r"([^ \t]+)[ \t]+([+-]?)([0-9]+)")
_MAX_DIGITS = 19  # of an argument of 64 bits; int() raises ValueError for far more
_MAX_SHOWN = 60  # characters of a wrong line


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, and its line in the program text, from 1."""

    operation: str
    argument: int
    line: int

    def __str__(self) -> str:
        return f"{self.operation} {self.argument:+d}"

    def swapped(self) -> "Instruction | None":
        """Return the instruction with its operation swapped, None if there is nothing to swap it with."""
        partner = INSTRUCTION_SET[self.operation].swaps_with
        return replace(self, operation=partner) if partner else None


@dataclass(frozen=True, slots=True)
class Program:
    """1 to 10,000 instructions, at addresses from 0 on."""

    instructions: tuple[Instruction, ...]

    def __len__(self) -> int:
        return len(self.instructions)

    def candidates(self) -> Iterator[int]:
        """Return the numbers of the candidates: N swaps the Nth instruction, which is at address N - 1."""
        return (n for n, instruction in enumerate(self.instructions, 1) if instruction.swapped())

    def with_swap(self, cpu: int) -> "Program":
        """Return the program as CPU number `cpu` runs it: as written for 0 or if it has nothing to swap."""
        swap = self.instructions[cpu - 1].swapped() if cpu else None
        if swap is None:
            return self
        return Program((*self.instructions[: cpu - 1], swap, *self.instructions[cpu:]))


def parse(text: str) -> Program:
    """Parse a program: one instruction per line; blank lines, CRLF and a byte order mark are ignored.

    Raises ProgramError with the number of the wrong line, the line, and what was expected there.
    """
    instructions: list[Instruction] = []
    # Line by line, because a list of all lines of 16 MiB does not fit into a pod. Only \n ends a line.
    for number, raw in enumerate(StringIO(text.removeprefix("\ufeff"), newline="\n"), 1):
        line = raw.strip(_BLANKS)
        if not line:
            continue
        if len(instructions) == MAX_INSTRUCTIONS:
            raise _line_error(number, line, f"expected no more than {MAX_INSTRUCTIONS:,} instructions")
        instructions.append(_parse_line(number, line))
    if not instructions:
        raise ProgramError("the program is empty: expected one instruction per line, such as 'acc +1'")
    return Program(tuple(instructions))


def _parse_line(number: int, line: str) -> Instruction:
    match = _INSTRUCTION.fullmatch(line)
    operation = match[1] if match else ""
    if not match or operation not in INSTRUCTION_SET:
        operations = ", ".join(INSTRUCTION_SET)
        raise _line_error(number, line, f"expected one of {operations} and a signed integer, as in 'acc +1'")
    sign, digits = match[2], match[3].lstrip("0") or "0"
    if not sign:
        raise _line_error(number, line, "expected a sign before the number, + or -")
    argument = int(sign + digits) if len(digits) <= _MAX_DIGITS else ARGUMENT_MAX + 1
    if not ARGUMENT_MIN <= argument <= ARGUMENT_MAX:
        raise _line_error(
            number, line, f"expected an integer from {ARGUMENT_MIN} to +{ARGUMENT_MAX} (64 bits)"
        )
    return Instruction(operation, argument, number)


def _line_error(number: int, line: str, expected: str) -> ProgramError:
    shown = ascii(line[: _MAX_SHOWN + 1])  # without characters that control a terminal
    if len(shown) > _MAX_SHOWN:
        shown = shown[:_MAX_SHOWN] + "..."
    return ProgramError(f"line {number}: {shown}: {expected}")
