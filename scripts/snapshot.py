"""The read-only view of a start run in Redis, for the wall, the report and the demo.

Reading refreshes no TTL, so that a start run expires when no pod uses it any more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal, cast

from cpu.errors import LostError
from cpu.keys import Keys
from cpu.records import (
    CPU_FIELDS,
    FACT_FIELDS,
    CpuRecord,
    Facts,
    Stop,
    cpus_of,
    decode_instruction,
    decode_visited,
    seconds_of,
)
from cpu.result import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cpu.program import Instruction
    from cpu.redis_client import Client

State = Literal["waiting", "running", "loop", "end", "fault", "stopped", "invalid", "gone"]
"""`waiting`: not loaded yet; `running`: it has a next cycle; `gone`: it has stopped, and Redis no longer has
its registers, because they have expired or were lost; each other state is the status it has stopped with."""
_STATES = {status: cast("State", "running" if status is Status.OK else status.value) for status in Status}
VERDICTS = ("part1", "part2", "none")
"""Every verdict; a CPU that stops has one of them, or none."""
GONE = "unknown: the registers of the CPU have expired, or Redis has lost them"
"""The text of an answer of which only the CPU is known."""
MAX_START_RUNS = 10_000
"""How many start runs `newest_start` compares at most."""


class NotKeptError(LookupError):
    """Redis does not have the start run, or no longer has it."""


@dataclass(frozen=True)
class CpuSnapshot:
    """A CPU at one moment.

    `line`, `swap`: the line of its swap, and the swap, such as `jmp -4 → nop -4`; None for CPU 0.
    `pc`, `acc`: decimal strings, as JavaScript is exact to 53 bits only; `?` when they are gone.
    `loaded`, `stopped`: when that happened, by Redis' clock in seconds since 1970; None if it has not.
    """

    cpu: int
    line: int | None
    swap: str | None
    state: State
    cycle: int
    pc: str
    acc: str
    loaded: float | None
    stopped: float | None


@dataclass(frozen=True)
class Answer:
    """The answer to a part: the number, or a sentence saying why there is none; and the CPU that found it."""

    text: str
    cpu: int | None


@dataclass(frozen=True)
class VerdictRun:
    """The DAG run in which a CPU has stopped with a verdict: the one of this CPU and cycle."""

    cpu: int
    cycle: int


@dataclass(frozen=True)
class ProgramLine:
    """An instruction as one CPU executes it: its line in the program, and whether that CPU swaps it."""

    line: int
    text: str
    swapped: bool
    visited: bool


@dataclass(frozen=True)
class HotLine:
    """An instruction of the program as written, its line, and how many CPUs have executed it."""

    line: int
    text: str
    cpus: int


@dataclass(frozen=True)
class Snapshot:
    """A start run at one moment. Times are by Redis' clock, in seconds since 1970.

    `verdicts`: for each verdict, the first CPU that has it. `pods`: how many pods have stored, loaded,
    executed and read so far; a pod that ran again for the same cycles is not counted.
    """

    start: str
    facts: Facts
    program: list[Instruction]
    now: float
    cpus: list[CpuSnapshot]
    verdicts: dict[str, VerdictRun]
    pods: int = 0

    @property
    def states(self) -> Counter[State]:
        """How many CPUs are in each state."""
        return Counter(cpu.state for cpu in self.cpus)

    @property
    def cycles(self) -> int:
        """How many cycles all CPUs have executed."""
        return sum(cpu.cycle for cpu in self.cpus)

    @property
    def stopped(self) -> int:
        """How many CPUs have no next cycle."""
        return sum(cpu.state not in ("waiting", "running") for cpu in self.cpus)

    @property
    def stored(self) -> float:
        """When the program was stored."""
        return self.facts.stored

    @property
    def ended(self) -> float | None:
        """When the last CPU stopped; None while any has a next cycle."""
        if self.stopped < len(self.cpus):
            return None
        return max((cpu.stopped for cpu in self.cpus if cpu.stopped), default=self.stored)

    @property
    def expected(self) -> float | None:
        """Seconds from store to end, estimated if not all CPUs have stopped; None before any has."""
        if self.ended is not None:
            return self.ended - self.stored
        return (self.now - self.stored) * len(self.cpus) / self.stopped if self.stopped else None

    def cpu(self, number: int) -> CpuSnapshot | None:
        """Return the CPU of that number, or None if the start run has no such CPU."""
        return next((cpu for cpu in self.cpus if cpu.cpu == number), None)

    def part1(self) -> Answer | None:
        """Return the answer of the CPU that runs the program as written; None if there is none yet."""
        cpu = self.cpu(0)
        if cpu is None or cpu.state in ("waiting", "running", "stopped"):
            return None
        no_number = {
            "end": "the program does not loop: it ends",
            "fault": "the program does not loop: it faults",
            "gone": GONE,
        }
        return Answer(no_number.get(cpu.state, cpu.acc), cpu=0)

    def part2(self) -> Answer | None:
        """Return the answer of the first candidate that ended, or that none will; None if unknown yet."""
        if self.facts.answer is not None:
            cpu = self.cpu(self.facts.answer)
            return Answer(GONE if cpu.state == "gone" else cpu.acc, cpu.cpu) if cpu else None
        candidates = [cpu for cpu in self.cpus if cpu.cpu]
        no_swap_ends = "2" in self.facts.parts and all(
            cpu.state in ("loop", "fault", "invalid") for cpu in candidates
        )
        return Answer("no swap ends this program", cpu=None) if no_swap_ends else None


def newest_start(client: Client) -> str | None:
    """Return the start run that was stored last, or None if Redis has none."""
    key = newest_facts(client, Keys("*").facts, "stored")
    return Keys.start_of(key) if key else None


def newest_facts(client: Client, pattern: str, field: str) -> bytes | None:
    """Return the key that matches the pattern and whose field holds the latest time; None without any."""
    keys = list(islice(client.scan_iter(match=pattern, count=1000), MAX_START_RUNS))
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.hget(key, field)
    times = [float(when or 0) for when in pipeline.execute()]
    _, newest = max(zip(times, keys, strict=True), default=(0, None))
    return newest


def take_snapshot(client: Client, start: str) -> Snapshot:
    """Return a start run with all of its CPUs.

    Raises NotKeptError if Redis does not have it, LostError if Redis has lost a part of it.
    """
    keys = Keys(start)
    now = server_time(client, keys.facts)
    pipeline = client.pipeline(transaction=False)
    pipeline.hmget(keys.facts, *FACT_FIELDS)  # first, as the stops and their number only grow
    pipeline.lrange(keys.program, 0, -1)
    pipeline.hgetall(keys.stops)
    values, items, entries = pipeline.execute()
    if not any((*values, items, entries)):
        raise NotKeptError(f"start run {start} is not kept: it was never stored, or it has expired")
    facts = Facts.decode(start, values, len(items), len(entries))
    program = [decode_instruction(item) for item in items]
    stops = {int(number): Stop.decode(entry) for number, entry in entries.items()}
    numbers = cpus_of(facts.parts, program)
    pipeline = client.pipeline(transaction=False)
    for number in numbers:
        pipeline.hmget(Keys(start, number).registers, *CPU_FIELDS)
    records = {
        number: CpuRecord.decode(fields) for number, fields in zip(numbers, pipeline.execute(), strict=True)
    }
    cpus = [
        _cpu_snapshot(number, program, record, facts.stored, stops.get(number))
        for number, record in records.items()
    ]
    verdicts: dict[str, VerdictRun] = {}
    for number, stop in sorted(stops.items(), key=lambda item: item[1].time):
        if stop.verdict:
            record = records[number]
            verdicts.setdefault(stop.verdict, VerdictRun(number, record.first if record else 0))
    reads = sum(bool(stop.verdict) for stop in stops.values())
    pods = 1 + reads + sum(_pods_of(record, facts.cycles) for record in records.values() if record)
    return Snapshot(start, facts, program, now, cpus, verdicts, pods)


def _pods_of(record: CpuRecord, cycles_per_pod: int) -> int:
    """Return how many pods have loaded and executed a CPU, from the cycle that the last one began with."""
    return 1 + -(-record.first // cycles_per_pod)


def server_time(client: Client, key: str) -> float:
    """Return the time, in seconds since 1970, of the Redis server that has the key.

    It must be asked for first, in a request of its own. redis-py refuses TIME in a pipeline to a cluster.
    And a Redis that wants a password says so in reply to a short command, but after a long one it only closes
    the connection.
    """
    node = {"target_nodes": client.get_node_from_key(key)} if hasattr(client, "get_node_from_key") else {}
    return seconds_of(client.time(**node))


def _cpu_snapshot(
    number: int, program: list[Instruction], record: CpuRecord | None, stored: float, stop: Stop | None
) -> CpuSnapshot:
    """Return a CPU; `record` is None if it is not loaded, or if its registers are gone."""
    instruction = program[number - 1] if number else None
    line = instruction.line if instruction else None
    swap = f"{instruction} → {instruction.swapped()}" if instruction else None
    stopped = stop.time if stop else None
    if record is None:
        state: State = "gone" if stop else "waiting"
        register = "?" if stop else "0"
        return CpuSnapshot(number, line, swap, state, 0, register, register, None, stopped)
    return CpuSnapshot(
        cpu=number,
        line=line,
        swap=swap,
        state=_STATES[record.status],
        cycle=record.registers.cycle,
        pc=str(record.registers.pc),
        acc=str(record.registers.acc),
        # Earlier versions did not keep this time: such a CPU counts as loaded when the program was stored.
        loaded=record.loaded or stored,
        stopped=stopped,
    )


def read_listing(client: Client, start: str, number: int, program: list[Instruction]) -> list[ProgramLine]:
    """Return the program as a CPU executes it, each line with whether the CPU has executed it.

    Raises LostError if Redis has lost its registers or its visited set.
    """
    keys = Keys(start, number)
    pipeline = client.pipeline(transaction=False)
    pipeline.hget(keys.registers, "cycle")
    pipeline.get(keys.visited)
    pipeline.hget(keys.registers, "cycle")
    before, bitmap, after = pipeline.execute()
    visited = decode_visited(bitmap)
    # If the CPU has executed a cycle in between, the numbers differ although nothing is lost.
    if before == after and len(visited) != int(before or 0):
        raise LostError(f"the registers or the visited set of {keys.name}")
    swapped = {number - 1: program[number - 1].swapped()} if number else {}
    return [
        ProgramLine(
            line=written.line,
            text=str(swapped.get(address) or written),
            swapped=swapped.get(address) is not None,
            visited=address in visited,
        )
        for address, written in enumerate(program)
    ]


def read_hot_lines(client: Client, start: str) -> list[HotLine]:
    """Return the program, each line with how many CPUs have executed it; none executes a line twice.

    Raises as `take_snapshot` does.
    """
    snapshot = take_snapshot(client, start)
    pipeline = client.pipeline(transaction=False)
    for cpu in snapshot.cpus:
        pipeline.get(Keys(start, cpu.cpu).visited)
    counts = count_visits(pipeline.execute(), len(snapshot.program))
    return [
        HotLine(instruction.line, str(instruction), count)
        for instruction, count in zip(snapshot.program, counts, strict=True)
    ]


def count_visits(bitmaps: Iterable[bytes | None], length: int) -> list[int]:
    """Return for each address in how many of the bitmaps its bit is set.

    All addresses are counted at once: `digits[n]` is an integer that has, at the place of each address, digit
    n of that address' binary count. Adding a bitmap is then an addition with carry, by a few operations on
    integers, however long the program is.
    """
    size = -(-length // 8)
    digits: list[int] = []
    for bitmap in bitmaps:
        carry = int.from_bytes((bitmap or b"").ljust(size, b"\0")[:size])
        for place, digit in enumerate(digits):
            digits[place], carry = digit ^ carry, digit & carry
            if not carry:
                break
        if carry:
            digits.append(carry)
    rows = [f"{digit:0{size * 8}b}" for digit in digits]
    return [
        sum((row[address] == "1") << place for place, row in enumerate(rows)) for address in range(length)
    ]
