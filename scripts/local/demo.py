"""``make demo``: from a program to its answers, with everything in between for real."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import redis
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cpu import source
from cpu.errors import CpuError, ProgramError
from cpu.program import parse
from scripts.local.airflow import ADMIN
from scripts.local.api import AirflowError, Api
from scripts.local.passwords import Passwords, passwords
from scripts.local.settings import Settings
from scripts.observe import VERDICTS, Overview, overview

NO_ANSWER = 1
REFUSED = 2
MAX_CYCLES = 10_000
LOOK_SECONDS = 1.0
AIRFLOW_SECONDS = 2.0  # its answers cost more than Redis' do, and it has work to do
PLAIN_SECONDS = 10.0  # between two lines where there is no terminal
FAILED_LOG_LINES = 30


class Refused(Exception):
    """The program can't be read or is refused; the text names the file, and the line if it is one."""


class DemoError(Exception):
    """The run can't come to its end; the text says why, with the log's tail."""


def read_program(path: str | None) -> str | None:
    """The program's text, or None for the example in the form; raises Refused.

    Looked at before anything is started, by the parser that will look at it again inside its pod.
    """
    if path is None:
        return None
    try:
        text = source.read_file(path)
        parse(text)
    except ProgramError as error:
        raise Refused(f"{path}: {error}") from error
    except CpuError as error:
        raise Refused(str(error)) from error
    return text


@dataclass
class StartRun:
    """One run of ``cpu_start`` and of all the runs of ``cpu`` that come of it, as Airflow tells of them."""

    api: Api
    run: str
    start: str = ""
    cpus: list[int] = field(default_factory=list)

    @classmethod
    def trigger(cls, api: Api, program: str | None, cycles: int) -> StartRun:
        conf: dict[str, Any] = {"cycles": cycles}
        if program is not None:
            conf["program"] = program
        return cls(api, api.trigger("cpu_start", conf)["dag_run_id"])

    def is_stored(self) -> bool:
        """Whether the program is in Redis; from then on the start run's id and its CPUs are known."""
        tasks = {task["task_id"]: task["state"] for task in self.api.tasks("cpu_start", self.run)}
        if tasks.get("store") != "success":
            return False
        stored = self.api.xcom("cpu_start", self.run, "store")
        bits = int(stored["candidates"], 16)
        self.start = stored["start"]
        self.cpus = [0, *(cpu for cpu in range(1, bits.bit_length()) if bits >> cpu & 1)]
        return True

    def count(self, *states: str) -> int:
        """How many runs of ``cpu`` are in these states."""
        return self.api.count_runs("cpu", state=list(states), run_id_prefix_pattern=f"{self.start}.cpu-")

    def is_over(self) -> bool:
        """Whether nothing of it is under way any more."""
        here = self.api.run("cpu_start", self.run)["state"]
        return here not in ("queued", "running") and self.count("queued", "running") == 0

    def answers(self, view: Overview) -> dict[str, str]:
        """What has been told of a run that is over; raises DemoError when a part is not answered."""
        told = {verdict: line for verdict in VERDICTS if (line := self.answer(verdict, view))}
        if "part1" not in told or len(told) == 1:
            raise DemoError("nothing is under way any more, yet not both parts are answered: see the UI")
        return told

    def answer(self, verdict: str, view: Overview) -> str | None:
        """The first line of what ``notify`` told, once it has: the answer as people get it."""
        if len(self.cpus) == 1 and verdict == "none":
            dag, run = "cpu_start", self.run
        elif verdict in view.told:
            dag, run = "cpu", f"{self.start}.cpu-{view.told[verdict].cpu}.cycle-{view.told[verdict].cycle}"
        else:
            return None
        try:
            text: str = self.api.xcom(dag, run, "notify")["text"]
        except AirflowError:
            return None  # not yet
        return text.splitlines()[0]

    def trouble(self) -> str:
        """What has failed and is tried again, as the end of the progress line; empty when all is well."""
        again = [
            *self.api.tasks("cpu_start", self.run, state="up_for_retry"),
            *(self.api.tasks("cpu", state="up_for_retry") if self.start else []),
        ]
        ours = [task for task in again if task["dag_run_id"].startswith((self.run, f"{self.start}.cpu-"))]
        if not ours:
            return ""
        task = ours[0]
        return f" · {len(ours)} failed and tried again, as {task['task_id']} of {task['dag_run_id']}"

    def raise_if_failed(self) -> None:
        """Raise DemoError with the end of the failing task's log, when a run has failed."""
        if self.api.run("cpu_start", self.run)["state"] == "failed":
            self.raise_failed("cpu_start", self.run)
        if self.start and self.count("failed"):
            failed = self.api.runs("cpu", state="failed", run_id_prefix_pattern=f"{self.start}.cpu-")
            self.raise_failed("cpu", failed[0]["dag_run_id"])

    def raise_failed(self, dag: str, run: str) -> None:
        for task in self.api.tasks(dag, run, state="failed"):
            log = self.api.log(dag, run, task["task_id"], task["try_number"])
            tail = "\n".join(f"    {line}" for line in log[-FAILED_LOG_LINES:])
            raise DemoError(f"task {task['task_id']} of {dag} run {run} failed; the end of its log:\n{tail}")
        raise DemoError(f"{dag} run {run} failed: see it in the UI")


class Board:
    """The progress line: live in a terminal, now and then as a plain line elsewhere."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.began = time.monotonic()
        self.spoken = self.began - PLAIN_SECONDS
        self.seen: list[tuple[float, int]] = []
        self.live = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> Board:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def rate(self, cycles: int) -> float:
        """Cycles per second over the last half minute."""
        now = time.monotonic()
        self.seen = [*((at, n) for at, n in self.seen if now - at < 30), (now, cycles)]
        since, before = self.seen[0]
        return (cycles - before) / (now - since) if now > since else 0.0

    def show(self, line: str) -> None:
        seconds = time.monotonic() - self.began
        if self.console.is_terminal:
            self.live.update(Text(f"{seconds:4.0f} s  {line}"), refresh=True)
        elif time.monotonic() - self.spoken >= PLAIN_SECONDS:
            self.spoken = time.monotonic()
            self.console.print(f"{seconds:5.0f} s  {line}", markup=False, soft_wrap=True)


def describe(view: Overview, rate: float) -> str:
    """``5 CPUs: 3 running, 1 looped, 1 ended · 21 cycles, 1.4 per second``"""
    words = {
        "ok": "running",
        "waiting": "not loaded",
        "loop": "looped",
        "end": "ended",
        "fault": "faulted",
        "stopped": "told to stop",
        "invalid": "invalid",
    }
    states = ", ".join(f"{view.states[state]} {word}" for state, word in words.items() if view.states[state])
    return f"{view.states.total()} CPUs: {states} · {view.cycles} cycles, {rate:.1f} per second"


def watch(run: StartRun, client: redis.Redis) -> dict[str, str]:
    """Show the run's progress until nothing of it is under way; return the told line of each verdict."""
    trouble, asked = "", 0.0
    with Board() as board:
        while True:
            now = time.monotonic()
            ask_airflow = now - asked >= AIRFLOW_SECONDS
            try:
                if ask_airflow:
                    asked = now
                    run.raise_if_failed()
                    trouble = run.trouble()
                if not run.start and not (ask_airflow and run.is_stored()):
                    board.show(f"storing the program{trouble}")
                else:
                    is_over = ask_airflow and run.is_over()
                    view = overview(client, run.start, run.cpus)
                    board.show(f"{describe(view, board.rate(view.cycles))}{trouble}")
                    if is_over:
                        return run.answers(view)
            except httpx.TransportError:
                board.show("Airflow's API is away: waiting for it")
            except AirflowError as error:
                board.show(f"Airflow can't tell how it stands: {error}")
            except (redis.ConnectionError, redis.TimeoutError):
                board.show("Redis is away: waiting for it")
            time.sleep(max(0.0, now + LOOK_SECONDS - time.monotonic()))


def demo(settings: Settings, program: str | None, cycles: int) -> int:
    """Run the job on a stack that is up; print the answers; return the exit code."""
    secrets = passwords(settings.state)
    client = redis.from_url(settings.redis_url) if settings.redis_url else local_redis(settings, secrets)
    with Api(settings.api_url, ADMIN, secrets.admin) as api, client:
        run = StartRun.trigger(api, program, cycles)
        print(f"Watch it: {settings.api_url}/dags/cpu_start/runs/{run.run}", file=sys.stderr)
        try:
            answers = watch(run, client)
        except DemoError as error:
            print(f"error: {error}", file=sys.stderr)
            return NO_ANSWER
        except KeyboardInterrupt:
            print("The run goes on without being watched; make down stops it.", file=sys.stderr)
            raise
    print(answers["part1"])
    print(answers.get("part2") or answers["none"])
    return 0 if "part2" in answers else NO_ANSWER


def local_redis(settings: Settings, secrets: Passwords) -> redis.Redis:
    return redis.Redis(port=settings.redis_port, password=secrets.redis)
