"""A program: read from text, refused with a reason, and swapped one instruction at a time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import StringIO

from cpu.errors import ProgramError
from cpu.instructions import INSTRUCTION_SET

MAX_INSTRUCTIONS = 10_000
ARGUMENT_MIN, ARGUMENT_MAX = -(2**63), 2**63 - 1

_BLANKS = " \t\r\n"
# [0-9], as \d is any script's digits. No two neighbours may match the same character: a line of a million of
# it would be tried in every way to part it between them.
_INSTRUCTION = re.compile(r"([^ \t]+)[ \t]+([+-]?)([0-9]+)")
_LONGEST_ARGUMENT = 19  # digits; int() has a limit of its own and need not be asked for more
_SHOWN = 60  # characters of a refused line


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction and the 1-based line of the program text it stands in."""

    operation: str
    argument: int
    line: int

    def __str__(self) -> str:
        return f"{self.operation} {self.argument:+d}"

    def swapped(self) -> "Instruction | None":
        """The instruction with its operation's swap partner, or None where there is no partner."""
        partner = INSTRUCTION_SET[self.operation].swaps_with
        return replace(self, operation=partner) if partner else None


@dataclass(frozen=True, slots=True)
class Program:
    """1 to 10,000 instructions, at the addresses 0, 1, 2, ..."""

    instructions: tuple[Instruction, ...]

    def __len__(self) -> int:
        return len(self.instructions)

    def candidates(self) -> Iterator[int]:
        """The CPU numbers with a swap to try: N for the Nth instruction (from 1), at address N - 1."""
        return (n for n, instruction in enumerate(self.instructions, 1) if instruction.swapped())

    def with_swap(self, cpu: int) -> "Program":
        """The program as CPU number `cpu` runs it: as written for 0 or where there is nothing to swap."""
        swap = self.instructions[cpu - 1].swapped() if cpu else None
        if swap is None:
            return self
        return Program((*self.instructions[: cpu - 1], swap, *self.instructions[cpu:]))


def parse(text: str) -> Program:
    """Read a program: one instruction per line; blank lines, CRLF and a byte order mark do not matter.

    Raises ProgramError with the line's number, the line, and what was expected there.
    """
    instructions: list[Instruction] = []
    # Line by line, as all the lines of 16 MiB at once do not fit into a pod; only \n ends one.
    for number, raw in enumerate(StringIO(text.removeprefix("\ufeff"), newline="\n"), 1):
        line = raw.strip(_BLANKS)
        if not line:
            continue
        if len(instructions) == MAX_INSTRUCTIONS:
            raise _refusal(number, line, f"expected no more than {MAX_INSTRUCTIONS:,} instructions")
        instructions.append(_parse_line(number, line))
    if not instructions:
        raise ProgramError("the program is empty: expected one instruction per line, such as 'acc +1'")
    return Program(tuple(instructions))


def _parse_line(number: int, line: str) -> Instruction:
    match = _INSTRUCTION.fullmatch(line)
    operation = match[1] if match else ""
    if not match or operation not in INSTRUCTION_SET:
        operations = ", ".join(INSTRUCTION_SET)
        raise _refusal(number, line, f"expected one of {operations} and a signed integer, as in 'acc +1'")
    sign, digits = match[2], match[3].lstrip("0") or "0"
    if not sign:
        raise _refusal(number, line, "expected a sign before the number, + or -")
    argument = int(sign + digits) if len(digits) <= _LONGEST_ARGUMENT else ARGUMENT_MAX + 1
    if not ARGUMENT_MIN <= argument <= ARGUMENT_MAX:
        raise _refusal(number, line, f"expected an integer from {ARGUMENT_MIN} to +{ARGUMENT_MAX} (64 bits)")
    return Instruction(operation, argument, number)


def _refusal(number: int, line: str, expected: str) -> ProgramError:
    # ascii() so that no control character, and nothing a terminal cannot show, gets through.
    shown = ascii(line[: _SHOWN + 1])
    if len(shown) > _SHOWN:
        shown = shown[:_SHOWN] + "..."
    return ProgramError(f"line {number}: {shown}: {expected}")
