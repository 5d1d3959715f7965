"""An item: a program that is made from a seed and the item's number, and both of its answers.

The same seed and number always give the same program, on every machine and with every version of Python.
Each choice is one byte of SHAKE-256 of the two numbers. Of 64 items,

- 63 are ordinary: 9 to 60 instructions, 29 on average. The front of the program is 3 to 7 blocks, which jump
  to each other in random order; the last of them jumps back into the front. So the program as written
  executes all of the front, and then loops. Behind the front, the rest of the program leads to its end.
  Exactly one swap reaches the rest. In every second item, it makes the front's last instruction, a `jmp`, a
  `nop`. In the others, it makes a `nop` of the front a `jmp` to the rest; there, another `jmp` stands between
  front and rest, so that no other swap reaches the rest.
- 1 is wild: 8 to 39 instructions, each with a random operation and an argument that leads to the program or
  up to two addresses outside. As written it may loop, end or fault, and no swap, one or several may end it.
"""

from hashlib import shake_256
from itertools import accumulate
from typing import NamedTuple

from cpu import machine
from cpu.memory import InProcessMemory
from cpu.program import Instruction, Program
from cpu.reference import ending_cpus
from cpu.result import Status

_MAX_CHOICES = 160
"""More than the choices that any item takes."""


class Solution(NamedTuple):
    """What a pod finds out about an item: statuses, accumulators and cycles of both parts."""

    part1: Status
    """Status of the program as written."""
    acc1: int
    """Its accumulator then."""
    ending: int
    """How many swaps end the program."""
    acc2: int | None
    """The accumulator at the end with the first of these swaps; None if there is none."""
    cycles: int
    """The cycles executed for both parts."""


class _Choices:
    """A sequence of random numbers that follows from a seed and an item's number."""

    def __init__(self, seed: int, item: int) -> None:
        self._bytes = iter(shake_256(f"{seed}:{item}".encode()).digest(_MAX_CHOICES))

    def below(self, limit: int) -> int:
        """Return an integer from 0 to limit - 1, which must be below 256."""
        return next(self._bytes) % limit


def make(seed: int, item: int) -> Program:
    """Return the item's program."""
    choices = _Choices(seed, item)
    code = _ordinary(choices) if choices.below(64) else _wild(choices)
    return Program(tuple(Instruction(*one, line) for line, one in enumerate(code, 1)))


def _ordinary(choices: _Choices) -> list[tuple[str, int]]:
    below = choices.below
    ends = list(accumulate(2 + below(6) for _ in range(3 + below(5))))
    front = ends[-1]
    code = [("acc", below(100) - 40) if below(3) else ("nop", below(front) - at) for at in range(front)]
    # The blocks in the order in which they are executed; the first one is at address 0.
    order = [0, *_shuffled(range(1, len(ends)), choices)]
    starts = [0, *ends]
    targets = [*(starts[block] for block in order[1:]), below(front)]
    for block, target in zip(order, targets, strict=True):
        jump = ends[block] - 1
        code[jump] = ("jmp", target - jump)
    is_nop = below(2)
    if is_nop:
        code.append(("jmp", below(front) - front))
    rest, length = len(code), 3 + below(8)
    if is_nop:
        at = starts[below(len(ends))]
        code[at] = ("nop", rest + below(length) - at)
    for left in range(length, 0, -1):
        operation = ("acc", "acc", "nop", "jmp")[below(4)]
        code.append((operation, 1 + below(min(left, 3)) if operation == "jmp" else below(100) - 40))
    return code


def _wild(choices: _Choices) -> list[tuple[str, int]]:
    below = choices.below
    length = 8 + below(32)
    return [(("acc", "jmp", "nop")[below(3)], below(length + 4) - 2 - at) for at in range(length)]


def _shuffled(numbers: range, choices: _Choices) -> list[int]:
    left = list(numbers)
    return [left.pop(choices.below(len(left))) for _ in numbers]


def solve(program: Program) -> Solution | None:
    """Solve both parts on the machine. Return None if the machine does not end with a swap that should end.

    Which swaps end the program is found without trying each: see `cpu.reference.ending_cpus`.
    """
    written = machine.run(InProcessMemory(program))
    part1, (_, acc1, cycles) = written.status, written.registers
    ending = ending_cpus(program)
    if not ending:
        return Solution(part1, acc1, 0, None, cycles)
    swapped = machine.run(InProcessMemory(program.with_swap(ending[0])))
    if swapped.status is not Status.END:
        return None
    _, acc2, more = swapped.registers
    return Solution(part1, acc1, len(ending), acc2, cycles + more)
