"""Snapshots of start runs, made without a Redis."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import cast

from cpu.program import Instruction
from cpu.records import Facts
from scripts.snapshot import CpuSnapshot, Snapshot, State

STORED = 1_800_000_000.25
FACTS = Facts(
    length=0,
    candidates=0,
    parts="12",
    keep_going=False,
    cycles=1,
    stored=STORED,
    stopped=0,
    ended=0,
    answer=None,
    cancelled=False,
)


def start_run(
    cpus: int,
    *,
    winner: int | None = None,
    seconds: float = 0,
    parts: str = "12",
    argument: int = -4,
    spread: float = 1.0,
    cancelled: bool = False,
) -> Snapshot:
    """Return a snapshot with that many CPUs, which is the same for the same arguments.

    The CPUs are CPU 0, if part 1 is asked for, and candidates 1, 2, 3 and so on. `seconds`: the age of the
    start run; 0 for an age at which all CPUs have stopped. `spread`: stretches the times of loads and stops.
    """
    chance = random.Random(cpus)
    candidates = cpus - ("1" in parts)
    program = [Instruction("jmp", argument, line) for line in range(1, candidates + 1)]
    now = STORED + (seconds or 10 * spread * cpus)
    snapshots = []
    for row, cpu in enumerate([*([0] if "1" in parts else []), *range(1, candidates + 1)]):
        loaded = STORED + spread * (0.5 + 0.6 * row + chance.random())
        stopped = loaded + spread * (0.3 + chance.expovariate(0.1))
        state = "end" if cpu == winner else chance.choices(["loop", "fault", "stopped"], [20, 2, 3])[0]
        if cpu == 0:
            state = "loop"
        if stopped > now:
            state = "running" if loaded <= now else "waiting"
        written = program[cpu - 1] if cpu else None
        snapshots.append(
            CpuSnapshot(
                cpu=cpu,
                line=written.line if written else None,
                swap=f"{written} → {written.swapped()}" if written else None,
                state=cast("State", state),
                cycle=chance.randrange(1, 600) if state != "waiting" else 0,
                pc="1",
                acc=str(argument),
                loaded=loaded if loaded <= now else None,
                stopped=stopped if stopped <= now else None,
            )
        )
    has_answer = any(cpu.cpu == winner and cpu.stopped for cpu in snapshots)
    facts = replace(FACTS, parts=parts, answer=winner if has_answer else None, cancelled=cancelled)
    return Snapshot("20261122-084725-a1b2c3", facts, program, now, snapshots, {})
