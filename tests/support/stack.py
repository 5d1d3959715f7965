"""What the end-to-end tests ask of a stack."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from cpu import machine
from cpu.keys import Keys
from cpu.memory import InProcessMemory
from cpu.program import Program
from scripts.airflow_api import JSON, Api
from scripts.local.passwords import passwords
from scripts.local.settings import REPOSITORY, Settings
from scripts.waiting import wait_until
from tests.support.slack.posts import Post
from tests.support.slack.server import SlackServer

PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Registers:
    """What a CPU has come to."""

    status: str
    pc: int
    acc: int
    cycle: int
    visited: frozenset[int]


def reference(program: Program, cpu: int) -> Registers:
    """What CPU number ``cpu`` must come to: the same machine in memory."""
    memory = InProcessMemory(program.with_swap(cpu))
    outcome = machine.run(memory)
    pc, acc, cycle = outcome.registers
    visited = frozenset(address for address in range(len(program)) if memory.visited(address))
    return Registers(str(outcome.status), pc, acc, cycle, visited)


@dataclass(frozen=True)
class Stack:
    """A stack that is up, and the Slack it posts to."""

    settings: Settings
    api: Api
    slack: SlackServer
    environment: dict[str, str]
    options: tuple[str, ...] = ()
    """Of `up`."""

    def up(self) -> None:
        """``make up``."""
        self._make("up", *self.options)

    def down(self) -> None:
        """``make down``."""
        self._make("down")

    def _make(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "scripts.local", *arguments]
        subprocess.run(command, cwd=REPOSITORY, env=self.environment, check=True)

    @property
    def redis(self) -> redis.Redis:
        return redis.Redis(port=self.settings.redis_port, password=passwords(self.settings.state).redis)

    def start(self, **conf: Any) -> str:
        """Trigger cpu_start; the DAG run's id."""
        run: str = self.api.trigger("cpu_start", conf)["dag_run_id"]
        return run

    def finish(self, run: str, seconds: float = PATIENCE_SECONDS) -> tuple[str, str]:
        """Wait until nothing of a cpu_start run is under way: its state, and the start run's id."""

        def is_over() -> bool:
            state = self.api.run("cpu_start", run)["state"]
            return state == "failed" or (
                state == "success" and self.count(self.start_id(run), "queued", "running") == 0
            )

        assert wait_until(is_over, seconds), f"run {run} is not over in {seconds:.0f} s"
        state: str = self.api.run("cpu_start", run)["state"]
        return state, self.start_id(run) if state == "success" else ""

    def start_id(self, run: str) -> str:
        """The start run's id, once its program is stored."""
        return str(self.api.xcom("cpu_start", run, "store")["start"])

    def run_again(self, run: str, task: str) -> str:
        """Clear one task of a run of ``cpu``, wait for the run to end, and return the task's state."""
        body = {"dry_run": False, "dag_run_id": run, "task_ids": [task], "only_failed": False}
        self.api.request("POST", "/dags/cpu/clearTaskInstances", json=body)
        over = ("success", "failed")
        assert wait_until(lambda: self.api.run("cpu", run)["state"] in over, PATIENCE_SECONDS)
        return str(next(one["state"] for one in self.api.tasks("cpu", run) if one["task_id"] == task))

    def count(self, start: str, *states: str) -> int:
        return self.api.count_runs("cpu", state=list(states), run_id_prefix_pattern=f"{start}.cpu-")

    def runs(self, start: str) -> list[JSON]:
        return self.api.runs("cpu", run_id_prefix_pattern=f"{start}.cpu-")

    def registers(self, start: str, cpu: int) -> Registers:
        """What Redis holds of a CPU."""
        keys = Keys(start, cpu)
        kept: Any = self.redis.hgetall(keys.registers)
        bitmap: Any = self.redis.get(keys.visited) or b""
        bits = "".join(f"{byte:08b}" for byte in bitmap)
        visited = frozenset(address for address, bit in enumerate(bits) if bit == "1")
        pc, acc, cycle = (int(kept[name]) for name in (b"pc", b"acc", b"cycle"))
        return Registers(kept[b"status"].decode(), pc, acc, cycle, visited)

    def is_loaded(self, start: str, cpu: int) -> bool:
        return bool(self.redis.exists(Keys(start, cpu).registers))

    def answers(self, start: str) -> list[str]:
        """Return the first line of every answer about a start run that was posted to Slack."""
        return [post.shown.splitlines()[0] for post in self.posts(start) if post.is_answer]

    def posts(self, start: str) -> list[Post]:
        """Return every message about a start run that was posted to Slack."""
        return [post for post in list(self.slack.posts) if post.mark and post.mark[0] == start]

    @contextmanager
    def held(self) -> Iterator[None]:
        """No cycle begins meanwhile: DAG cpu is paused."""
        self.api.request("PATCH", "/dags/cpu", json={"is_paused": True})
        try:
            yield
        finally:
            self.api.request("PATCH", "/dags/cpu", json={"is_paused": False})

    def demo(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """``make demo`` as it is called, on this stack."""
        command = [sys.executable, "-m", "scripts.local", "demo", *map(str, arguments)]
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
