"""`run`: both parts in memory, at once. What every other way to run a program is checked against."""

from cpu import machine
from cpu.memory import InProcessMemory
from cpu.program import Instruction, Program
from cpu.result import Result, Status

FACTS = ("status", "cpu", "cycle", "line", "pc", "acc", "swap")
"""What is told of a CPU that has stopped, in the terms of the pods' results."""

_NEVER = -1


def answers(program: Program) -> Result:
    """Both parts for programs: the facts of the CPU as written, and of the first one that ends or None; and
    the numbers of all CPUs that end.
    """
    ending = ending_cpus(program)
    return {
        "part1": _facts(program, 0),
        "part2": _facts(program, ending[0]) if ending else None,
        "ending": ending,
    }


def _facts(program: Program, cpu: int) -> Result:
    outcome = machine.run(InProcessMemory(program.with_swap(cpu)))
    pc, acc, cycle = outcome.registers
    before = program.instructions[cpu - 1] if cpu else None
    swap = {"line": before.line, "before": str(before), "after": str(before.swapped())} if before else None
    facts = (outcome.status, cpu, cycle, outcome.instruction.line, str(pc), str(acc), swap)
    return dict(zip(FACTS, facts, strict=True))


def part1(program: Program) -> str:
    """The accumulator right before an instruction runs a second time, or why there is no such moment."""
    outcome = machine.run(InProcessMemory(program))
    if outcome.status is Status.LOOP:
        return str(outcome.registers.acc)
    if outcome.status is Status.END:
        return f"the program does not loop: it ends with {outcome.registers.acc}"
    where = f"line {outcome.instruction.line} (pc {outcome.registers.pc})"
    return f"the program does not loop: it faults at {where}"


def part2(program: Program) -> str | None:
    """The accumulator of the first CPU whose swap ends the program, and that swap; None if no swap does."""
    winners = ending_cpus(program)
    if not winners:
        return None
    swap = program.instructions[winners[0] - 1]
    outcome = machine.run(InProcessMemory(program.with_swap(winners[0])))
    several = f"; the first of {len(winners)} swaps that end this program" if len(winners) > 1 else ""
    return f"{outcome.registers.acc} (line {swap.line}: {swap} → {swap.swapped()}{several})"


def ending_cpus(program: Program) -> list[int]:
    """The numbers of the CPUs whose swap lets the program end, in time linear in its length.

    A CPU walks the path of the program as written until it comes to its swap; if it never does,
    it ends where that path ends. At the swap it turns another way, and ends if that way leads to
    the end and not over the swap once more: where it joins the path, it must join it after the swap.
    """
    instructions = program.instructions
    turns = [_turn(address, instruction) for address, instruction in enumerate(instructions)]
    path, end_of_path = _walk(turns)
    ends = end_of_path == len(turns)
    position = {address: at for at, address in enumerate(path)}
    joins = _joins(turns, position if ends else dict.fromkeys(path, _NEVER), len(path))
    winners = []
    for cpu in program.candidates():
        swap = instructions[cpu - 1].swapped()
        if swap and cpu - 1 in position:
            wins = joins.get(_turn(cpu - 1, swap), _NEVER) > position[cpu - 1]
        else:
            wins = ends
        if wins:
            winners.append(cpu)
    return winners


def _turn(address: int, instruction: Instruction) -> int:
    """The address after this instruction's."""
    return machine.decode(instruction).pc(address, instruction.argument)


def _walk(turns: list[int]) -> tuple[list[int], int]:
    """The addresses executed from 0 on, in order, and the program counter that stopped it."""
    seen: dict[int, None] = {}
    pc = 0
    while 0 <= pc < len(turns) and pc not in seen:
        seen[pc] = None
        pc = turns[pc]
    return list(seen), pc


def _joins(turns: list[int], position: dict[int, int], end: int) -> dict[int, int]:
    """For each address, the position on the path where the way from there joins it: `end` when it
    reaches the program's end by itself, never when it loops, faults, or joins a path that does not end.
    """
    joins = {**position, len(turns): end}
    for pc in range(len(turns)):
        way = []
        while 0 <= pc < len(turns) and pc not in joins:
            joins[pc] = _NEVER  # until known better: the way may come back to itself
            way.append(pc)
            pc = turns[pc]
        joins.update(dict.fromkeys(way, joins.get(pc, _NEVER)))
    return joins
