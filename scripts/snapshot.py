"""What Redis holds of a start run, for people to look at: only looks, so that what nobody uses expires."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, cast

from cpu.errors import LostError
from cpu.keys import Keys
from cpu.result import Status
from cpu.start_run import require_whole, unpack
from scripts.wall.models import Answer, Line, State, Tile

if TYPE_CHECKING:
    from cpu.program import Instruction
    from cpu.redis_client import Client

STARTS = 10_000
GONE = "its registers have expired, or Redis has lost them"
FIELDS = ("status", "cycle", "pc", "acc", "loaded")
STATES: dict[str, State] = {
    status.value: cast("State", "running" if status is Status.OK else status.value) for status in Status
}


class NotKeptError(LookupError):
    """Redis has no such start run, or none any more."""


@dataclass(frozen=True)
class Snapshot:
    """A start run at one moment; times are Redis' own, in seconds since 1970."""

    start: str
    facts: dict[str, str]
    program: list[Instruction]
    stops: dict[int, float]
    now: float
    tiles: list[Tile]

    @property
    def cycles(self) -> int:
        """How many cycles all CPUs have executed."""
        return sum(tile.cycle for tile in self.tiles)

    @property
    def stopped(self) -> int:
        """How many CPUs have no next cycle."""
        return sum(tile.state not in ("waiting", "running") for tile in self.tiles)

    @property
    def stored(self) -> float:
        """When the program was stored."""
        return float(self.facts["stored"])

    @property
    def ended(self) -> float | None:
        """When the last CPU stopped, once all have."""
        if self.stopped < len(self.tiles):
            return None
        return max(self.stops.values(), default=self.stored)

    @property
    def expected(self) -> float | None:
        """How long all of it will have taken, if CPUs go on to stop like that; None before one has."""
        if self.ended is not None:
            return self.ended - self.stored
        return (self.now - self.stored) * len(self.tiles) / self.stopped if self.stopped else None

    def part1(self) -> Answer | None:
        """Of the CPU that runs the program as written."""
        tile = next((tile for tile in self.tiles if tile.cpu == 0), None)
        if tile is None or tile.state in ("waiting", "running", "stopped"):
            return None
        words = {
            "end": "the program does not loop: it ends",
            "fault": "the program does not loop: it faults",
            "gone": GONE,
        }
        return Answer(text=words.get(tile.state, tile.acc), cpu=0)

    def part2(self) -> Answer | None:
        """Of the first CPU that ran off the end."""
        if answer := self.facts.get("answer"):
            tile = next((tile for tile in self.tiles if tile.cpu == int(answer)), None)
            if tile is None:
                return None
            return Answer(text=GONE if tile.state == "gone" else tile.acc, cpu=tile.cpu)
        asked = [tile for tile in self.tiles if tile.cpu]
        none = "2" in self.facts["parts"] and all(
            tile.state in ("loop", "fault", "invalid") for tile in asked
        )
        return Answer(text="no swap ends this program", cpu=None) if none else None


def newest(client: Client) -> str | None:
    """The start run that was stored last, among as many as are looked at; None where there is none."""
    found = client.scan_iter(match=Keys("*").facts, count=1000)
    keys = [key.decode() for key in islice(found, STARTS)]
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.hget(key, "stored")
    stored = [float(when or 0) for when in pipeline.execute()]
    _, key = max(zip(stored, keys, strict=True), default=(0, None))
    return key and key.partition("{")[2].partition("}")[0]


def snapshot(client: Client, start: str) -> Snapshot:
    """The start run and all of its CPUs. Raises NotKeptError, and LostError where a part of it is lost."""
    keys = Keys(start)
    pipeline = client.pipeline(transaction=False)
    pipeline.hgetall(keys.facts)  # first, as both stops and their number only grow
    pipeline.lrange(keys.program, 0, -1)
    pipeline.hgetall(keys.stops)
    pipeline.time()
    raw, items, stops, (seconds, microseconds) = pipeline.execute()
    if not (raw or items or stops):
        raise NotKeptError(f"start run {start} is not kept: it was never stored, or nobody used it for long")
    facts = {name.decode(): value.decode() for name, value in raw.items()}
    require_whole(start, facts, len(items), len(stops))
    program = [unpack(item) for item in items]
    numbers = [0] if "1" in facts["parts"] else []
    if "2" in facts["parts"]:
        numbers += [number for number, one in enumerate(program, 1) if one.swapped()]
    pipeline = client.pipeline(transaction=False)
    for number in numbers:
        pipeline.hmget(Keys(start, number).registers, *FIELDS)
    stopped = {int(number): float(stop.decode().partition(":")[2]) for number, stop in stops.items()}
    stored = float(facts["stored"])
    tiles = [
        tile(number, program, found, stored, stopped.get(number))
        for number, found in zip(numbers, pipeline.execute(), strict=True)
    ]
    return Snapshot(start, facts, program, stopped, seconds + microseconds / 1e6, tiles)


def tile(
    number: int, program: list[Instruction], found: list[bytes | None], stored: float, stopped: float | None
) -> Tile:
    """A CPU by its registers as Redis has them: all None where it is not loaded, or they are gone."""
    status, cycle, pc, acc, loaded = ((value or b"").decode() for value in found)
    instruction = program[number - 1] if number else None
    return Tile(
        cpu=number,
        line=instruction.line if instruction else None,
        swap=f"{instruction} → {instruction.swapped()}" if instruction else None,
        state=STATES[status] if status else "gone" if stopped else "waiting",
        cycle=int(cycle or 0),
        pc=pc or ("?" if stopped else "0"),
        acc=acc or ("?" if stopped else "0"),
        # A CPU made by a version that did not keep the time counts as loaded when the program was stored.
        loaded=float(loaded or stored) if status else None,
        stopped=stopped,
    )


def listing(client: Client, start: str, number: int, program: list[Instruction]) -> list[Line]:
    """The program as this CPU executes it, and what it has executed of it. Raises LostError where Redis has
    lost that.
    """
    keys = Keys(start, number)
    pipeline = client.pipeline(transaction=False)
    pipeline.hget(keys.registers, "cycle")
    pipeline.get(keys.visited)
    pipeline.hget(keys.registers, "cycle")
    before, found, after = pipeline.execute()
    visited = found or b""
    # Where the CPU has executed a cycle in between, the next look will tell.
    if before == after and int.from_bytes(visited).bit_count() != int(before or 0):
        raise LostError(f"the registers or the visited set of {keys.name}")
    lines = []
    for address, written in enumerate(program):
        swapped = written.swapped() if address == number - 1 else None
        byte = visited[address // 8 : address // 8 + 1]
        lines.append(
            Line(
                line=written.line,
                text=str(swapped or written),
                swapped=swapped is not None,
                visited=bool(byte and byte[0] & (0x80 >> address % 8)),
            )
        )
    return lines
