"""What a machine needs of a memory, and the one that lives in this process."""

from typing import Protocol

from cpu.instructions import Registers
from cpu.program import Instruction, Program


class Memory(Protocol):
    """A program, the registers of one CPU, and the set of addresses it has executed."""

    @property
    def registers(self) -> Registers:
        """As they were last written back."""

    def __len__(self) -> int:
        """How many instructions the program has."""

    def fetch(self, address: int) -> Instruction:
        """The instruction at an address from 0 to len - 1; the machine asks for no other."""

    def visited(self, address: int) -> bool:
        """Whether the instruction at an address from 0 to len - 1 has been executed."""

    def write_back(self, registers: Registers) -> None:
        """Mark the instruction at the program counter as executed, then take the new registers."""


class InProcessMemory:
    """A memory that is gone with its process."""

    def __init__(self, program: Program) -> None:
        self.registers = Registers()
        self._instructions = program.instructions
        self._visited: set[int] = set()

    def __len__(self) -> int:
        return len(self._instructions)

    def fetch(self, address: int) -> Instruction:
        return self._instructions[address]

    def visited(self, address: int) -> bool:
        return address in self._visited

    def write_back(self, registers: Registers) -> None:
        self._visited.add(self.registers.pc)
        self.registers = registers
