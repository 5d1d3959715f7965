"""Random orders of events: pods that end, fail or go, changes by people, schedulers that die."""

from __future__ import annotations

import random
import secrets
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from tests.dags.pods.database import airflow
from tests.dags.pods.database.airflow import row, states, xcoms
from tests.dags.pods.database.world import World, succeeded
from tests.support.airflow_database import create_run
from tests.support.kubernetes_api import finished, terminated
from tests.support.nodeless import RUNNING

MAX_RUNS = 12
"""More runs at once only make the scheduler slower."""
RESULTS: list[dict[str, Any]] = [
    {"step": "left"},
    {"step": "right", "run": True},
    {"step": "left", "run": True},
    {"step": "left", "run": True, "dag": "no-such-dag"},
    {"step": "nowhere"},
    {"step": None},
]
PLAIN = RESULTS[:3]
FAILURES: list[tuple[dict[str, Any], str]] = [
    (finished(main=terminated("broken", 1)) | {"phase": "Failed"}, "exit code 1"),
    (finished(main=terminated("wrong", 2)) | {"phase": "Failed"}, "exit code 2"),
    ({"phase": "Failed", "reason": "Evicted", "message": "no room"}, "Evicted"),
    (succeeded({"step": 1e999}), "ended well but left"),
]
CHANGES: list[tuple[str, Callable[[Any, Any], None]]] = [
    ("cleared", airflow.clear),
    ("success", airflow.marked("success")),
    ("failed", airflow.marked("failed")),
    ("deleted", airflow.delete_run),
]


def state(run: str) -> str | None:
    """Return the state of a run's pod; None without the run."""
    return states(run).get("pod")


class Walk:
    """A random walk through the world, and what it has done to each run."""

    def __init__(self, world: World, choose: random.Random) -> None:
        self.world = world
        self.choose = choose
        self.steps: list[str] = []
        self.results: defaultdict[str, list[Any]] = defaultdict(list)  # by number, those that pods have left
        self.faults: defaultdict[str, list[str]] = defaultdict(list)  # by number, of pods
        self.marks: dict[str, str] = {}  # by number, the last change by people
        self.cleared: set[str] = set()
        self.skips: set[str] = set()
        self.lost: set[str] = set()
        """The pods that may be left: people changed their tasks while no scheduler had these tasks."""

    def step(self) -> None:
        """Do something at random."""
        self.lost -= self.world.waited_for()
        events = [self.start_run, self.start_run, self.pod_event, self.pod_event, self.pod_event, self.change]
        self.choose.choice([*events, self.schedule, self.schedule, self.schedule])()
        if self.choose.random() < 0.02:
            self.restart()

    def restart(self) -> None:
        self.steps.append("restart")
        not_begun = {run.replace("run", "pod") for run in self.world.runs_in_hand()} - self.world.waited_for()
        self.world.restart()
        # The next scheduler takes over only those tasks in progress that people have not changed.
        self.lost |= {pod for pod in not_begun if state(pod.replace("pod", "run")) != "queued"}

    def schedule(self) -> None:
        self.world.scheduler.step()

    def start_run(self) -> None:
        if len(airflow.runs("pods")) >= MAX_RUNS:
            return
        number = str(len(airflow.runs("pods")) + len(self.steps) * 1000)
        skip = self.choose.choice(["", "", "", "left", "nowhere"])
        if skip:
            self.skips.add(number)
        if self.choose.random() < 0.2:
            create_run("after", f"after-{number}", {"n": 0})
        self.steps.append(f"run {number} {skip}")
        self.world.run(int(number), skip=skip)

    def pod_event(self) -> None:
        pods = [name for name, pod in self.world.pods().items() if pod["status"]["phase"] == "Pending"]
        pods += [name for name, pod in self.world.pods().items() if pod["status"]["phase"] == "Running"]
        if not pods:
            return
        name = self.choose.choice(pods)
        number = name.removeprefix("pod-")
        event = self.choose.choice(["runs", "succeeds", "succeeds", "fails", "is deleted"])
        self.steps.append(f"{name} {event}")
        try:
            if event == "runs":
                self.world.report(name, RUNNING)
            elif event == "succeeds":
                self.results[number].append(self.choose.choice(RESULTS))
                self.world.report(name, succeeded(self.results[number][-1]))
            elif event == "fails":
                status, message = self.choose.choice(FAILURES)
                self.faults[number].append(message)
                self.world.report(name, status)
            else:
                self.faults[number].append("was deleted before it")
                self.world.delete(name)
        except KeyError:  # deleted meanwhile
            self.steps[-1] += ", but is gone"

    def change(self) -> None:
        runs = airflow.runs("pods")
        if not runs:
            return
        run = self.choose.choice(runs)
        mark, how = self.choose.choice(CHANGES)
        self.steps.append(f"{run} {mark}")
        before = state(run)
        is_in_hand = run in self.world.runs_in_hand() and not (mark == "deleted" and before == "queued")
        if before not in ("success", "failed") and not is_in_hand:
            self.lost.add(run.replace("run", "pod"))
        airflow.change(run, how)
        self.marks[run.removeprefix("run-")] = mark
        if mark == "cleared":
            self.cleared.add(run.removeprefix("run-"))

    def is_settled(self) -> bool:
        """Return whether nothing is left to do but to wait for pods."""
        pods, running = self.world.pods(), self.world.executor.running
        unfinished = {name for name, pod in pods.items() if pod["status"]["phase"] in ("Pending", "Running")}
        waited_for = self.world.waited_for()
        busy = ("scheduled", "restarting", "up_for_retry", None)
        rows = [row(run) for run in airflow.runs("pods")]
        return (
            waited_for <= unfinished <= waited_for | self.lost
            and len(running) == len(waited_for)
            and not any(one.state in busy or (one.state == "queued" and one.executor) for one in rows)
        )

    def check(self) -> None:
        """Check that each task is as Airflow with workers would have left it."""
        waited_for = self.world.waited_for()
        runs = airflow.runs("pods")
        for run in runs:
            number = run.removeprefix("run-")
            self.check_run(run, number, row(run), f"pod-{number}" in waited_for)
        for name, pod in self.world.pods().items():
            assert name in waited_for | self.lost or pod["status"] in [status for status, _ in FAILURES], (
                f"{name} is left"
            )

    def check_run(self, run: str, number: str, task: Any, is_waiting: bool) -> None:
        mark, left = self.marks.get(number), xcoms(run)
        if is_waiting:
            assert task.state == "running"
        elif task.state == "failed":
            assert mark == "failed"
        elif task.state == "success" and "skipmixin_key" in left:
            step = "left"
            if number not in self.skips:
                result = left["return_value"]
                assert result in self.results[number]
                assert result in PLAIN
                step = result["step"]
                assert not result.get("run") or f"after-{number}" in airflow.runs("after")
            assert left["skipmixin_key"] == {"followed": [step]}
            other = states(run)[{"left": "right", "right": "left"}[step]]
            # Both branches ran if people had marked the task as a success, without a branch.
            assert other in ("skipped", None) or number in self.marks
        elif task.state == "success":
            assert mark == "success"
        elif (task.state, task.executor, task.next_method) == ("queued", None, None):
            # Cleared when a worker had it already: Airflow keeps the executor of a task that is cleared.
            assert number in self.cleared
        else:
            handed = (task.state, task.executor, task.next_method)
            assert handed == ("queued", None, "resume"), f"{run} is {handed}"
            event = task.next_kwargs["event"]
            if "error" in event:
                assert any(message in event["error"] for message in self.faults[number]), event
                assert event["refused"] == any(one in event["error"] for one in ("code 2", "ended well"))
            elif "skip_to" in event:
                assert event == {"skip_to": "nowhere"}
            else:
                assert event["result"] in self.results[number]
                exists = f"after-{number}" in airflow.runs("after")
                assert event["result"] not in PLAIN or (event["result"].get("run") and exists)


def test_every_task_ends_as_with_a_worker_in_any_order_of_events(
    world: World, request: pytest.FixtureRequest
) -> None:
    given = request.config.getoption("--seed")
    seed = secrets.randbits(32) if given is None else given
    walk = Walk(world, random.Random(seed))
    try:
        for _ in range(300):
            walk.step()
        world.until(walk.is_settled, "the walk is settled")
        walk.check()
    except Exception as error:
        raise AssertionError(f"with --seed {seed}: {error}; steps: {'; '.join(walk.steps)}") from error
