"""The machine: fetch, decode, execute, write back; one cycle in, one outcome out."""

from dataclasses import dataclass

from cpu.instructions import INSTRUCTION_SET, Operation, Registers
from cpu.memory import Memory
from cpu.program import Instruction
from cpu.result import Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cycle came to: where the CPU stands now, what it executed, and its registers after that."""

    status: Status
    instruction: Instruction
    registers: Registers


def fetch(memory: Memory) -> Instruction:
    """The instruction at the program counter. Raises IndexError where the program has none."""
    pc = memory.registers.pc
    if not 0 <= pc < len(memory):  # in Python and in Redis -1 would be the last one
        raise IndexError(f"nothing to fetch at pc {pc}: the program's addresses are 0 to {len(memory) - 1}")
    return memory.fetch(pc)


def decode(instruction: Instruction) -> Operation:
    """What the instruction asks for."""
    return INSTRUCTION_SET[instruction.operation]


def judge(memory: Memory) -> Status:
    """Where the program counter has led: `end` is exactly one past the last instruction."""
    pc = memory.registers.pc
    if pc == len(memory):
        return Status.END
    if not 0 <= pc < len(memory):
        return Status.FAULT
    return Status.LOOP if memory.visited(pc) else Status.OK


def cycle(memory: Memory) -> Outcome:
    """One cycle."""
    instruction = fetch(memory)
    operation = decode(instruction)
    memory.write_back(operation.execute(memory.registers, instruction.argument))
    return Outcome(judge(memory), instruction, memory.registers)


def run(memory: Memory, cycles: int | None = None) -> Outcome:
    """Up to `cycles` cycles, at least one; without a number, or fewer where it does, until the CPU stops."""
    outcome = cycle(memory)
    last = memory.registers.cycle - 1 + cycles if cycles else None
    while outcome.status is Status.OK and memory.registers.cycle != last:
        outcome = cycle(memory)
    return outcome
