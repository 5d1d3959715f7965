"""What a start run looks like from outside: reads Redis, writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cpu.keys import Keys

VERDICTS = ("part1", "part2", "none")


@dataclass(frozen=True)
class Told:
    """A CPU that has stopped with news, and the cycle its last pod was asked for: its last DAG run."""

    cpu: int
    cycle: int


@dataclass(frozen=True)
class Overview:
    """A start run at one moment.

    ``states`` counts CPUs by status, with ``waiting`` for those not loaded yet and ``gone`` for those that
    have stopped and whose registers have expired or were lost; ``cycles`` is the sum of
    their cycle counters; ``told`` holds the CPU of each verdict there is.
    """

    states: Counter[str]
    cycles: int
    told: dict[str, Told]


def overview(client: Any, start: str, cpus: Sequence[int]) -> Overview:
    """Look at the CPUs of a start run, all in one round trip; ``client`` is a ``redis`` client."""
    pipeline = client.pipeline(transaction=False)
    pipeline.hgetall(Keys(start).stops)
    for cpu in cpus:
        pipeline.hmget(Keys(start, cpu).registers, "status", "cycle", "first")
    stops, *registers = pipeline.execute()
    states: Counter[str] = Counter()
    cycles, first = 0, {}
    for cpu, (status, cycle, asked) in zip(cpus, registers, strict=True):
        missing = "gone" if str(cpu).encode() in stops else "waiting"
        states[status.decode() if status else missing] += 1
        cycles += int(cycle or 0)
        first[cpu] = int(asked or 0)
    told: dict[str, Told] = {}
    for number, stop in sorted(stops.items(), key=lambda one: one[1].rpartition(b":")[2]):
        verdict = stop.decode().partition(":")[0]
        if verdict in VERDICTS:
            told.setdefault(verdict, Told(int(number), first[int(number)]))
    return Overview(states, cycles, told)
