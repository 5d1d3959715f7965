"""What the wall's API answers. `pc` and `acc` are decimal strings: JavaScript is exact to 53 bits only."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

State = Literal["waiting", "running", "loop", "end", "fault", "stopped", "invalid", "gone"]
"""`waiting`: not loaded yet; `running`: it has a next cycle; `gone`: it has stopped,
and its registers have expired or were lost by Redis; the others: how it has stopped."""


class Start(BaseModel):
    """A start run: its id, the run of `cpu_start` that made it, that one's state, and when (Unix time)."""

    start: str
    run_id: str
    state: str
    triggered: float


class Tile(BaseModel):
    """A CPU at a glance; `line` and `swap` are None for the one that runs the program as written.

    `loaded` and `stopped` are when it was (Redis' own Unix time), None where it was not yet.
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


class Answer(BaseModel):
    """What is known of a part: the number, or in words why there is none; and whose it is."""

    text: str
    cpu: int | None


class Wall(BaseModel):
    """All CPUs of a start run, from one moment. Times are Redis' own (Unix time); `expected` is seconds."""

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
    cpus: list[Tile]


class Line(BaseModel):
    """An instruction as this CPU executes it: its line in the program, and whether it is the swapped one."""

    line: int
    text: str
    swapped: bool
    visited: bool


class Moment(BaseModel):
    """The registers after a cycle (with many cycles per pod: after a pod's last)."""

    cycle: int
    pc: str
    acc: str


class Run(BaseModel):
    """A DAG run of this CPU, and the pods it has had."""

    run_id: str
    state: str
    pods: list[str]
    began: float | None
    ended: float | None


class Cpu(BaseModel):
    """One CPU from near."""

    tile: Tile
    program: list[Line]
    history: list[Moment]
    runs: list[Run]
