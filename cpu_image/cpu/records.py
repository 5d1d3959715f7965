"""What Redis keeps of a start run and its CPUs (see `cpu.keys.Keys`), decoded.

Commands, the wall and reports all read Redis by these functions. What they decode is written by the scripts
in `cpu.redis_scripts`, and by `encode_instruction`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cpu.errors import LostError
from cpu.instructions import Registers
from cpu.program import Instruction
from cpu.result import Result, Status

FACTS = ("length", "stopped", "digest", "cpus", "parts", "keep_going", "stored", "ended")
"""The fields that the facts of every start run have."""
FACT_FIELDS = (*FACTS, "answer", "cancelled", "cycles", "stops")
"""What `Facts.decode` takes: the fields to read with HMGET. Earlier versions did not keep the last two."""
CPU_FIELDS = ("pc", "acc", "cycle", "status", "first", "loaded")
"""What `CpuRecord.decode` takes: the fields of a CPU's registers to read with HMGET."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a start run, each as `Keys` describes it."""

    length: int
    candidates: int
    parts: str
    keep_going: bool
    cycles: int
    stored: float
    stopped: int
    ended: int
    answer: int | None
    cancelled: bool

    @classmethod
    def decode(cls, start: str, values: Sequence[bytes | None], instructions: int, stops: int) -> "Facts":
        """Decode the values of FACT_FIELDS, read at the same moment as the numbers of instructions and stops.

        Raises LostError unless these belong together.
        """
        pairs = zip(FACT_FIELDS, values, strict=True)
        named = {name: value.decode() for name, value in pairs if value is not None}
        _require_whole(start, named, instructions, stops)
        return cls(
            length=int(named["length"]),
            candidates=int(named["cpus"]),
            parts=named["parts"],
            keep_going=named["keep_going"] == "1",
            cycles=int(named.get("cycles", 1)),
            stored=float(named["stored"]),
            stopped=int(named["stopped"]),
            ended=int(named["ended"]),
            answer=int(named["answer"]) if "answer" in named else None,
            cancelled="cancelled" in named,
        )

    @property
    def cpus(self) -> int:
        """How many CPUs solve the parts: CPU 0 for part 1, all candidates for part 2."""
        return ("1" in self.parts) + ("2" in self.parts) * self.candidates

    def is_answered(self, part1: str) -> bool:
        """Return whether each part to solve has its answer, by the verdict of CPU 0.

        If the CPUs run on after the first answer to part 2, that part has its answer when all have stopped.
        """
        all_stopped = self.stopped == self.candidates
        part2 = all_stopped or (self.answer is not None and not self.keep_going)
        return ("1" not in self.parts or part1 == "part1") and ("2" not in self.parts or part2)

    def must_stop(self, cpu: int) -> bool:
        """Return whether a CPU must stop: the start run is cancelled, or another candidate has the answer.

        An answer does not stop CPU 0, which solves another part.
        """
        answered = self.answer not in (None, cpu)
        return self.cancelled or (cpu != 0 and answered and not self.keep_going)


def _require_whole(start: str, facts: Mapping[str, str], instructions: int, stops: int) -> None:
    """Raise LostError unless Redis has all instructions and stops that the facts of a start run count."""
    if any(name not in facts for name in FACTS) or (facts["ended"] != "0" and "answer" not in facts):
        raise LostError(f"the facts of start run {start}")
    if instructions != int(facts["length"]):
        raise LostError(f"the program of start run {start}")
    if stops < max(int(facts["stopped"]), int(facts.get("stops", 0))):
        raise LostError(f"the stops of start run {start}")


@dataclass(frozen=True, slots=True)
class Stop:
    """A CPU's stop: the verdict, "" if it gives no answer, and Redis' time of it in seconds since 1970."""

    verdict: str
    time: float

    @classmethod
    def decode(cls, value: bytes) -> "Stop":
        """Decode an entry of the hash of stops, "verdict:seconds.microseconds"."""
        verdict, _, time = value.decode().partition(":")
        return cls(verdict, float(time))


def encode_instruction(instruction: Instruction) -> str:
    """Return an item for the list of the program, "line:operation argument"."""
    return f"{instruction.line}:{instruction}"


def decode_instruction(item: bytes) -> Instruction:
    """Decode an item of the list of the program."""
    line, _, text = item.decode().partition(":")
    operation, _, argument = text.partition(" ")
    return Instruction(operation, int(argument), int(line))


def cpus_of(parts: str, program: Iterable[Instruction]) -> list[int]:
    """Return the numbers of the CPUs that solve these parts: 0 for part 1, all candidates for part 2."""
    candidates = (number for number, one in enumerate(program, 1) if one.swapped()) if "2" in parts else ()
    return [*([0] if "1" in parts else []), *candidates]


@dataclass(frozen=True, slots=True)
class CpuRecord:
    """A CPU's registers, as `Keys` describes them; `loaded` is None if an earlier version made the CPU."""

    registers: Registers
    status: Status
    first: int
    loaded: float | None

    @classmethod
    def decode(cls, values: Sequence[bytes | None]) -> "CpuRecord | None":
        """Decode the values of CPU_FIELDS. Return None if one is missing: not loaded, expired or lost."""
        pc, acc, cycle, status, first, loaded = values
        if pc is None or acc is None or cycle is None or status is None or first is None:
            return None
        registers = Registers(int(pc), int(acc), int(cycle))
        return cls(registers, Status(status.decode()), int(first), float(loaded) if loaded else None)


def seconds_of(time: tuple[int, int]) -> float:
    """Return a reply of the command TIME in seconds since 1970, which is how Redis keeps all times here."""
    seconds, microseconds = time
    return seconds + microseconds / 1e6


def decode_visited(bitmap: bytes | None) -> frozenset[int]:
    """Return the addresses that a CPU has executed: one for each cycle, or Redis has lost some."""
    bits = "".join(f"{byte:08b}" for byte in bitmap or b"")
    return frozenset(address for address, bit in enumerate(bits) if bit == "1")


def decode_result(line: bytes) -> Result:
    """Decode the result that a CPU's registers hold. Earlier versions kept `pc` and `acc` as integers."""
    result = json.loads(line)
    return {**result, "pc": str(result["pc"]), "acc": str(result["acc"])}
