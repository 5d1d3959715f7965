"""The JSON objects of the wall's API. `pc` and `acc` are strings, as JavaScript is exact to 53 bits only."""

from __future__ import annotations

from pydantic import BaseModel

from scripts.snapshot import Answer, CpuSnapshot, ProgramLine


class StartRunItem(BaseModel):
    """A start run: its id; the run of `cpu_start` that made it, the state of that run, and when it was
    triggered (Unix time).
    """

    start: str
    run_id: str
    state: str
    triggered: float


class Wall(BaseModel):
    """All CPUs of a start run at one moment.

    `stored`, `now`, `ended`: Unix time, by Redis' clock. `expected`: seconds from store to end. `length`: how
    many instructions the program has. `stopped`, `cycles`, `pods`: counts of CPUs, of executed cycles, and of
    tasks that wait for a pod.
    """

    start: str
    stored: float
    now: float
    ended: float | None
    expected: float | None
    length: int
    cancelled: bool
    part1: Answer | None
    part2: Answer | None
    stopped: int
    cycles: int
    pods: int
    cpus: list[CpuSnapshot]


class RegistersAfterCycle(BaseModel):
    """The registers after a cycle, or after the last one of a pod that executed several."""

    cycle: int
    pc: str
    acc: str


class DagRunItem(BaseModel):
    """A DAG run of a CPU, when it began and ended (Unix time), and the names of its pods."""

    run_id: str
    state: str
    pods: list[str]
    began: float | None
    ended: float | None


class CpuDetails(BaseModel):
    """One CPU: `tile` is what its tile on the wall shows."""

    tile: CpuSnapshot
    program: list[ProgramLine]
    history: list[RegistersAfterCycle]
    runs: list[DagRunItem]
