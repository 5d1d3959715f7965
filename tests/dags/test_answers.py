"""How triggers wait for answers together; tests/dags/database has the task with Airflow's database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from dags import answers, watchdog
from dags.answers import AnswersTrigger, Poll, answer_extras


class Runs:
    """Stands in for Airflow: the states of task ``collect`` by run, and the requests that asked for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.states: dict[str, str] = {}
        self.requests: list[list[str]] = []
        self.is_away = False
        monkeypatch.setattr(answers, "POLL_SECONDS", 0.01)
        monkeypatch.setattr(answers, "_ended", self.ended)

    def ended(self, dag_id: str, runs: list[str]) -> dict[str, str]:
        self.requests.append(runs)
        if self.is_away:
            raise ConnectionError("Airflow is away")
        return {run: self.states[run] for run in runs if run in self.states}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; the requests come from another thread."""
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def until_asked(self, *latest: list[str]) -> None:
        """Wait until the latest requests, of two or more from now on, name these runs."""
        before = len(self.requests)
        await self.until(
            lambda: len(self.requests) > before + 1 and self.requests[-len(latest) :] == list(latest)
        )


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(monkeypatch)


async def test_hundreds_that_wait_ask_by_one_request(runs: Runs) -> None:
    poll, names = Poll("cpu_answers"), [f"s-{number:03}.answers" for number in range(400)]
    waiting = [asyncio.create_task(poll.wait(name)) for name in names]
    await runs.until_asked(names)
    runs.states[names[7]] = "success"
    assert await waiting[7] == "success"
    await runs.until_asked([name for name in names if name != names[7]])
    assert not any(task.done() for number, task in enumerate(waiting) if number != 7)
    runs.states.update(dict.fromkeys(names, "failed"))
    assert set(await asyncio.gather(*waiting)) == {"success", "failed"}


async def test_requests_name_no_more_runs_than_an_address_has_room_for(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "BATCH", 3)
    poll = Poll("cpu_answers")
    waiting = [asyncio.create_task(poll.wait(f"s-{number}")) for number in range(7)]
    await runs.until_asked(["s-0", "s-1", "s-2"], ["s-3", "s-4", "s-5"], ["s-6"])
    runs.states.update({f"s-{number}": "success" for number in range(7)})
    assert await asyncio.gather(*waiting) == ["success"] * 7


async def test_whoever_waits_goes_on_waiting_while_airflow_does_not_answer(runs: Runs) -> None:
    waiting = asyncio.create_task(Poll("cpu_answers").wait("s.answers"))
    runs.is_away = True
    await runs.until_asked(["s.answers"])
    runs.is_away, runs.states["s.answers"] = False, "success"
    assert await waiting == "success"


async def test_cleared_task_is_waited_for_again(runs: Runs) -> None:
    poll = Poll("cpu_answers")
    runs.states["s.answers"] = "failed"
    assert await poll.wait("s.answers") == "failed"
    del runs.states["s.answers"]
    waiting = asyncio.create_task(poll.wait("s.answers"))
    await runs.until_asked(["s.answers"])
    assert not waiting.done()
    runs.states["s.answers"] = "success"
    assert await waiting == "success"


async def test_run_is_asked_for_while_anybody_waits_for_it(runs: Runs) -> None:
    poll = Poll("cpu_answers")
    first, second = (asyncio.create_task(poll.wait("s.answers")) for _ in range(2))
    await runs.until_asked(["s.answers"])
    first.cancel()
    await runs.until_asked(["s.answers"])
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    other = asyncio.create_task(poll.wait("t.answers"))
    await runs.until_asked(["t.answers"])
    other.cancel()


async def test_trigger_is_made_again_from_what_airflow_keeps_of_it(runs: Runs) -> None:
    path, arguments = AnswersTrigger("cpu_answers", "s.answers").serialize()
    assert path == "dags.answers.AnswersTrigger"
    runs.states["s.answers"] = "success"
    [event] = [event async for event in AnswersTrigger(**arguments).run()]
    assert event.payload == "success"


def test_event_of_an_answer_without_a_number_has_none() -> None:
    found: dict[str, Any] = {"start": "s", "parts": [2], "part2": None}
    assert answer_extras(found) == [{"start": "s", "part": 2, "status": None, "acc": None, "swap": None}]


RUNNING: dict[str, Any] = {"status": "running", "due": [], "lost": [3], "answers": [], "more": None}


@pytest.mark.parametrize(
    ("found", "first", "expected"),
    [
        ({"status": "over", "due": [], "answers": [[0, 3]], "more": None}, 0, True),
        ({**RUNNING, "due": [[8, 3, 4]], "lost": []}, 0, False),
        (RUNNING, 0, True),
        ({**RUNNING, "due": [[8, 3, 4]]}, 0, False),
        ({**RUNNING, "more": 151}, 0, False),
        (RUNNING, 151, False),
    ],
    ids=["over", "running", "lost", "lost and running", "first CPUs lost", "last CPUs lost"],
)
def test_start_run_stands_still_if_no_cpu_has_a_cycle_due(
    found: dict[str, Any], first: int, expected: bool
) -> None:
    assert watchdog.stands_still(found, first) is expected
