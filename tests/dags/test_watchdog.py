"""Which CPUs the watchdog resumes, and when it surveys again."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    DagRunResult,
    ErrorResponse,
    GetDagRun,
    OKResponse,
    TriggerDagRun,
)

from dags import cpu_watch, dag_runs, settings, watchdog
from dags.dag_runs import Cycle
from dags.outage import Outage

NOW = datetime(2026, 11, 22, 8, 47, 25, tzinfo=UTC)


def cycle(number: int) -> Cycle:
    return Cycle(start="s", cpu=8, cycle=number, cycles=1)


def in_progress(**states: str) -> bool:
    """Return whether CPU 8, whose cycle 4 is due, is in progress if its runs have these states."""
    kept = {name.replace("_", "-"): state for name, state in states.items()}

    def count(run_ids: Sequence[str], wanted: Sequence[str]) -> int:
        names = {run.removeprefix("s.cpu-8.").replace(".", "-") for run in run_ids}
        return sum(1 for name, state in kept.items() if name in names and state in wanted)

    return watchdog.is_in_progress(count, cycle(3), cycle(4))


@pytest.mark.parametrize("state", ["queued", "running"])
def test_cpu_is_in_progress_if_its_due_cycle_has_a_run_in_progress(state: str) -> None:
    assert in_progress(cycle_3="success", cycle_4=state)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_cpu_is_in_progress_if_its_last_cycle_s_run_has_not_ended(state: str) -> None:
    assert in_progress(cycle_3=state)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_cpu_is_in_progress_if_its_due_cycle_was_resumed(state: str) -> None:
    assert in_progress(cycle_3="success", cycle_4="failed", cycle_4_again_1="failed", cycle_4_again_2=state)


@pytest.mark.parametrize("state", ["failed", "success"])
def test_cpu_is_not_in_progress_if_its_runs_have_ended(state: str) -> None:
    assert not in_progress(cycle_3="success", cycle_4=state)
    assert not in_progress(cycle_3=state)


def test_cpu_is_not_in_progress_if_its_runs_were_deleted() -> None:
    assert not in_progress()
    assert not in_progress(cycle_3="success")


def test_run_that_ends_while_counting_has_triggered_the_next() -> None:
    counted: list[Sequence[str]] = []

    def count(run_ids: Sequence[str], wanted: Sequence[str]) -> int:
        counted.append(run_ids)
        return int(len(counted) == 3)

    assert watchdog.is_in_progress(count, cycle(3), cycle(4))


@dataclass
class Airflow:
    """A stand-in for Airflow: runs of ``cpu`` by their id, with their state and end."""

    runs: dict[str, tuple[str, datetime | None]] = field(default_factory=dict)

    def send(self, message: TriggerDagRun | GetDagRun) -> OKResponse | DagRunResult | ErrorResponse:
        known = self.runs.get(message.run_id)
        if isinstance(message, TriggerDagRun):
            if known:
                return ErrorResponse(error=ErrorType.DAGRUN_ALREADY_EXISTS)
            self.runs[message.run_id] = ("queued", None)
            return OKResponse(ok=True)
        if known is None:
            return ErrorResponse(error=ErrorType.API_SERVER_ERROR)
        state, end = known
        return DagRunResult.model_construct(run_id=message.run_id, state=state, end_date=end)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    stand_in = Airflow()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", stand_in, raising=False)
    return stand_in


FIRST = "s.cpu-8.cycle-4"
BEFORE, AFTER = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)


def test_due_cycle_without_runs_gets_its_first_run(airflow: Airflow) -> None:
    assert dag_runs.resume_cycle(cycle(4), NOW) == FIRST
    assert list(airflow.runs) == [FIRST]


@pytest.mark.parametrize("state", ["failed", "success"])
def test_cycle_whose_run_ended_before_it_was_due_gets_another_run(airflow: Airflow, state: str) -> None:
    airflow.runs[FIRST] = (state, BEFORE)
    assert dag_runs.resume_cycle(cycle(4), NOW) == f"{FIRST}.again-1"
    airflow.runs[f"{FIRST}.again-1"] = (state, BEFORE)
    assert dag_runs.resume_cycle(cycle(4), NOW) == f"{FIRST}.again-2"


@pytest.mark.parametrize(
    "latest", [("success", AFTER), ("failed", AFTER), ("queued", None), ("running", BEFORE)]
)
def test_cycle_whose_run_is_in_progress_or_ended_later_gets_no_further_run(
    airflow: Airflow, latest: tuple[str, datetime | None]
) -> None:
    airflow.runs = {FIRST: ("failed", BEFORE), f"{FIRST}.again-1": latest}
    assert dag_runs.resume_cycle(cycle(4), NOW) == ""
    assert len(airflow.runs) == 2


def test_cycle_whose_runs_have_all_failed_is_stuck_and_named(airflow: Airflow) -> None:
    for _ in range(dag_runs.MAX_RESUMES + 1):
        airflow.runs[dag_runs.resume_cycle(cycle(4), NOW)] = ("failed", BEFORE)
    with pytest.raises(
        dag_runs.CyclesStuck, match=rf"6 or more of each: {FIRST} \(read the logs of their failed tasks"
    ):
        dag_runs.resume_cycle(cycle(4), NOW)


def test_stuck_cycle_is_tried_again_at_ever_longer_intervals_for_as_long_as_redis_keeps_it(
    airflow: Airflow,
) -> None:
    now, triggered = NOW, []
    while now < NOW + timedelta(seconds=settings.TTL_SECONDS):
        with suppress(dag_runs.CyclesStuck):
            run = dag_runs.resume_cycle(cycle(4), now)
            airflow.runs[run] = ("failed", now)
            triggered.append(now)
        now += timedelta(seconds=settings.WATCH_SECONDS)
    pauses = [(b - a).total_seconds() for a, b in pairwise(triggered[dag_runs.MAX_RESUMES :])]
    assert len(triggered) < 20
    assert all(later > earlier for earlier, later in pairwise(pauses))
    assert 2 * sum(pauses) > settings.TTL_SECONDS - settings.WATCH_SECONDS * dag_runs.MAX_RESUMES


def resume(
    airflow: Airflow,
    monkeypatch: pytest.MonkeyPatch,
    at: datetime,
    due: int,
    lost: Sequence[int] = (),
    **params: Any,
) -> tuple[list[str], list[str]]:
    """Run task `resume` for CPU 8; return the resumed runs, or its error and what is stuck."""
    xcoms: dict[str, Any] = {}

    def get_dr_count(dag_id: str, run_ids: Sequence[str], states: Sequence[str] | None = None) -> int:
        kept = [airflow.runs[run] for run in run_ids if run in airflow.runs]
        return sum(1 for state, _ in kept if states is None or state in states)

    found = {"status": "running", "cycles": 1, "due": [[8, due - 1, due]], "answers": [], "more": None}
    found |= {"lost": list(lost)} if lost else {}
    ti = SimpleNamespace(
        xcom_pull=lambda **_: found,
        xcom_push=lambda key, value: xcoms.update({key: value}),
        get_dr_count=get_dr_count,
    )
    params = {"start": "s", "cpu": 0, "cycles": None, "outage": {}, **params}
    context = {"ti": ti, "params": params, "dag_run": SimpleNamespace(run_after=at)}
    monkeypatch.setattr(cpu_watch, "get_current_context", lambda: context)
    task: Any = cpu_watch.dag.get_task("resume")
    try:
        return task.python_callable(), []
    except AirflowFailException as error:
        return [str(error)], xcoms["stuck"]


def test_stuck_cycle_stays_stuck_until_its_cpu_has_executed_it(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only until it is tried once more: each time, people would get a message."""
    for run in dag_runs.run_ids(cycle(4))[: dag_runs.MAX_RESUMES + 1]:
        airflow.runs[run] = ("failed", BEFORE)
    outage = Outage().after_failure("r", NOW, surveyed=True).to_conf()
    assert resume(airflow, monkeypatch, NOW, 4)[1] == [FIRST]
    later = NOW + timedelta(days=1)
    assert resume(airflow, monkeypatch, later, 4, **outage)[1] == [FIRST]
    [*_, latest] = airflow.runs
    assert (latest, airflow.runs[latest][0]) == (dag_runs.slow_run_ids(cycle(4))[0], "queued")
    assert resume(airflow, monkeypatch, later, 4, **outage)[1] == [FIRST]
    airflow.runs |= {latest: ("success", later), "s.cpu-8.cycle-5": ("running", None)}
    assert resume(airflow, monkeypatch, later, 5, **outage) == ([], [])


def test_cpu_whose_registers_are_lost_is_named_and_the_others_are_resumed(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    [cause], named = resume(airflow, monkeypatch, NOW, 4, lost=[3, 5])
    assert "Redis has lost registers of s.cpu-3, s.cpu-5 (start the program again" in cause
    assert named == ["s.cpu-3", "s.cpu-5"]
    assert list(airflow.runs) == [FIRST]


def test_slow_resumes_last_as_long_as_redis_keeps_a_start_run_at_any_survey_interval() -> None:
    shortest_interval = 10
    assert shortest_interval * 2**dag_runs.MAX_SLOW_RESUMES > settings.TTL_SECONDS


def test_run_whose_state_airflow_does_not_give_fails_the_try(airflow: Airflow) -> None:
    with pytest.raises(RuntimeError, match=FIRST):
        dag_runs.has_ended(FIRST, NOW)


@pytest.fixture
def triggered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, datetime]]:
    """The runs of cpu_watch that were triggered, with their times."""
    runs: list[tuple[str, datetime]] = []

    def trigger_run(dag: str, run: str, conf: dict[str, object], run_after: datetime) -> bool:
        runs.append((run, run_after))
        return True

    monkeypatch.setattr(dag_runs, "trigger_run", trigger_run)
    return runs


def test_surveys_are_at_fixed_times_so_that_two_triggers_give_one_run(
    triggered: list[tuple[str, datetime]],
) -> None:
    first = dag_runs.trigger_survey("s", NOW)
    assert dag_runs.trigger_survey("s", NOW + timedelta(seconds=20)) == first == "s.watch-20261122-085000"
    assert {at for _, at in triggered} == {datetime(2026, 11, 22, 8, 50, tzinfo=UTC)}


def test_next_survey_is_one_period_later(triggered: list[tuple[str, datetime]]) -> None:
    dag_runs.trigger_survey("s", NOW)
    [(_, at)] = triggered
    dag_runs.trigger_survey("s", at)
    assert triggered[1] == ("s.watch-20261122-085500", at + timedelta(seconds=settings.WATCH_SECONDS))


def test_rest_of_a_round_follows_at_once(triggered: list[tuple[str, datetime]]) -> None:
    dag_runs.trigger_survey("s", NOW)
    [(_, at)] = triggered
    assert dag_runs.trigger_survey("s", at, cpu=151) == "s.watch-20261122-085000.cpu-151"
    assert triggered[1][1] == at


@pytest.mark.parametrize(
    ("asked", "kept", "cycles"),
    [(None, 100, 100), (7, 100, 7), (None, None, 1)],
    ids=["of the start run", "of this run of the watchdog", "of an image that reports none"],
)
def test_resumed_cpu_has_the_cycles_per_pod_of_its_start_run_unless_the_watchdog_is_given_others(
    asked: int | None, kept: int | None, cycles: int
) -> None:
    found = {"status": "running"} | ({"cycles": kept} if kept else {})
    assert watchdog.cycle_of({"start": "s", "cycles": asked}, found, 8, 4) == {
        "start": "s", "cpu": 8, "cycle": 4, "cycles": cycles,
    }  # fmt: skip


def test_watchdog_triggered_by_hand_needs_only_the_name_of_the_start_run() -> None:
    params = copy.deepcopy(cpu_watch.dag.params)
    params["start"] = "s"
    assert params.validate() == {"start": "s", "cycles": None, "cpu": 0, "outage": {}}
