"""The machine: a cycle fetches an instruction, decodes it, executes it and writes the registers back."""

from dataclasses import dataclass

from cpu.instructions import INSTRUCTION_SET, Operation, Registers
from cpu.memory import Memory
from cpu.program import Instruction
from cpu.result import Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """The CPU after a cycle: its status, the instruction it has executed, and its registers."""

    status: Status
    instruction: Instruction
    registers: Registers


def fetch(memory: Memory) -> Instruction:
    """Return the instruction at the program counter. Raises IndexError if the program has none there."""
    pc = memory.registers.pc
    if not 0 <= pc < len(memory):  # for Python and Redis, -1 is the last one
        raise IndexError(f"nothing to fetch at pc {pc}: the program's addresses are 0 to {len(memory) - 1}")
    return memory.fetch(pc)


def decode(instruction: Instruction) -> Operation:
    """Return the definition of the instruction's operation."""
    return INSTRUCTION_SET[instruction.operation]


def judge(memory: Memory) -> Status:
    """Return the CPU's status, which follows from its program counter and the addresses it has executed."""
    pc = memory.registers.pc
    if pc == len(memory):
        return Status.END
    if not 0 <= pc < len(memory):
        return Status.FAULT
    return Status.LOOP if memory.visited(pc) else Status.OK


def cycle(memory: Memory) -> Outcome:
    """Execute one cycle."""
    instruction = fetch(memory)
    operation = decode(instruction)
    memory.write_back(operation.execute(memory.registers, instruction.argument))
    return Outcome(judge(memory), instruction, memory.registers)


def run(memory: Memory, cycles: int | None = None) -> Outcome:
    """Execute cycles until the CPU stops, but no more than `cycles`; return the outcome of the last one."""
    outcome = cycle(memory)
    last = memory.registers.cycle - 1 + cycles if cycles else None
    while outcome.status is Status.OK and memory.registers.cycle != last:
        outcome = cycle(memory)
    return outcome
