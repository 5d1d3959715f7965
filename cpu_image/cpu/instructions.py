"""The instruction set: one definition per operation, all of them in one table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Registers(NamedTuple):
    """What a CPU knows beside its program: where it is, what it has summed up, how often it ticked."""

    pc: int = 0
    acc: int = 0
    cycle: int = 0


def _next(pc: int, argument: int) -> int:
    return pc + 1


def _unchanged(acc: int, argument: int) -> int:
    return acc


@dataclass(frozen=True, slots=True)
class Operation:
    """What one operation does with its argument; by default nothing, and on to the next instruction.

    The two functions see one register each on purpose: as no jump can depend on the accumulator,
    an instruction about to run a second time is known to run for ever.
    """

    pc: Callable[[int, int], int] = _next
    acc: Callable[[int, int], int] = _unchanged
    swaps_with: str | None = None

    def execute(self, before: Registers, argument: int) -> Registers:
        """The registers after one cycle of this operation."""
        return Registers(self.pc(before.pc, argument), self.acc(before.acc, argument), before.cycle + 1)


INSTRUCTION_SET = {
    "acc": Operation(acc=lambda acc, argument: acc + argument),
    "jmp": Operation(pc=lambda pc, argument: pc + argument, swaps_with="nop"),
    "nop": Operation(swaps_with="jmp"),
}
