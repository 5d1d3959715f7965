"""How a run of DAG ``cpu_start`` waits for the answers of its start run, and ends with them.

Nothing waits in a worker or in a pod: the task is deferred, and a trigger looks for the end of a task whose
DAG run has a fixed name, ``collect`` of DAG ``cpu_answers``. All triggers of a process look together, by one
request to Airflow.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, BaseOperator
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_pods import REASON_KEY
from dags.dag_runs import answers_run

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

ANSWER = {1: Asset("cpu_answer_part_1"), 2: Asset("cpu_answer_part_2")}
"""By part, what gets an event for each answer, with start run, part, accumulator and swap in its `extra`.

One for each part: of two events of one asset that come at once, Airflow keeps the second for the next run.
"""
ANSWERS = AssetAlias("cpu_answers")
"""The outlet of the task, so that it emits an event only for the parts that were asked."""
COLLECT = "collect"
"""The task of DAG ``cpu_answers`` whose XCom holds the answers."""
ENDED = {"success", "failed", "upstream_failed", "skipped", "removed"}
POLL_SECONDS = 2.0
"""The time between two requests to Airflow."""
BATCH = 500
"""How many DAG runs one request names: the address of a request is limited to 64 KiB."""


class AnswersOperator(BaseOperator):
    """Waits for the answers of the start run that task ``store`` has stored; they are the task's XCom.

    It fails, with the reason, if a part has no answer and gets none. The XCom then holds the other one.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(outlets=[ANSWERS], **kwargs)

    def execute(self, context: Context) -> None:
        """Defer to the triggerer until the answers are collected."""
        run = answers_run(_start(context))
        self.log.info("Waiting for task %s of run %s of DAG %s", COLLECT, run.run_id, run.dag_id)
        self.defer(trigger=AnswersTrigger(run.dag_id, run.run_id), method_name="resume")

    def resume(self, context: Context, event: str) -> dict[str, Any]:
        """Return the answers, and emit an event for each; `event` is the state of the task that has ended."""
        ti, run = context["ti"], answers_run(_start(context))
        found = ti.xcom_pull(COLLECT, dag_id=run.dag_id, run_id=run.run_id)
        if found is None:
            cause = ti.xcom_pull(COLLECT, dag_id=run.dag_id, run_id=run.run_id, key=REASON_KEY)
            why = cause or f"see run {run.run_id} of DAG {run.dag_id}"
            return self._fail(context, f"task {COLLECT} is {event}: {why}")
        self.log.info("%s", found["sentence"])
        if found["status"] != "answered":
            ti.xcom_push(key="return_value", value=found)
            return self._fail(context, found["sentence"])
        events = context["outlet_events"][ANSWERS]
        for extra in answer_extras(found):
            events.add(ANSWER[extra["part"]], extra)
        answers: dict[str, Any] = found
        return answers

    def _fail(self, context: Context, reason: str) -> dict[str, Any]:
        context["ti"].xcom_push(key=REASON_KEY, value=reason)
        raise AirflowFailException(reason)


def answer_extras(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the `extra` of an asset event for each part that was asked.

    Without an answer in numbers (no swap ends the program), ``status``, ``acc`` and ``swap`` are None.
    """
    extras = []
    for part in found["parts"]:
        answer = found[f"part{part}"] or {}
        facts = {name: answer.get(name) for name in ("status", "acc", "swap")}
        extras.append({"start": found["start"], "part": part, **facts})
    return extras


def _start(context: Context) -> str:
    return str(context["ti"].xcom_pull(task_ids="store")["start"])


# ------------------------------------------------------------------------------------- in the triggerer


class AnswersTrigger(BaseTrigger):
    """Waits until the answers are collected; its one event is the state of the task that collects them."""

    def __init__(self, dag_id: str, run_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dag_id = dag_id
        self.run_id = run_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments that make this trigger again."""
        arguments = {"dag_id": self.dag_id, "run_id": self.run_id}
        return f"{AnswersTrigger.__module__}.{AnswersTrigger.__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the state of the task when it has ended."""
        yield TriggerEvent(await _poll(self.dag_id).wait(self.run_id))  # type: ignore[no-untyped-call]


class Poll:
    """Asks for the states of the tasks that all triggers of this process wait for, by one request."""

    def __init__(self, dag_id: str) -> None:
        self._dag_id = dag_id
        self._waiting: Counter[str] = Counter()
        self._states: dict[str, str] = {}
        self._asked = float("-inf")

    async def wait(self, run: str) -> str:
        """Return the state of task COLLECT of this run, as soon as it has ended."""
        self._waiting[run] += 1
        self._states.pop(run, None)  # what was seen earlier: people may have cleared the task since
        try:
            while run not in self._states:
                if time.monotonic() - self._asked >= POLL_SECONDS:
                    await self._ask()
                else:
                    await asyncio.sleep(POLL_SECONDS)
            return self._states[run]
        finally:
            self._waiting[run] -= 1

    async def _ask(self) -> None:
        """Get the states. While Airflow does not answer, the next round asks again."""
        self._asked = time.monotonic()
        self._waiting = +self._waiting
        runs = sorted(self._waiting)
        states: dict[str, str] = {}
        try:
            for first in range(0, len(runs), BATCH):
                states |= await asyncio.to_thread(_ended, self._dag_id, runs[first : first + BATCH])
        except Exception as error:
            log.warning("Airflow does not say which runs have ended, asking again: %s", error)
        self._states = states


_POLLS: dict[str, Poll] = {}


def _poll(dag_id: str) -> Poll:
    return _POLLS.setdefault(dag_id, Poll(dag_id))


def _ended(dag_id: str, runs: list[str]) -> dict[str, str]:
    """Return the state of task COLLECT of those runs in which it has ended."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(dag_id, task_ids=[COLLECT], run_ids=runs)
    return {run: tasks[COLLECT] for run, tasks in states.items() if tasks.get(COLLECT) in ENDED}
