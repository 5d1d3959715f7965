"""Start runs to draw, as Redis would hold them after a while."""

from __future__ import annotations

import random
from typing import cast

from cpu.program import Instruction
from scripts.snapshot import CpuSnapshot, Snapshot, State

STORED = 1_800_000_000.25


def run(
    cpus: int,
    *,
    winner: int | None = None,
    until: float = 0,
    parts: str = "12",
    argument: int = -4,
    spread: float = 1.0,
    **facts: str,
) -> Snapshot:
    """A start run of so many CPUs: CPU 0 as far as part 1 is asked for, candidates 1, 2, 3, ...

    `until`: seconds after which it is looked at; 0: when all have stopped. The same for the same arguments.
    """
    chance = random.Random(cpus)
    candidates = cpus - ("1" in parts)
    program = [Instruction("jmp", argument, line) for line in range(1, candidates + 1)]
    now = STORED + (until or 10 * spread * cpus)
    stops: dict[int, float] = {}
    snapshots = []
    for row, cpu in enumerate([*([0] if "1" in parts else []), *range(1, candidates + 1)]):
        loaded = STORED + spread * (0.5 + 0.6 * row + chance.random())
        stopped = loaded + spread * (0.3 + chance.expovariate(0.1))
        state = "end" if cpu == winner else chance.choices(["loop", "fault", "stopped"], [20, 2, 3])[0]
        if cpu == 0:
            state = "loop"
        if stopped > now:
            state = "running" if loaded <= now else "waiting"
        else:
            stops[cpu] = stopped
        before = program[cpu - 1] if cpu else None
        snapshots.append(
            CpuSnapshot(
                cpu=cpu,
                line=before.line if before else None,
                swap=f"{before} → {before.swapped()}" if before else None,
                state=cast("State", state),
                cycle=chance.randrange(1, 600) if state != "waiting" else 0,
                pc="1",
                acc=str(argument),
                loaded=loaded if loaded <= now else None,
                stopped=stops.get(cpu),
            )
        )
    answer = {"answer": str(winner)} if winner in stops else {}
    return Snapshot(
        "20261122-084725-a1b2c3",
        {"parts": parts, "stored": str(STORED), **answer, **facts},
        program,
        now,
        snapshots,
        {},
    )
