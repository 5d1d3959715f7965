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
    """The CPUs of a start run at one moment.

    `cpus`: all of them if `complete`, otherwise those that have changed since the version that was asked
    for. `stored`, `now`, `ended`: Unix time, by Redis' clock. `expected`: seconds from store to end.
    `length`: how many instructions the program has. `count`, `stopped`, `cycles`: of all CPUs. `pods`: tasks
    that wait for a pod now. `pods_created`: pods so far, without those that ran again for the same cycles.
    """

    version: str
    complete: bool
    start: str
    stored: float
    now: float
    ended: float | None
    expected: float | None
    length: int
    cancelled: bool
    part1: Answer | None
    part2: Answer | None
    count: int
    stopped: int
    cycles: int
    pods: int
    pods_created: int
    cpus: list[CpuSnapshot]


class RegistersAfterCycle(BaseModel):
    """The registers after a cycle, or after the last one of a pod that executed several."""

    cycle: int
    pc: str
    acc: str


class DagRunItem(BaseModel):
    """A DAG run of a CPU, when it began and ended (Unix time), and the names of its pods.

    `tries`: of the task that creates the pods; more than 1 if a pod failed or was killed.
    """

    run_id: str
    state: str
    tries: int
    pods: list[str]
    began: float | None
    ended: float | None


class CpuDetails(BaseModel):
    """One CPU: `tile` is what its tile on the wall shows."""

    tile: CpuSnapshot
    program: list[ProgramLine]
    history: list[RegistersAfterCycle]
    runs: list[DagRunItem]


class ItemsRunItem(BaseModel):
    """An items run: its name; its run of DAG `items`, the state of that run, and when it was triggered (Unix
    time).
    """

    items: str
    run_id: str
    state: str
    triggered: float


class ItemsProgress(BaseModel):
    """What Redis has of an items run. Times are Unix time, by Redis' clock; rates are per second.

    `ended`: when the last pod counted its share; `failed`: items that a pod could not solve; `committed`:
    pods whose shares are counted, of `pods`. `items_rate` and `pods_rate`: in the last minute;
    `…_since_plan`: of the whole run. `seconds_left`: an estimate; null if no pod counted its share in the
    last minute. `marks`: (pods, items, time) at up to 201 moments, without those before `first_mark`.
    """

    planned: float
    now: float
    ended: float | None
    total: int
    done: int
    failed: int
    pods: int
    committed: int
    items_rate: float
    pods_rate: float
    items_rate_since_plan: float
    pods_rate_since_plan: float
    seconds_left: float | None
    first_mark: int
    marks: list[tuple[int, int, float]]


class ItemsPods(BaseModel):
    """The pods of an items run as its tasks in Airflow report them, up to five seconds late.

    `running`: created and not finished. `failed`: indices of which all pods have failed. `failed_pods`: their
    numbers in the items run, as `3` or `17-19`, at most 50 of them; `failed_more`: how many are not named.
    """

    running: int
    failed: int
    failed_pods: list[str]
    failed_more: int


class ItemsReport(BaseModel):
    """What task `report` has found: the result of the image's command of that name."""

    status: str
    total: int
    done: int
    lost: int
    doubled: int
    failed: int
    pods: int
    seconds: float
    items_per_second: float
    pods_per_second: float


class ItemsWall(BaseModel):
    """An items run at one moment; its size does not depend on how many items and pods there are.

    `run_id`, `state`: its run of DAG `items`; null if Airflow has none, as for commands by hand. `note`: why
    `progress` is null, as a sentence. `pods`: null if no task reports any.
    """

    items: str
    run_id: str | None
    state: str | None
    note: str
    progress: ItemsProgress | None
    pods: ItemsPods | None
    report: ItemsReport | None


class Rights(BaseModel):
    """What the user may do on the wall: `cancel` start runs, `shoot` pods."""

    cancel: bool
    shoot: bool


class Shot(BaseModel):
    """A request to kill a CPU's pod: an empty object. As it must be JSON, other pages cannot forge it."""


class KilledPod(BaseModel):
    """A pod that was killed, and the first cycle that it was to execute; 0 if it was to load the CPU."""

    pod: str
    cycle: int
