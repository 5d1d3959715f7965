"""A CPU in Redis: read as a whole, executed in this process, committed in one guarded step."""

from dataclasses import dataclass

from cpu.errors import LostError, PreconditionError
from cpu.instructions import Registers
from cpu.keys import Keys
from cpu.program import Instruction
from cpu.records import CPU_FIELDS, CpuRecord, decode_result, decode_visited
from cpu.redis_client import Client
from cpu.redis_scripts import COMMIT, LOAD
from cpu.result import Result, to_line
from cpu.start_run import View


@dataclass(frozen=True, slots=True)
class CpuState:
    """A CPU at one moment: its registers, its last result, and the addresses it has executed."""

    record: CpuRecord
    result: Result
    visited: frozenset[int]


class RedisCpu:
    """One CPU in Redis. Each method refreshes the TTL of its keys."""

    def __init__(self, client: Client, keys: Keys, ttl: int) -> None:
        self._client = client
        self._keys = keys
        self._ttl = ttl

    def load(self, result: Result, *, once: bool) -> None:
        """Create the CPU with all registers zero and nothing visited; with `once`, keep one that exists.

        Raises LostError if Redis has lost a part of the CPU that is to be kept.
        """
        load = self._client.register_script(LOAD)
        if not load(keys=self._keys.of_cpu, args=[self._ttl, int(once), result["status"], to_line(result)]):
            raise self._lost("the registers or the visited set")

    def read(self) -> CpuState:
        """Return the CPU. Raises PreconditionError if it is not loaded, LostError if a part of it is lost."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hmget(self._keys.registers, *CPU_FIELDS, "result")
        pipeline.get(self._keys.visited)
        for key in self._keys.of_cpu:
            pipeline.expire(key, self._ttl)
        (*fields, result), bitmap, *_ = pipeline.execute()
        if not any([*fields, result, bitmap]):
            raise PreconditionError(f"{self._keys.name} is not loaded, or has expired: load it first")
        record = CpuRecord.decode(fields)
        if record is None or result is None:
            raise self._lost("registers")
        visited = decode_visited(bitmap)
        if len(visited) != record.registers.cycle:
            raise self._lost("the visited set")
        return CpuState(record, decode_result(result), visited)

    def commit(self, first: int, memory: "RedisMemory", result: Result) -> Result | None:
        """Commit an exec that began with cycle `first`, and return the result that Redis keeps for it.

        That is another pod's result if that pod was faster. Returns None if the CPU is no longer right before
        that cycle.
        """
        commit = self._client.register_script(COMMIT)
        pc, acc, cycle = map(str, memory.registers)
        args = [self._ttl, first, first - 1, cycle, pc, acc, result["status"], to_line(result)]
        kept = commit(keys=self._keys.of_cpu, args=[*args, *memory.executed])
        return None if kept is None else decode_result(kept)

    def _lost(self, what: str) -> LostError:
        return LostError(f"{what} of {self._keys.name}")


class RedisMemory:
    """The memory a machine works on: a CPU as it was read, and the changes for `RedisCpu.commit`."""

    def __init__(self, cpu: int, state: CpuState, view: View) -> None:
        self.registers = state.record.registers
        self.executed: set[int] = set()
        self._visited = state.visited
        self._view = view
        self._swapped = cpu - 1  # for CPU 0 it is no address

    def __len__(self) -> int:
        return self._view.facts.length

    def fetch(self, address: int) -> Instruction:
        instruction = self._view.instruction(address)
        return (instruction.swapped() or instruction) if address == self._swapped else instruction

    def visited(self, address: int) -> bool:
        return address in self._visited or address in self.executed

    def write_back(self, registers: Registers) -> None:
        self.executed.add(self.registers.pc)
        self.registers = registers
