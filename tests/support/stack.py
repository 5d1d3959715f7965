"""A whole stack under test: PostgreSQL, Redis, Airflow, Kubernetes; and a Slack that it posts to.

With pytest's option --kubeconfig the pods run on that cluster. It must have the image ``cpu:dev``, or the
image that STACK_IMAGE names, and its pods must reach this machine at the address given by --host-for-pods.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from cpu import machine
from cpu.keys import Keys
from cpu.memory import InProcessMemory
from cpu.program import Program
from scripts.airflow_api import JSON, Api
from scripts.local.passwords import passwords
from scripts.local.ports import free_ports
from scripts.local.services import kubernetes
from scripts.local.services.airflow import ADMIN
from scripts.local.settings import REPOSITORY, Settings, load
from scripts.waiting import wait_until
from tests.support.slack.posts import Post
from tests.support.slack.server import TOKEN, SlackServer

PATIENCE_SECONDS = 600
COMMAND = [sys.executable, "-m", "scripts.local"]


@dataclass(frozen=True)
class Registers:
    """The state of one CPU."""

    status: str
    pc: int
    acc: int
    cycle: int
    visited: frozenset[int]


def reference(program: Program, cpu: int) -> Registers:
    """Return the state in which CPU number ``cpu`` must stop, by running the same machine in memory."""
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
    """The options with which it was brought up."""

    def up(self) -> None:
        """Run ``up`` with the stack's options."""
        subprocess.run([*COMMAND, "up", *self.options], cwd=REPOSITORY, env=self.environment, check=True)

    def down(self) -> None:
        """Run ``down``."""
        subprocess.run([*COMMAND, "down"], cwd=REPOSITORY, env=self.environment, check=True)

    def demo(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run ``demo`` on this stack and return how it ended and what it printed."""
        return subprocess.run(
            [*COMMAND, "demo", *map(str, arguments)],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    @property
    def redis(self) -> redis.Redis:
        return redis.Redis(port=self.settings.redis_port, password=passwords(self.settings.state).redis)

    def start(self, **conf: Any) -> str:
        """Trigger ``cpu_start`` and return the DAG run's id."""
        run: str = self.api.trigger("cpu_start", conf)["dag_run_id"]
        return run

    def wait_until_started(self, run: str) -> str:
        """Wait until all CPUs of a run of ``cpu_start`` are triggered; return the start run's id."""
        has_started = wait_until(
            lambda: self.api.is_success("cpu_start", run, "start_cpus"), PATIENCE_SECONDS
        )
        assert has_started, f"run {run} has not started its CPUs"
        return self.start_id(run)

    def finish(self, run: str, seconds: float = PATIENCE_SECONDS) -> tuple[str, str]:
        """Wait until a run of ``cpu_start`` and all its CPUs' runs have ended.

        Returns the run's state and the start run's id, which is empty unless the state is success.
        """

        def has_ended() -> bool:
            state = self.api.run("cpu_start", run)["state"]
            return state == "failed" or (
                state == "success" and self.count(self.start_id(run), "queued", "running") == 0
            )

        assert wait_until(has_ended, seconds), f"run {run} has not ended in {seconds:.0f} s"
        state: str = self.api.run("cpu_start", run)["state"]
        return state, self.start_id(run) if state == "success" else ""

    def start_id(self, run: str) -> str:
        """Return the start run's id. Raises AirflowError until the program is stored."""
        return str(self.api.xcom("cpu_start", run, "store")["start"])

    def clear_task(self, run: str, task: str) -> str:
        """Clear one task of a run of ``cpu``, wait until the run has ended, and return the task's state."""
        body = {"dry_run": False, "dag_run_id": run, "task_ids": [task], "only_failed": False}
        self.api.request("POST", "/dags/cpu/clearTaskInstances", json=body)
        ended = ("success", "failed")
        assert wait_until(lambda: self.api.run("cpu", run)["state"] in ended, PATIENCE_SECONDS)
        return str(next(one["state"] for one in self.api.tasks("cpu", run) if one["task_id"] == task))

    def count(self, start: str, *states: str) -> int:
        """Return how many runs of ``cpu`` a start run has in these states."""
        return self.api.count_runs("cpu", state=list(states), run_id_prefix_pattern=f"{start}.cpu-")

    def runs(self, start: str) -> list[JSON]:
        """Return all runs of ``cpu`` of a start run."""
        return self.api.runs("cpu", run_id_prefix_pattern=f"{start}.cpu-")

    def registers(self, start: str, cpu: int) -> Registers:
        """Return the state of a CPU as Redis holds it."""
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
    def paused(self, dag: str = "cpu") -> Iterator[None]:
        """Pause a DAG during the block, so that its tasks do not begin: by default no cycle does."""
        self.api.request("PATCH", f"/dags/{dag}", json={"is_paused": True})
        try:
            yield
        finally:
            self.api.request("PATCH", f"/dags/{dag}", json={"is_paused": False})


@contextmanager
def running_stack(state: Path, slack: SlackServer, options: list[str], **variables: str) -> Iterator[Stack]:
    """Bring up a stack in this state folder, on free ports, and stop it at the end of the block.

    ``variables``: environment variables for `up`.
    """
    port, redis_port, kube_port = free_ports(3)
    ports = [f"--port={port}", f"--redis-port={redis_port}", f"--kube-port={kube_port}"]
    connection = {
        "conn_type": "generic",
        "password": TOKEN,
        "extra": {"channel": "C0CPU", "base_url": slack.api},
    }
    own = {"AIRFLOW_CONN_SLACK_CPU": json.dumps(connection), "STACK_DIR": str(state)}
    environment = {**os.environ, **own, **variables}
    try:
        every = [*ports, *options]
        subprocess.run([*COMMAND, "up", *every], cwd=REPOSITORY, env=environment, check=True)
        settings = load(state)
        assert settings is not None
        with Api(settings.api_url, ADMIN, passwords(state).admin) as api:
            yield Stack(settings, api, slack, environment, tuple(every))
        if settings.kubeconfig:
            kubernetes.core_api(settings).delete_namespace(settings.namespace)
    finally:
        subprocess.run([*COMMAND, "down"], cwd=REPOSITORY, env=environment, check=True)


def cluster_options(config: pytest.Config) -> list[str]:
    """Return the stack's options for the cluster of --kubeconfig, with a namespace of its own; or none."""
    if not (kubeconfig := config.getoption("--kubeconfig")):
        return []
    context = config.getoption("--context")
    return [
        f"--kubeconfig={kubeconfig}",
        *([f"--context={context}"] if context else []),
        f"--pods-reach-host-at={config.getoption('--host-for-pods')}",
        f"--namespace=cpu-test-{uuid.uuid4().hex[:8]}",
    ]
