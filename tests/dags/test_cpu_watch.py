"""Who is looked after, and when it is looked again."""

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

from dags import cpu_watch, dag_runs, settings
from dags.dag_runs import Cycle
from dags.outage import Outage

NOW = datetime(2026, 11, 22, 8, 47, 25, tzinfo=UTC)


def cycle(number: int) -> Cycle:
    return Cycle(start="s", cpu=8, cycle=number, cycles=1)


def looked_after(**states: str) -> bool:
    """Whether CPU 8 is, whose latest pod was asked for cycle 3; by the states of its runs."""
    kept = {name.replace("_", "-"): state for name, state in states.items()}

    def count(run_ids: Sequence[str], wanted: Sequence[str]) -> int:
        names = {run.removeprefix("s.cpu-8.").replace(".", "-") for run in run_ids}
        return sum(1 for name, state in kept.items() if name in names and state in wanted)

    return cpu_watch.is_looked_after(count, cycle(3), cycle(4))


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_cpu_whose_due_cycle_has_a_run_is_looked_after(state: str) -> None:
    assert looked_after(cycle_3="success", cycle_4=state)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_so_is_one_whose_last_cycle_s_run_is_still_in_progress(state: str) -> None:
    assert looked_after(cycle_3=state)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_so_is_one_that_is_gone_on_with_already(state: str) -> None:
    assert looked_after(cycle_3="success", cycle_4="failed", cycle_4_again_1="failed", cycle_4_again_2=state)


@pytest.mark.parametrize("state", ["failed", "success"])
def test_one_whose_run_has_ended_is_not(state: str) -> None:
    assert not looked_after(cycle_3="success", cycle_4=state)
    assert not looked_after(cycle_3=state)


def test_nor_is_one_whose_runs_are_gone() -> None:
    assert not looked_after()
    assert not looked_after(cycle_3="success")


def test_a_run_that_ends_between_two_looks_has_triggered_the_next() -> None:
    looks: list[Sequence[str]] = []

    def count(run_ids: Sequence[str], wanted: Sequence[str]) -> int:
        looks.append(run_ids)
        return int(len(looks) == 3)

    assert cpu_watch.is_looked_after(count, cycle(3), cycle(4))


@dataclass
class Airflow:
    """Runs of ``cpu`` by their id: their state, and when they ended."""

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
    pretended = Airflow()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", pretended, raising=False)
    return pretended


OWN = "s.cpu-8.cycle-4"
BEFORE, AFTER = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)


def test_a_due_cycle_has_its_own_run_first(airflow: Airflow) -> None:
    assert dag_runs.go_on(cycle(4), NOW) == OWN
    assert list(airflow.runs) == [OWN]


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_run_that_ended_before_the_cycle_was_due_is_followed_by_another(
    airflow: Airflow, state: str
) -> None:
    airflow.runs[OWN] = (state, BEFORE)
    assert dag_runs.go_on(cycle(4), NOW) == f"{OWN}.again-1"
    airflow.runs[f"{OWN}.again-1"] = (state, BEFORE)
    assert dag_runs.go_on(cycle(4), NOW) == f"{OWN}.again-2"


@pytest.mark.parametrize(
    "latest", [("success", AFTER), ("failed", AFTER), ("queued", None), ("running", BEFORE)]
)
def test_one_in_progress_or_that_ended_later_sees_to_the_cycle(
    airflow: Airflow, latest: tuple[str, datetime | None]
) -> None:
    airflow.runs = {OWN: ("failed", BEFORE), f"{OWN}.again-1": latest}
    assert dag_runs.go_on(cycle(4), NOW) == ""
    assert len(airflow.runs) == 2


def test_a_cycle_whose_every_run_came_to_nothing_is_given_up_and_named(airflow: Airflow) -> None:
    for _ in range(dag_runs.AGAIN + 1):
        airflow.runs[dag_runs.go_on(cycle(4), NOW)] = ("failed", BEFORE)
    with pytest.raises(dag_runs.GivenUp, match=rf"6 or more of each: {OWN} \(see what their logs say"):
        dag_runs.go_on(cycle(4), NOW)


def test_a_cycle_that_was_given_up_is_tried_again_ever_less_often_for_as_long_as_redis_keeps_it(
    airflow: Airflow,
) -> None:
    now, triggered = NOW, []
    while now < NOW + timedelta(seconds=settings.TTL_SECONDS):
        with suppress(dag_runs.GivenUp):
            run = dag_runs.go_on(cycle(4), now)
            airflow.runs[run] = ("failed", now)
            triggered.append(now)
        now += timedelta(seconds=settings.WATCH_SECONDS)
    pauses = [(b - a).total_seconds() for a, b in pairwise(triggered[dag_runs.AGAIN :])]
    assert len(triggered) < 20
    assert all(later > earlier for earlier, later in pairwise(pauses))
    assert 2 * sum(pauses) > settings.TTL_SECONDS - settings.WATCH_SECONDS * dag_runs.AGAIN


def resume(
    airflow: Airflow,
    monkeypatch: pytest.MonkeyPatch,
    at: datetime,
    due: int,
    lost: Sequence[int] = (),
    **params: Any,
) -> tuple[list[str], list[str]]:
    """One look at CPU 8 whose cycle is due: what it has resumed, or its error; and what it has given up."""
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
        return [str(error)], xcoms["given_up"]


def test_a_cycle_that_was_given_up_is_well_again_only_when_its_cpu_has_come_on(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while one more run is tried, or people would be told again and again."""
    for run in dag_runs.runs_of(cycle(4))[: dag_runs.AGAIN + 1]:
        airflow.runs[run] = ("failed", BEFORE)
    outage = Outage().fails("r", NOW, surveyed=True).conf()
    assert resume(airflow, monkeypatch, NOW, 4)[1] == [OWN]
    later = NOW + timedelta(days=1)
    assert resume(airflow, monkeypatch, later, 4, **outage)[1] == [OWN]
    [*_, latest] = airflow.runs
    assert (latest, airflow.runs[latest][0]) == (dag_runs.slow_runs_of(cycle(4))[0], "queued")
    assert resume(airflow, monkeypatch, later, 4, **outage)[1] == [OWN]
    airflow.runs |= {latest: ("success", later), "s.cpu-8.cycle-5": ("running", None)}
    assert resume(airflow, monkeypatch, later, 5, **outage) == ([], [])


def test_a_cpu_that_redis_has_lost_is_named_and_the_others_are_resumed(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    [why], named = resume(airflow, monkeypatch, NOW, 4, lost=[3, 5])
    assert "Redis has lost registers of s.cpu-3, s.cpu-5 (start the program again" in why
    assert named == ["s.cpu-3", "s.cpu-5"]
    assert list(airflow.runs) == [OWN]


def test_the_slow_runs_last_for_as_long_as_redis_keeps_a_start_run_however_often_it_is_looked() -> None:
    most_often = 10
    assert most_often * 2**dag_runs.SLOWLY > settings.TTL_SECONDS


def test_a_run_that_airflow_does_not_tell_of_is_asked_for_again(airflow: Airflow) -> None:
    with pytest.raises(RuntimeError, match=OWN):
        dag_runs.has_ended(OWN, NOW)


@pytest.fixture
def triggered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, datetime]]:
    """Runs of cpu_watch that were asked for, and for when."""
    asked: list[tuple[str, datetime]] = []

    def trigger_run(dag: str, run: str, conf: dict[str, object], run_after: datetime) -> bool:
        asked.append((run, run_after))
        return True

    monkeypatch.setattr(dag_runs, "trigger_run", trigger_run)
    return asked


def test_looks_are_at_fixed_times_so_that_two_who_ask_get_one(
    triggered: list[tuple[str, datetime]],
) -> None:
    first = dag_runs.watch("s", NOW)
    assert dag_runs.watch("s", NOW + timedelta(seconds=20)) == first == "s.watch-20261122-085000"
    assert {at for _, at in triggered} == {datetime(2026, 11, 22, 8, 50, tzinfo=UTC)}


def test_the_next_look_is_one_period_later(triggered: list[tuple[str, datetime]]) -> None:
    dag_runs.watch("s", NOW)
    [(_, at)] = triggered
    dag_runs.watch("s", at)
    assert triggered[1] == ("s.watch-20261122-085500", at + timedelta(seconds=settings.WATCH_SECONDS))


def test_the_rest_of_a_look_follows_at_once(triggered: list[tuple[str, datetime]]) -> None:
    dag_runs.watch("s", NOW)
    [(_, at)] = triggered
    assert dag_runs.watch("s", at, cpu=151) == "s.watch-20261122-085000.cpu-151"
    assert triggered[1][1] == at


@pytest.mark.parametrize(
    ("asked", "kept", "cycles"),
    [(None, 100, 100), (7, 100, 7), (None, None, 1)],
    ids=["as the start run was given", "as this look was asked", "an image that does not tell"],
)
def test_a_resumed_cpu_goes_on_with_the_cycles_per_pod_of_its_start_run(
    asked: int | None, kept: int | None, cycles: int
) -> None:
    found = {"status": "running"} | ({"cycles": kept} if kept else {})
    assert cpu_watch.cycle_of({"start": "s", "cycles": asked}, found, 8, 4) == {
        "start": "s", "cpu": 8, "cycle": 4, "cycles": cycles,
    }  # fmt: skip


def test_a_look_by_hand_needs_only_the_start_run_s_name() -> None:
    params = copy.deepcopy(cpu_watch.dag.params)
    params["start"] = "s"
    assert params.validate() == {"start": "s", "cycles": None, "cpu": 0, "outage": {}}
