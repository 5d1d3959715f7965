"""A scheduler with `PodExecutor`, and the project's endpoint, on which tests decide what becomes of pods."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from airflow.models.taskinstancekey import TaskInstanceKey

from airflow_pods.executor import PodExecutor
from tests.dags.pods.database.airflow import Scheduler
from tests.support.airflow_database import create_run
from tests.support.kubernetes_api import finished, terminated
from tests.support.nodeless import InThread

SETTLE_SECONDS = 20


def succeeded(result: dict[str, Any]) -> dict[str, Any]:
    return finished(main=terminated(json.dumps(result)))


class World:
    """A scheduler with `PodExecutor`, and the endpoint."""

    def __init__(self, endpoint: InThread) -> None:
        self.endpoint = endpoint
        self.start()

    def start(self) -> None:
        """Start a scheduler, which takes over what an earlier one has left."""
        self.executor = PodExecutor()
        self.executor.start()
        self.scheduler = Scheduler(self.executor)
        self.scheduler.adopt()

    def restart(self) -> None:
        """Let the scheduler die, and start another one."""
        self.stop()
        self.start()

    def stop(self) -> None:
        self.executor.end()
        self.scheduler.die()

    def pods(self) -> dict[str, Any]:
        return self.endpoint.call(self.endpoint.endpoint.pods)

    def report(self, name: str, status: dict[str, Any]) -> None:
        self.endpoint.call(self.endpoint.endpoint.report, name, status)

    def delete(self, name: str) -> None:
        self.endpoint.call(self.endpoint.endpoint.delete, name)

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Step the scheduler until the condition holds."""
        end = time.monotonic() + SETTLE_SECONDS
        while not condition():
            assert time.monotonic() < end, f"{what or condition} within {SETTLE_SECONDS} s"
            self.scheduler.step()

    def run(self, number: int, **conf: Any) -> str:
        """Start a run; return its id."""
        create_run("pods", f"run-{number}", {"n": number, **conf})
        return f"run-{number}"

    def waited_for(self) -> set[str]:
        """Return the names of the pods that tasks in progress wait for."""
        jobs = list(self.executor._jobs.values())
        return {job.begun.pod.name for job in jobs if job.begun}

    def runs_in_hand(self) -> set[str]:
        """Return the runs whose tasks the executor has, begun or not."""
        keys = [*self.executor.queued_tasks, *self.executor.running]
        return {key.run_id for key in keys if isinstance(key, TaskInstanceKey)}
