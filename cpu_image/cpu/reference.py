"""Both answers computed in one process, which tests hold every other way to run a program against."""

from cpu import machine
from cpu.memory import InProcessMemory
from cpu.program import Instruction, Program
from cpu.result import Result, Status, swap_of

FACTS = ("status", "cpu", "cycle", "line", "pc", "acc", "swap")
"""The fields of a pod's result (see cpu.result) that `answers` gives of a CPU that has stopped."""

_NEVER = -1


def answers(program: Program) -> Result:
    """Return the facts of CPU 0 and of the first candidate that ends (or None), and all that end."""
    ending = ending_cpus(program)
    return {
        "part1": _facts(program, 0),
        "part2": _facts(program, ending[0]) if ending else None,
        "ending": ending,
    }


def _facts(program: Program, cpu: int) -> Result:
    outcome = machine.run(InProcessMemory(program.with_swap(cpu)))
    pc, acc, cycle = outcome.registers
    swap = swap_of(program.instructions[cpu - 1]) if cpu else None
    facts = (outcome.status, cpu, cycle, outcome.instruction.line, str(pc), str(acc), swap)
    return dict(zip(FACTS, facts, strict=True))


def part1(program: Program) -> str:
    """Return the accumulator right before an instruction runs a second time, or why none does."""
    outcome = machine.run(InProcessMemory(program))
    if outcome.status is Status.LOOP:
        return str(outcome.registers.acc)
    if outcome.status is Status.END:
        return f"the program does not loop: it ends with {outcome.registers.acc}"
    where = f"line {outcome.instruction.line} (pc {outcome.registers.pc})"
    return f"the program does not loop: it faults at {where}"


def part2(program: Program) -> str | None:
    """Return the accumulator of the first candidate that ends, and its swap; None if no candidate ends."""
    ending = ending_cpus(program)
    if not ending:
        return None
    swap = program.instructions[ending[0] - 1]
    outcome = machine.run(InProcessMemory(program.with_swap(ending[0])))
    several = f"; the first of {len(ending)} swaps that end this program" if len(ending) > 1 else ""
    return f"{outcome.registers.acc} (line {swap.line}: {swap} → {swap.swapped()}{several})"


def ending_cpus(program: Program) -> list[int]:
    """Return the numbers of the candidates that end, in time linear in the program's length.

    A candidate walks the path of the program as written until it comes to its swap. If it never does, it ends
    if that path ends. From the swap it walks another way, and ends if that way reaches the end without coming
    to the swap again: if the way joins the path, it must do so after the swap.
    """
    instructions = program.instructions
    following = [_next(address, instruction) for address, instruction in enumerate(instructions)]
    path, end_of_path = _walk(following)
    ends = end_of_path == len(following)
    position = {address: at for at, address in enumerate(path)}
    joins = _joins(following, position if ends else dict.fromkeys(path, _NEVER), len(path))
    ending = []
    for cpu in program.candidates():
        swapped = instructions[cpu - 1].swapped()
        if swapped and cpu - 1 in position:
            cpu_ends = joins.get(_next(cpu - 1, swapped), _NEVER) > position[cpu - 1]
        else:
            cpu_ends = ends
        if cpu_ends:
            ending.append(cpu)
    return ending


def _next(address: int, instruction: Instruction) -> int:
    """Return the address that follows an instruction's."""
    return machine.decode(instruction).pc(address, instruction.argument)


def _walk(following: list[int]) -> tuple[list[int], int]:
    """Return the addresses executed from 0 on, in order, and the program counter that ends the walk."""
    seen: dict[int, None] = {}
    pc = 0
    while 0 <= pc < len(following) and pc not in seen:
        seen[pc] = None
        pc = following[pc]
    return list(seen), pc


def _joins(following: list[int], position: dict[int, int], end: int) -> dict[int, int]:
    """Return for each address the position on the path at which the way from there joins it.

    That is `end` if the way reaches the program's end by itself, and _NEVER if it loops, faults, or joins a
    path that does not end.
    """
    joins = {**position, len(following): end}
    for pc in range(len(following)):
        way = []
        while 0 <= pc < len(following) and pc not in joins:
            joins[pc] = _NEVER  # for now: the way may come back to itself
            way.append(pc)
            pc = following[pc]
        joins.update(dict.fromkeys(way, joins.get(pc, _NEVER)))
    return joins
