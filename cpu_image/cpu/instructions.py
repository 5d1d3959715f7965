"""The instruction set: a table with one definition per operation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Registers(NamedTuple):
    """Program counter, accumulator and cycle counter of a CPU."""

    pc: int = 0
    acc: int = 0
    cycle: int = 0


def _next(pc: int, argument: int) -> int:
    return pc + 1


def _unchanged(acc: int, argument: int) -> int:
    return acc


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operation does with its argument: how it changes the program counter, and the accumulator.

    By default the program counter moves to the next instruction, and the accumulator stays as it is.
    Each function sees its own register only. So no jump can depend on the accumulator, and an instruction
    that is about to run a second time would run for ever.
    """

    pc: Callable[[int, int], int] = _next
    acc: Callable[[int, int], int] = _unchanged
    swaps_with: str | None = None

    def execute(self, before: Registers, argument: int) -> Registers:
        """Return the registers after one cycle of this operation."""
        return Registers(self.pc(before.pc, argument), self.acc(before.acc, argument), before.cycle + 1)


INSTRUCTION_SET = {
    "acc": Operation(acc=lambda acc, argument: acc + argument),
    "jmp": Operation(pc=lambda pc, argument: pc + argument, swaps_with="nop"),
    "nop": Operation(swaps_with="jmp"),
}
