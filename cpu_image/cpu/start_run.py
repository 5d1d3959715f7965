"""A start run in Redis: its program, stored once, and the account of its CPUs' stops."""

import hashlib
from dataclasses import dataclass
from typing import Any

from cpu.errors import LostError, RefusedError
from cpu.keys import Keys
from cpu.program import Instruction, Program
from cpu.redis_client import Client
from cpu.result import Status

FACTS = ("length", "stopped", "digest", "cpus", "parts", "keep_going", "stored", "ended")
"""What the facts hold from the beginning."""
LATER_FACTS = ("answer", "cancelled", "cycles", "stops")
"""What they may hold; versions before did not keep the last two."""

WHOLE = f"""
-- Whether nothing of a start run is lost: see Keys.
-- KEYS: 1 facts (hash), 2 program (list), 3 stops (hash)
local function is_whole()
  local facts = redis.call('HMGET', KEYS[1], {str(FACTS)[1:-1]})
  for i = 1, {len(FACTS)} do
    if not facts[i] then
      return false
    end
  end
  local stops = math.max(tonumber(facts[2]), tonumber(redis.call('HGET', KEYS[1], 'stops') or 0))
  return redis.call('LLEN', KEYS[2]) == tonumber(facts[1]) and redis.call('HLEN', KEYS[3]) >= stops
end
"""

STORE = (
    WHOLE
    + """
-- Keep a start run's program and settings, once.
-- KEYS: 1 facts (hash), 2 program (list), 3 stops (hash)
-- ARGV: 1 seconds to expire after, 2 digest, 3 length, 4 cpus, 5 parts, 6 keep_going,
--       7 cycles, 8... the instructions
-- Returns 1 when it is kept, now or since before; 0 when another program or other settings are;
-- nil when a part of it is lost.
-- Here and in the other scripts the first write is one that a Redis without memory refuses: a
-- script that has begun to write goes on.
local digest = redis.call('HGET', KEYS[1], 'digest')
if digest and digest ~= ARGV[2] then
  return 0
elseif redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[3]) > 0 and not is_whole() then
  return false
end
if not digest then
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'digest', ARGV[2], 'length', ARGV[3], 'cpus', ARGV[4],
    'parts', ARGV[5], 'keep_going', ARGV[6], 'cycles', ARGV[7],
    'stored', string.format('%s.%06d', now[1], now[2]),
    'stops', 0, 'stopped', 0, 'ended', 0)
  redis.call('DEL', KEYS[2], KEYS[3])
  for i = 8, #ARGV do
    redis.call('RPUSH', KEYS[2], ARGV[i])
  end
end
for i = 1, 3 do
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
return 1
"""
)

CANCEL = """
-- Have all CPUs of a start run stop at their next cycle.
-- KEYS: 1 facts (hash)
-- Returns 1 when it is so, 0 when there is no such start run.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'cancelled', '1')
return 1
"""

STOP = (
    WHOLE
    + """
-- Record that a CPU has stopped, once, and decide what there is to tell. Asked again for the same
-- CPU, whatever happened since: what was answered first.
-- KEYS: 1 facts (hash), 2 program (list), 3 stops (hash)
-- ARGV: 1 seconds to expire after, 2 CPU number, 3 '1' for a candidate, 4 '1' when it ended
-- Returns 'verdict:time'; nil when there is no such start run, or a part of it is lost.
local facts = redis.call('HMGET', KEYS[1], 'cpus', 'parts', 'keep_going', 'cancelled')
if not is_whole() then
  return false
end
local cpus, parts, keep_going = tonumber(facts[1]), facts[2], facts[3] == '1'

local function decide()
  if facts[4] then
    return ''
  elseif ARGV[2] == '0' then
    return string.find(parts, '1') and 'part1' or ''
  end
  local stopped = redis.call('HINCRBY', KEYS[1], 'stopped', ARGV[3])
  local ended = redis.call('HINCRBY', KEYS[1], 'ended', ARGV[4])
  local first = ARGV[4] == '1' and redis.call('HSETNX', KEYS[1], 'answer', ARGV[2]) == 1
  if not string.find(parts, '2') then
    return ''
  elseif first or (ARGV[4] == '1' and keep_going) then
    return 'part2'
  elseif stopped == cpus and ended == 0 and redis.call('HSETNX', KEYS[1], 'none', ARGV[2]) == 1 then
    return 'none'
  end
  return ''
end

local stop = redis.call('HGET', KEYS[3], ARGV[2])
if not stop then
  local now = redis.call('TIME')
  stop = decide() .. ':' .. string.format('%s.%06d', now[1], now[2])
  redis.call('HSET', KEYS[3], ARGV[2], stop)
  redis.call('HSET', KEYS[1], 'stops', redis.call('HLEN', KEYS[3]))
end
for i = 1, 3 do
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
return stop
"""
)

STOP_SECONDS = 15
"""How long after a CPU's last commit its stop may be entered: its registers expire that much earlier."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a start run is asked for: the parts ("1", "2" or "12"), whether CPUs run on after the first
    answer, and how many cycles a pod executes.
    """

    parts: str = "12"
    keep_going: bool = False
    cycles: int = 1


@dataclass(frozen=True, slots=True)
class View:
    """A start run as one CPU sees it: the facts, and the instructions from one address on."""

    length: int
    keep_going: bool
    answer: int | None
    cancelled: bool
    address: int
    items: list[bytes]

    def instruction(self, address: int) -> Instruction:
        """Raises IndexError for an address that was not looked at, or is outside of the program."""
        if address < self.address:
            raise IndexError(address)
        return unpack(self.items[address - self.address])

    def stops(self, cpu: int) -> bool:
        """Whether a CPU is to stop: as the start run is cancelled, or as another one has the answer, for
        which the one without a swap never stops.
        """
        return self.cancelled or (cpu != 0 and not self.keep_going and self.answer not in (None, cpu))


@dataclass(frozen=True, slots=True)
class Survey:
    """The cycles per pod of a start run, the numbers of its CPUs, and the verdict of each that has stopped:
    empty for no news.
    """

    cycles: int
    cpus: list[int]
    verdicts: dict[int, str]


class StartRun:
    """One start run: store the program, look at it, stop a CPU, give account. Raises RefusedError
    where it is not stored, or was not used for so long that it has expired, and LostError where a part of it
    is lost.
    """

    def __init__(self, client: Client, keys: Keys, ttl: int) -> None:
        self._client = client
        self._keys = keys
        self._ttl = ttl

    def store(self, program: Program, settings: Settings) -> None:
        """Keep the program; the same once more changes nothing, another one is refused."""
        items = [_pack(instruction) for instruction in program.instructions]
        cpus = sum(1 for _ in program.candidates())
        digest = hashlib.sha256("\n".join([repr(settings), *items]).encode()).hexdigest()
        facts = [
            digest,
            str(len(items)),
            str(cpus),
            settings.parts,
            str(int(settings.keep_going)),
            str(settings.cycles),
        ]
        store = self._client.register_script(STORE)
        kept = store(keys=self._keys.of_start, args=[str(self._ttl), *facts, *items])
        if kept is None:
            raise self._missing()
        if not kept:
            raise RefusedError(
                f"start run {self._keys.start} holds another program or other settings:"
                " choose another name for this one"
            )

    def look(self, address: int, last: int) -> View:
        """The facts, and the instructions from an address to the last one; -1 is the program's last."""
        pipeline = self._whole()
        pipeline.lrange(self._keys.program, address, last)
        for key in self._keys.of_start:
            pipeline.expire(key, self._ttl)
        *counted, items, _, _, _ = pipeline.execute()
        facts = self._facts(*counted)
        answer = int(facts["answer"]) if "answer" in facts else None
        keep_going, cancelled = facts["keep_going"] == "1", "cancelled" in facts
        return View(int(facts["length"]), keep_going, answer, cancelled, address, items)

    def stop(self, status: Status, candidate: bool) -> str | None:
        """Record the CPU's stop; the verdict of its first time, None when it has nothing to tell."""
        stop = self._client.register_script(STOP)
        args = [self._ttl, self._keys.cpu, int(candidate), int(candidate and status is Status.END)]
        told = stop(keys=self._keys.of_start, args=args)
        if told is None:
            raise self._missing()
        return told.decode().partition(":")[0] or None

    def cancel(self) -> None:
        """Have all CPUs stop at their next cycle; done once or twice is the same."""
        if not self._client.register_script(CANCEL)(keys=self._keys.of_start[:1]):
            raise self._missing()

    def account(self) -> dict[str, Any]:
        """Seconds from store to the CPU's stop (or to now), candidates, how many stopped and ended;
        and the verdict where the CPU told one.
        """
        pipeline = self._whole()
        pipeline.hget(self._keys.stops, str(self._keys.cpu))
        for key in self._keys.of_start:
            pipeline.expire(key, self._ttl)
        *counted, stop, _, _, _ = pipeline.execute()
        facts = self._facts(*counted)
        verdict, _, stopped_at = (stop or b"").decode().partition(":")
        seconds = float(stopped_at or self._now()) - float(facts["stored"])
        counts = {name: int(facts[name]) for name in ("cpus", "stopped", "ended")}
        account = {"seconds": round(seconds, 3), **counts}
        return {"verdict": verdict, **account} if verdict else account

    def survey(self) -> Survey | None:
        """The CPUs that are asked for and what is told of their stops; None where it is cancelled, or not
        stored any more.

        A verdict that is as old as what expires is news no more: whoever keeps account of who told it may
        have forgotten. Only looks: what nobody uses any more expires all the same.
        """
        pipeline = self._whole()
        pipeline.lrange(self._keys.program, 0, -1)
        *counted, items = pipeline.execute()
        facts = _decode(counted[0])
        if "cancelled" in facts or not any((facts, *counted[1:])):
            return None
        require_whole(self._keys.start, facts, *counted[1:])
        stops: Any = self._client.hgetall(self._keys.stops)
        swaps = (number for number, item in enumerate(items, 1) if unpack(item).swapped())
        cpus = [*([0] if "1" in facts["parts"] else []), *(swaps if "2" in facts["parts"] else ())]
        verdicts, now = {}, self._now()
        for cpu, stop in stops.items():
            verdict, _, stopped_at = stop.decode().partition(":")
            verdicts[int(cpu)] = verdict if now - float(stopped_at) < self._ttl - STOP_SECONDS else ""
        cycles = int(facts.get("cycles", 1))  # an earlier version did not keep them
        return Survey(cycles, cpus, verdicts)

    def _whole(self) -> Any:
        """Begin a transaction with what `_facts` takes."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hmget(self._keys.facts, *FACTS, *LATER_FACTS)
        pipeline.llen(self._keys.program)
        pipeline.hlen(self._keys.stops)
        return pipeline

    def _facts(self, values: list[bytes | None], items: int, stops: int) -> dict[str, str]:
        """Decode the facts. Raises RefusedError where there is no such start run, or a part of it is lost."""
        facts = _decode(values)
        if not facts and not items and not stops:
            raise self._not_stored()
        require_whole(self._keys.start, facts, items, stops)
        return facts

    def _missing(self) -> RefusedError:
        """Return why a script has found no start run that is whole."""
        try:
            self._facts(*self._whole().execute())
        except RefusedError as error:
            return error
        return self._not_stored()

    def _now(self) -> float:
        seconds, microseconds = self._client.time()
        return seconds + microseconds / 1e6

    def _not_stored(self) -> RefusedError:
        return RefusedError(f"start run {self._keys.start} is not stored, or has expired: store it first")


def _decode(values: list[bytes | None]) -> dict[str, str]:
    named = zip((*FACTS, *LATER_FACTS), values, strict=True)
    return {name: value.decode() for name, value in named if value is not None}


def require_whole(start: str, facts: dict[str, str], items: int, stops: int) -> None:
    """Raise LostError unless the facts of a start run and the numbers of its items and stops, all read in one
    moment, belong together.
    """
    if any(name not in facts for name in FACTS) or (facts["ended"] != "0" and "answer" not in facts):
        lost = "the facts"
    elif items != int(facts["length"]):
        lost = "the program"
    # An earlier version did not keep the number of stops.
    elif stops < max(int(facts["stopped"]), int(facts.get("stops", 0))):
        lost = "the stops"
    else:
        return
    raise LostError(f"{lost} of start run {start}")


def _pack(instruction: Instruction) -> str:
    return f"{instruction.line}:{instruction}"


def unpack(item: bytes) -> Instruction:
    """An instruction as it is kept."""
    line, _, text = item.decode().partition(":")
    operation, _, argument = text.partition(" ")
    return Instruction(operation, int(argument), int(line))
