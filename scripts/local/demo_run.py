"""The demo's start run as Airflow's API shows it: stored, failed, ended, answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from cpu.reference import FACTS
from scripts.airflow_api import AirflowError, Api
from scripts.snapshot import VERDICTS, Snapshot

FAILED_LOG_LINES = 30
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")
"""The states of a task that has ended."""

Answers = dict[str, Any]
"""What ``--json`` prints: ``text`` has the two lines for people; ``part2`` is None if no swap ends it."""


class DemoError(Exception):
    """The run can't be answered; the text says why, with the end of the failed task's log."""


@dataclass
class DemoRun:
    """A run of ``cpu_start`` and the runs of ``cpu`` that it starts."""

    api: Api
    run: str
    """The id of the run of ``cpu_start``."""
    start: str = ""
    """The start run's id, empty until ``is_stored`` has found it."""

    @classmethod
    def trigger(cls, api: Api, conf: dict[str, Any]) -> DemoRun:
        """Trigger ``cpu_start`` with these fields of its form, and the form's defaults."""
        return cls(api, api.trigger("cpu_start", conf)["dag_run_id"])

    def is_stored(self) -> bool:
        """Return whether the program is stored; if it is, the start run's id is known from then on."""
        tasks = {task["task_id"]: task["state"] for task in self.api.tasks("cpu_start", self.run)}
        if tasks.get("store") != "success":
            return False
        self.start = self.api.xcom("cpu_start", self.run, "store")["start"]
        return True

    def has_ended(self) -> bool:
        """Return whether nothing is in progress but the task of ``cpu_start`` that waits for the end."""
        tasks = self.api.tasks("cpu_start", self.run)
        in_progress = {task["task_id"] for task in tasks if task["state"] not in ENDED}
        return in_progress <= {"answers"} and self._count("queued", "running") == 0

    def _count(self, *states: str) -> int:
        """Return how many runs of ``cpu`` are in these states."""
        return self.api.count_runs("cpu", state=list(states), run_id_prefix_pattern=f"{self.start}.cpu-")

    def answers(self, view: Snapshot) -> Answers:
        """Return the answers of a run that has ended; raise DemoError if a part is not answered."""
        found = {verdict: answer for verdict in VERDICTS if (answer := self._answer(verdict, view))}
        if "part1" not in found or len(found) == 1:
            raise DemoError("no DAG run is in progress any more, but not both parts are answered: see the UI")
        answer = found.get("part2") or found["none"]
        return {
            "start": self.start,
            "cpus": len(view.cpus),
            "cycles": view.cycles,
            "text": [found["part1"]["text"], answer["text"]],
            "part1": found["part1"]["result"],
            "part2": found["part2"]["result"] if "part2" in found else None,
        }

    def _answer(self, verdict: str, view: Snapshot) -> dict[str, Any] | None:
        """Return the answer with this verdict, or None if task ``notify`` has not posted it.

        ``text`` is the first line that was posted; ``result`` has the fields of the image's ``run --json``.
        """
        if len(view.cpus) == 1 and verdict == "none":
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
            return None
        return {"text": text.splitlines()[0], "result": {name: read.get(name) for name in FACTS}}

    def retries(self) -> str:
        """Return a note on the tasks that wait for a retry, to end the progress line; "" if none does."""
        waiting = [
            *self.api.tasks("cpu_start", self.run, state="up_for_retry"),
            *(self.api.tasks("cpu", state="up_for_retry") if self.start else []),
        ]
        own = [task for task in waiting if task["dag_run_id"].startswith((self.run, f"{self.start}.cpu-"))]
        if not own:
            return ""
        return f" · {len(own)} tasks wait for a retry, such as {own[0]['task_id']} of {own[0]['dag_run_id']}"

    def raise_if_failed(self) -> None:
        """Raise DemoError with the end of the failed task's log if a DAG run has failed."""
        if self.api.run("cpu_start", self.run)["state"] == "failed":
            raise_failed(self.api, "cpu_start", self.run)
        if self.start and self._count("failed"):
            failed = self.api.runs("cpu", state="failed", run_id_prefix_pattern=f"{self.start}.cpu-")
            raise_failed(self.api, "cpu", failed[0]["dag_run_id"])


def raise_failed(api: Api, dag: str, run: str) -> NoReturn:
    """Raise DemoError for a DAG run that has failed, with the end of the failed task's log."""
    for task in api.tasks(dag, run, state="failed"):
        log = api.log(dag, run, task["task_id"], task["try_number"])
        tail = "\n".join(f"    {line}" for line in log[-FAILED_LOG_LINES:])
        raise DemoError(f"task {task['task_id']} of {dag} run {run} failed; the end of its log:\n{tail}")
    raise DemoError(f"{dag} run {run} failed: see it in the UI")
