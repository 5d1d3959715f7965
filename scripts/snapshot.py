"""A start run as Redis holds it, read-only: the one view that the wall, the report and the demo share.

Reading extends the life of no key, so that a start run expires once no pod uses it any more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal, cast

from cpu.errors import LostError
from cpu.keys import Keys
from cpu.records import decode_instruction, require_whole
from cpu.result import Status

if TYPE_CHECKING:
    from cpu.program import Instruction
    from cpu.redis_client import Client

State = Literal["waiting", "running", "loop", "end", "fault", "stopped", "invalid", "gone"]
"""`waiting`: not loaded yet; `running`: it has a next cycle; `gone`: it has stopped, and Redis no longer has
its registers, because they have expired or were lost; each other state is the status it has stopped with."""
VERDICTS = ("part1", "part2", "none")
"""The verdicts that are an answer; a CPU that stops without one has an empty verdict."""
GONE = "its registers have expired, or Redis has lost them"
MAX_START_RUNS = 10_000
"""How many start runs `newest_start` compares at most."""
_REGISTERS = ("status", "cycle", "pc", "acc", "loaded", "first")


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
class LastExec:
    """The last pod that a CPU executed cycles in, which is also its last DAG run: named after `cycle`."""

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
class Snapshot:
    """A start run at one moment. Times are by Redis' clock, in seconds since 1970.

    `facts`: see `cpu.keys`. `verdicts`: of each verdict that is an answer, the first CPU that has it.
    """

    start: str
    facts: dict[str, str]
    program: list[Instruction]
    now: float
    cpus: list[CpuSnapshot]
    verdicts: dict[str, LastExec]

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
        return float(self.facts["stored"])

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
        """Return what the CPU that runs the program as written has found, or None."""
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
        """Return what the first candidate that ended has found, or that none has ended, or None."""
        if number := self.facts.get("answer"):
            cpu = self.cpu(int(number))
            return Answer(GONE if cpu.state == "gone" else cpu.acc, cpu.cpu) if cpu else None
        candidates = [cpu for cpu in self.cpus if cpu.cpu]
        no_swap_ends = "2" in self.facts["parts"] and all(
            cpu.state in ("loop", "fault", "invalid") for cpu in candidates
        )
        return Answer("no swap ends this program", cpu=None) if no_swap_ends else None


def newest_start(client: Client) -> str | None:
    """Return the start run that was stored last, or None if Redis has none."""
    found = client.scan_iter(match=Keys("*").facts, count=1000)
    keys = [key.decode() for key in islice(found, MAX_START_RUNS)]
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.hget(key, "stored")
    stored = [float(when or 0) for when in pipeline.execute()]
    _, key = max(zip(stored, keys, strict=True), default=(0, None))
    return key and key.partition("{")[2].partition("}")[0]


def take_snapshot(client: Client, start: str) -> Snapshot:
    """Read a start run and all of its CPUs.

    Raises NotKeptError if Redis does not have it, LostError if Redis has lost a part of it.
    """
    keys = Keys(start)
    pipeline = client.pipeline(transaction=False)
    pipeline.hgetall(keys.facts)  # before the stops: both the stops and the number of them only grow
    pipeline.lrange(keys.program, 0, -1)
    pipeline.hgetall(keys.stops)
    pipeline.time()
    raw, items, stops, (seconds, microseconds) = pipeline.execute()
    if not (raw or items or stops):
        raise NotKeptError(f"start run {start} is not kept: it was never stored, or nobody used it for long")
    facts = {name.decode(): value.decode() for name, value in raw.items()}
    require_whole(start, facts, len(items), len(stops))
    program = [decode_instruction(item) for item in items]
    numbers = [0] if "1" in facts["parts"] else []
    if "2" in facts["parts"]:
        numbers += [number for number, one in enumerate(program, 1) if one.swapped()]
    pipeline = client.pipeline(transaction=False)
    for number in numbers:
        pipeline.hmget(Keys(start, number).registers, *_REGISTERS)
    registers = dict(zip(numbers, pipeline.execute(), strict=True))
    verdicts: dict[str, LastExec] = {}
    stopped_at: dict[int, float] = {}
    for number, stop in sorted(stops.items(), key=lambda item: item[1].rpartition(b":")[2]):
        verdict, _, time = stop.decode().partition(":")
        stopped_at[int(number)] = float(time)
        if verdict in VERDICTS:
            verdicts.setdefault(verdict, LastExec(int(number), int(registers[int(number)][-1] or 0)))
    stored = float(facts["stored"])
    cpus = [
        _cpu_snapshot(number, program, fields, stored, stopped_at.get(number))
        for number, fields in registers.items()
    ]
    return Snapshot(start, facts, program, seconds + microseconds / 1e6, cpus, verdicts)


def _cpu_snapshot(
    number: int, program: list[Instruction], fields: list[bytes | None], stored: float, stopped: float | None
) -> CpuSnapshot:
    """Return a CPU by its registers in Redis, all of which are None if it is not loaded, or gone."""
    status, cycle, pc, acc, loaded, _ = ((value or b"").decode() for value in fields)
    instruction = program[number - 1] if number else None
    return CpuSnapshot(
        cpu=number,
        line=instruction.line if instruction else None,
        swap=f"{instruction} → {instruction.swapped()}" if instruction else None,
        state=_state(status) if status else "gone" if stopped else "waiting",
        cycle=int(cycle or 0),
        pc=pc or ("?" if stopped else "0"),
        acc=acc or ("?" if stopped else "0"),
        # Earlier versions did not keep this time: such a CPU counts as loaded when the program was stored.
        loaded=float(loaded or stored) if status else None,
        stopped=stopped,
    )


def _state(status: str) -> State:
    return cast("State", "running" if status == Status.OK else Status(status).value)


def read_listing(client: Client, start: str, number: int, program: list[Instruction]) -> list[ProgramLine]:
    """Return the program as a CPU executes it, and which instructions it has executed.

    Raises LostError if Redis has lost its registers or its visited set.
    """
    keys = Keys(start, number)
    pipeline = client.pipeline(transaction=False)
    pipeline.hget(keys.registers, "cycle")
    pipeline.get(keys.visited)
    pipeline.hget(keys.registers, "cycle")
    before, found, after = pipeline.execute()
    visited = found or b""
    # If the CPU has executed a cycle in between, the next reading will show what is lost.
    if before == after and int.from_bytes(visited).bit_count() != int(before or 0):
        raise LostError(f"the registers or the visited set of {keys.name}")
    lines = []
    for address, written in enumerate(program):
        swapped = written.swapped() if address == number - 1 else None
        byte = visited[address // 8 : address // 8 + 1]
        lines.append(
            ProgramLine(
                line=written.line,
                text=str(swapped or written),
                swapped=swapped is not None,
                visited=bool(byte and byte[0] & (0x80 >> address % 8)),
            )
        )
    return lines
