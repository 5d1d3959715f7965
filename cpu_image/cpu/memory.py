"""The memory that a machine works on: its interface, and an implementation in this process."""

from typing import Protocol

from cpu.instructions import Registers
from cpu.program import Instruction, Program


class Memory(Protocol):
    """A program, the registers of one CPU, and the set of addresses that it has executed."""

    @property
    def registers(self) -> Registers:
        """The registers as they were last written back."""

    def __len__(self) -> int:
        """Return how many instructions the program has."""

    def fetch(self, address: int) -> Instruction:
        """Return the instruction at an address from 0 to len - 1; the machine asks for no other."""

    def visited(self, address: int) -> bool:
        """Return whether the instruction at an address from 0 to len - 1 has been executed."""

    def write_back(self, registers: Registers) -> None:
        """Mark the instruction at the old program counter as executed, and set the registers."""


class InProcessMemory:
    """A memory in this process, at the beginning of a program."""

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
