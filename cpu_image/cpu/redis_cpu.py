"""A CPU's memory in Redis: read whole, worked on here, committed in one guarded step."""

import json
from dataclasses import dataclass

from cpu.errors import LostError, RefusedError
from cpu.instructions import Registers
from cpu.keys import Keys
from cpu.program import Instruction
from cpu.redis_client import Client
from cpu.result import Result, Status, to_line
from cpu.start_run import View

LOAD = """
-- Make a CPU, in place of the one there may be.
-- KEYS: 1 registers (hash), 2 visited (bitmap)
-- ARGV: 1 seconds to expire after, 2 '1' to leave a CPU that exists as it is, 3 status, 4 result
-- Returns 1; nil when the CPU that exists has lost its registers or its visited set.
if ARGV[2] == '1' then
  local cycle = redis.call('HGET', KEYS[1], 'cycle') or '0'
  if redis.call('BITCOUNT', KEYS[2]) ~= tonumber(cycle) then
    return false
  end
end
if ARGV[2] == '0' or redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'cycle', '0', 'pc', '0', 'acc', '0',
    'status', ARGV[3], 'first', '0', 'result', ARGV[4])
  local now = redis.call('TIME')
  redis.call('HSETNX', KEYS[1], 'loaded', string.format('%s.%06d', now[1], now[2]))
  redis.call('DEL', KEYS[2])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
return 1
"""

COMMIT = """
-- Write back what an exec did, once: registers, cycle counter, visited set and result together,
-- and only if the CPU still stands right before the first cycle of it, with its visited set complete.
-- KEYS: 1 registers (hash), 2 visited (bitmap)
-- ARGV: 1 seconds to expire after, 2 first cycle asked for, 3 the cycle before that,
--       4 cycle, 5 pc, 6 acc, 7 status, 8 result, 9... addresses executed
-- Returns the result kept for that first cycle, by this commit or by an earlier one of which the
-- answer was lost; nil where the guard does not hold. All numbers stay strings.
local kept = redis.call('HMGET', KEYS[1], 'first', 'cycle', 'status', 'result')
if kept[1] == ARGV[2] then
  return kept[4]
end
if kept[2] ~= ARGV[3] or kept[3] ~= 'ok' or redis.call('BITCOUNT', KEYS[2]) ~= tonumber(ARGV[3]) then
  return false
end
for i = 9, #ARGV do
  redis.call('SETBIT', KEYS[2], ARGV[i], 1)
end
redis.call('HSET', KEYS[1], 'cycle', ARGV[4], 'pc', ARGV[5], 'acc', ARGV[6],
  'status', ARGV[7], 'first', ARGV[2], 'result', ARGV[8])
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
return ARGV[8]
"""


@dataclass(frozen=True, slots=True)
class CpuState:
    """A CPU as it is kept in Redis (see Keys for the fields)."""

    registers: Registers
    status: Status
    first: int
    result: Result
    visited: bytes


class RedisCpu:
    """One CPU in Redis: load it, read it, commit to it."""

    def __init__(self, client: Client, keys: Keys, ttl: int) -> None:
        self._client = client
        self._keys = keys
        self._ttl = ttl

    def load(self, result: Result, *, once: bool) -> None:
        """Make the CPU, its registers zero and nothing visited; with `once` only if there is none.

        Raises LostError where there is a part of one.
        """
        load = self._client.register_script(LOAD)
        if not load(keys=self._keys.of_cpu, args=[self._ttl, int(once), result["status"], to_line(result)]):
            raise self._lost("the registers or the visited set")

    def read(self) -> CpuState:
        """The CPU, all of it from one moment. Raises RefusedError where it is not loaded, or incomplete."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hmget(self._keys.registers, "pc", "acc", "cycle", "status", "first", "result")
        pipeline.get(self._keys.visited)
        for key in self._keys.of_cpu:
            pipeline.expire(key, self._ttl)
        fields, visited, *_ = pipeline.execute()
        if not any(fields) and not visited:
            raise RefusedError(f"{self._keys.name} is not loaded, or has expired: load it first")
        if None in fields:
            raise self._lost("registers")
        pc, acc, cycle, status, first, result = fields
        registers = Registers(int(pc), int(acc), int(cycle))
        if int.from_bytes(visited or b"").bit_count() != registers.cycle:
            raise self._lost("the visited set")
        return CpuState(registers, Status(status.decode()), int(first), _kept(result), visited or b"")

    def commit(self, first: int, memory: "RedisMemory", result: Result) -> Result | None:
        """Keep what the exec asked for cycle `first` did. Returns the result kept for that cycle, also
        where another exec was faster; None where the CPU is not right before that cycle any more.
        """
        commit = self._client.register_script(COMMIT)
        pc, acc, cycle = map(str, memory.registers)
        args = [self._ttl, first, first - 1, cycle, pc, acc, result["status"], to_line(result)]
        kept = commit(keys=self._keys.of_cpu, args=[*args, *memory.executed])
        return None if kept is None else _kept(kept)

    def _lost(self, what: str) -> LostError:
        return LostError(f"{what} of {self._keys.name}")


def _kept(line: bytes) -> Result:
    """Parse a kept result. Older versions kept `pc` and `acc` as integers."""
    result = json.loads(line)
    return {**result, "pc": str(result["pc"]), "acc": str(result["acc"])}


class RedisMemory:
    """The memory a machine works on: a CPU as it was read, and what is new since, for RedisCpu.commit."""

    def __init__(self, cpu: int, state: CpuState, view: View) -> None:
        self.registers = state.registers
        self.executed: set[int] = set()
        self._visited = state.visited
        self._view = view
        self._swap = cpu - 1

    def __len__(self) -> int:
        return self._view.length

    def fetch(self, address: int) -> Instruction:
        instruction = self._view.instruction(address)
        return (instruction.swapped() or instruction) if address == self._swap else instruction

    def visited(self, address: int) -> bool:
        byte = self._visited[address // 8 : address // 8 + 1]
        return address in self.executed or bool(byte and byte[0] & (0x80 >> address % 8))

    def write_back(self, registers: Registers) -> None:
        self.executed.add(self.registers.pc)
        self.registers = registers
