"""``make demo``: from a program to its answers, with everything in between for real."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from cpu import source
from cpu.errors import CpuError, PermanentError, ProgramError, TemporaryError
from cpu.program import parse
from cpu.redis_client import with_retries
from cpu.reference import FACTS
from scripts.airflow_api import AirflowError, Api
from scripts.local.passwords import passwords
from scripts.local.services.airflow import ADMIN
from scripts.local.services.redis import url_for_pods
from scripts.local.settings import Settings
from scripts.snapshot import VERDICTS, NotKeptError, Snapshot, State, take_snapshot

NO_ANSWER = 1
REFUSED = 2
MAX_CYCLES = 10_000
LOOK_SECONDS = 1.0
AIRFLOW_SECONDS = 2.0  # its answers cost more than Redis' do, and it has work to do
PLAIN_SECONDS = 10.0  # between two lines where there is no terminal
FAILED_LOG_LINES = 30
BAR_WIDTH = 24


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


Answers = dict[str, Any]
"""What ``--json`` prints: ``text`` are the two lines for people, ``part2`` is None where no swap ends it."""


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

    def answers(self, view: Snapshot) -> Answers:
        """What has been told of a run that is over; raises DemoError when a part is not answered."""
        told = {verdict: answer for verdict in VERDICTS if (answer := self.answer(verdict, view))}
        if "part1" not in told or len(told) == 1:
            raise DemoError("nothing is under way any more, yet not both parts are answered: see the UI")
        answer = told.get("part2") or told["none"]
        return {
            "start": self.start,
            "cpus": len(self.cpus),
            "cycles": view.cycles,
            "text": [told["part1"]["text"], answer["text"]],
            "part1": told["part1"]["result"],
            "part2": told["part2"]["result"] if "part2" in told else None,
        }

    def answer(self, verdict: str, view: Snapshot) -> dict[str, Any] | None:
        """The first line of what ``notify`` told, once it has: the answer as people get it; and what it has
        told of, in the terms of the image's ``run --json``.
        """
        if len(self.cpus) == 1 and verdict == "none":
            dag, run = "cpu_start", self.run
        elif verdict in view.verdicts:
            last = view.verdicts[verdict]
            dag, run = "cpu", f"{self.start}.cpu-{last.cpu}.cycle-{last.cycle}"
        else:
            return None
        try:
            text: str = self.api.xcom(dag, run, "notify")["text"]
            read = self.api.xcom(dag, run, "read") if dag == "cpu" else {}
        except AirflowError:
            return None  # not yet
        return {"text": text.splitlines()[0], "result": {name: read.get(name) for name in FACTS}}

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
    """How far it is: a bar in a terminal, now and then a plain line elsewhere."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.began = time.monotonic()
        self.spoken = self.began - PLAIN_SECONDS
        self.seen: list[tuple[float, int]] = []
        self.bar = Progress(
            TimeElapsedColumn(),
            BarColumn(BAR_WIDTH),
            # All the room that is left, and another line where that is too little.
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1)),
            expand=True,
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=None)

    def __enter__(self) -> Board:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def rate(self, cycles: int) -> float:
        """Cycles per second over the last half minute."""
        now = time.monotonic()
        self.seen = [*((at, n) for at, n in self.seen if now - at < 30), (now, cycles)]
        since, before = self.seen[0]
        return (cycles - before) / (now - since) if now > since else 0.0

    def count(self, view: Snapshot, trouble: str) -> None:
        """How many CPUs have stopped, and what is to say beside that."""
        self.bar.update(self.task, total=len(view.cpus), completed=view.stopped)
        self.show(f"{describe(view, self.rate(view.cycles))}{trouble}")

    def show(self, line: str) -> None:
        """What is to say, whatever the bar stands at."""
        self.bar.update(self.task, description=line)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.spoken >= PLAIN_SECONDS:
            self.spoken = now
            self.console.print(f"{now - self.began:5.0f} s  {line}", markup=False, soft_wrap=True)


def describe(view: Snapshot, rate: float) -> str:
    """``2 of 5 CPUs stopped · 21 cycles, 1.4 per second · 3 running, 1 looped, 1 ended``"""
    words: dict[State, str] = {
        "running": "running",
        "waiting": "not loaded",
        "loop": "looped",
        "end": "ended",
        "fault": "faulted",
        "stopped": "told to stop",
        "invalid": "invalid",
        "gone": "gone",
    }
    states = ", ".join(f"{view.states[state]} {word}" for state, word in words.items() if view.states[state])
    of = f"{view.stopped} of {len(view.cpus)} CPUs stopped"
    return f"{of} · {view.cycles} cycles, {rate:.1f} per second · {states}"


def look(run: StartRun, url: str) -> Snapshot:
    """Return what Redis has of the run; raises TemporaryError, or DemoError where waiting is no use."""
    try:
        return with_retries(url, lambda client: take_snapshot(client, run.start), retry_seconds=0)
    except (NotKeptError, PermanentError) as error:
        raise DemoError(str(error).replace("REDIS_URL", "--redis-url")) from error


def watch(run: StartRun, redis_url: str) -> Answers:
    """Show the run's progress until nothing of it is under way; return what it has answered."""
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
                    view = look(run, redis_url)
                    board.count(view, trouble)
                    if is_over:
                        return run.answers(view)
            except httpx.TransportError:
                board.show("Airflow's API is away: waiting for it")
            except AirflowError as error:
                board.show(f"Airflow can't tell how it stands: {error}")
            except TemporaryError as error:
                board.show(str(error).replace("REDIS_URL", "--redis-url"))
            time.sleep(max(0.0, now + LOOK_SECONDS - time.monotonic()))


def demo(settings: Settings, program: str | None, cycles: int) -> Answers | None:
    """Run the job on a stack that is up; what it has answered, or None, and standard error says why."""
    secrets = passwords(settings.state)
    with Api(settings.api_url, ADMIN, secrets.admin) as api:
        run = StartRun.trigger(api, program, cycles)
        url = f"{settings.ui_url}/dags/cpu_start/runs/{run.run}"
        print(f"Watch it: {wall_url(settings.ui_url, run.run)}", file=sys.stderr)
        try:
            return {"run": url, **watch(run, url_for_pods(settings, secrets))}
        except DemoError as error:
            print(f"error: {error}", file=sys.stderr)
            return None
        except KeyboardInterrupt:
            print("The run goes on without being watched; make down stops it.", file=sys.stderr)
            raise


def wall_url(airflow: str, run: str) -> str:
    """Return the address of the CPU wall inside of Airflow's UI: behind its route the wall's whole path."""
    path = urlsplit(airflow).path
    return f"{airflow}/plugin/cpu-wall{path}/cpu-wall/?run={quote(run, safe='')}"
