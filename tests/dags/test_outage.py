"""The watchdog outlasts any trouble, and people are told once when it begins and once when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from dags import cpu_watch, dag_runs, settings
from dags.outage import Outage
from scripts.slack.errors import SlackUnavailable
from tests.support.slack.server import TOKEN, Fault, SlackServer
from tests.support.slack.ways import WEBHOOK

START = "20261122-084725-a1b2c3"
BEGIN = datetime(2026, 11, 22, 8, 50, tzinfo=UTC)
RUNNING = {"status": "running", "start": START, "cycles": 1, "due": [], "answers": [], "more": None}
OVER = {**RUNNING, "status": "over"}
GONE: dict[str, Any] = {"status": "over", "start": START, "due": [], "answers": [], "more": None}
AWAY = {"survey": {"reason": "pod survey-1 in namespace cpu-jobs failed: redis is away"}}
GIVEN_UP = "these cycles' runs came to nothing: cpu-8.cycle-4"


def surveyed(found: dict[str, Any] = RUNNING) -> dict[str, Any]:
    return {"survey": {"return_value": found}, "resume": {"return_value": []}}


def given_up(*cycles: str, **found: Any) -> dict[str, Any]:
    resume = {"reason": f"these came to nothing: {cycles}", "given_up": list(cycles)}
    return {"survey": {"return_value": {**RUNNING, **found}}, "resume": resume}


@dataclass
class Watchdog:
    """A chain of looks: the conf, run id and time of each that was triggered."""

    slack: SlackServer
    chain: list[tuple[str, dict[str, Any], datetime]] = field(
        default_factory=lambda: [("first", {"start": START}, BEGIN)]
    )

    def look(self, xcoms: dict[str, dict[str, Any]]) -> bool:
        """The latest look, whose tasks leave these XComs; whether there is another one now."""
        run_id, conf, at = self.chain[-1]

        def xcom_pull(task_ids: str, key: str = "return_value", **_: Any) -> Any:
            return xcoms.get(task_ids, {}).get(key)

        context = {
            "dag_run": SimpleNamespace(dag_id="cpu_watch", run_id=run_id, run_after=at),
            "ti": SimpleNamespace(xcom_pull=xcom_pull, dag_id="cpu_watch", task_id="look_again"),
            "params": {"start": START, "cpu": 0, "cycles": None, "outage": {}, **conf},
        }
        before = len(self.chain)
        is_more = bool(cpu_watch.next_look(context))  # type: ignore[arg-type]
        assert len(self.chain) == before + is_more
        return is_more

    def told(self) -> list[str]:
        """The headlines in Slack."""
        return [post.shown.splitlines()[0] for post in self.slack.posts]


FAILING, WORKS = "Failing: task survey of DAG cpu_watch", "Works again: DAG cpu_watch"
STUCK = "Failing: task resume of DAG cpu_watch"


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackServer]:
    """The Slack that Airflow's connection leads to by a bot."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with SlackServer() as server:
        connect(monkeypatch, TOKEN, {"channel": "C0CPU", "base_url": server.api})
        yield server


def connect(monkeypatch: pytest.MonkeyPatch, password: str, extra: dict[str, str]) -> None:
    stored = {"conn_type": "generic", "password": password, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_CPU", json.dumps(stored))


@pytest.fixture
def watchdog(slack: SlackServer, monkeypatch: pytest.MonkeyPatch) -> Watchdog:
    watchdog = Watchdog(slack)

    def trigger_run(dag: str, run: str, conf: dict[str, Any], run_after: datetime) -> bool:
        json.dumps(conf)
        watchdog.chain.append((run, conf, run_after))
        return True

    monkeypatch.setattr(dag_runs, "trigger_run", trigger_run)
    return watchdog


@pytest.fixture(params=["bot", "webhook"])
def _by_bot_and_by_webhook(
    request: pytest.FixtureRequest, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook cannot be asked what it has posted: there only the looks themselves know."""
    if request.param == "webhook":
        connect(monkeypatch, WEBHOOK, {"base_url": slack.url})


@pytest.mark.usefixtures("_by_bot_and_by_webhook")
def test_an_outage_of_many_looks_is_told_when_it_begins_and_when_it_is_over(watchdog: Watchdog) -> None:
    for number in range(50):
        away = {"survey": {"reason": f"pod survey-{number} in namespace cpu-jobs failed: redis is away"}}
        assert watchdog.look(away)
    assert watchdog.told() == [FAILING]
    assert "pod survey-0 in namespace cpu-jobs failed: redis is away" in watchdog.slack.posts[0].shown
    for _ in range(3):
        assert watchdog.look(surveyed())
    assert watchdog.told() == [FAILING, WORKS]
    assert watchdog.chain[-1][1] == {"start": START, "cpu": 0}
    watchdog.look(AWAY)
    watchdog.look(surveyed())
    assert watchdog.told() == [FAILING, WORKS] * 2


def test_where_all_is_well_nothing_is_told_and_looks_go_on_until_the_start_run_is_over(
    watchdog: Watchdog,
) -> None:
    assert watchdog.look(surveyed())
    assert not watchdog.look(surveyed(OVER))
    assert watchdog.told() == []


@pytest.mark.usefixtures("_by_bot_and_by_webhook")
def test_while_slack_is_away_too_looks_go_on_and_people_are_told_later(watchdog: Watchdog) -> None:
    faults = watchdog.slack.faults
    for _ in range(2):
        faults.put(Fault(503))
        assert watchdog.look(AWAY)
    assert watchdog.told() == []
    assert watchdog.look(AWAY)
    assert watchdog.told() == [FAILING]
    faults.put(Fault(503))
    assert watchdog.look(surveyed())
    assert watchdog.told() == [FAILING]
    assert watchdog.look(surveyed())
    assert watchdog.told() == [FAILING, WORKS]


def test_a_connection_that_slack_refuses_holds_no_look_up(
    watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "no token", {})
    assert watchdog.look(AWAY)


@pytest.mark.usefixtures("_by_bot_and_by_webhook")
def test_cycles_that_are_given_up_are_told_once_and_again_when_they_are_others(watchdog: Watchdog) -> None:
    for _ in range(3):
        assert watchdog.look(given_up("cpu-8.cycle-4"))
    for _ in range(3):
        assert watchdog.look(given_up("cpu-8.cycle-4", "cpu-9.cycle-1"))
    watchdog.look(AWAY)
    watchdog.look(given_up("cpu-8.cycle-4"))
    assert watchdog.told() == [STUCK, STUCK, FAILING]
    watchdog.look(surveyed())
    assert watchdog.told() == [STUCK, STUCK, FAILING, WORKS]


@pytest.mark.usefixtures("_by_bot_and_by_webhook")
def test_trouble_in_one_part_of_each_look_is_one_outage_and_the_other_parts_are_looked_at(
    watchdog: Watchdog,
) -> None:
    first = surveyed({**RUNNING, "more": 151})
    for _ in range(3):
        assert watchdog.look(first)
        assert watchdog.chain[-1][1]["cpu"] == 151
        assert watchdog.look(given_up("cpu-200.cycle-1", more=301))
        assert watchdog.chain[-1][1]["cpu"] == 301
        assert watchdog.look(surveyed())
        assert watchdog.chain[-1][1]["cpu"] == 0
    assert watchdog.told() == [STUCK]
    for part in (first, surveyed()):
        watchdog.look(part)
    assert watchdog.told() == [STUCK, WORKS]


def test_a_process_that_is_gone_without_a_word_is_trouble_too(watchdog: Watchdog) -> None:
    assert watchdog.look({})
    assert watchdog.look({"survey": {"return_value": RUNNING}})
    assert watchdog.told() == [FAILING, STUCK]
    assert all("it left no reason: see its log" in post.shown for post in watchdog.slack.posts)


def test_the_look_after_one_that_took_long_is_not_due_in_the_past(watchdog: Watchdog) -> None:
    """Or, after an outage, one would follow the other until they have caught up."""
    now = datetime.now(UTC)
    watchdog.chain = [("late", {"start": START}, now - timedelta(hours=3))]
    watchdog.look(AWAY)
    assert now < watchdog.chain[-1][2] <= datetime.now(UTC) + timedelta(seconds=settings.WATCH_SECONDS)


def test_a_memory_that_must_have_expired_during_an_outage_ends_the_looks(watchdog: Watchdog) -> None:
    """Redis keeps what nobody uses for CPU_TTL, whether anybody can ask it or not."""
    began = datetime.now(UTC) - timedelta(seconds=settings.TTL_SECONDS)
    for seconds, goes_on in ((60, True), (-60, False)):
        outage = Outage().fails("r", began + timedelta(seconds=seconds), surveyed=False)
        watchdog.chain.append(("r", {"start": START, **outage.conf()}, datetime.now(UTC)))
        assert watchdog.look(AWAY) is goes_on


def test_a_survey_that_succeeds_in_between_shows_that_the_memory_lives() -> None:
    outage = Outage().fails("r", BEGIN, surveyed=False).fails("r", BEGIN, surveyed=True)
    later = BEGIN + timedelta(days=9)
    assert not outage.outlasts(7 * 86_400, later)
    assert not outage.fails("r", later, surveyed=False).outlasts(7 * 86_400, later)


@pytest.mark.parametrize(("found", "words"), [(OVER, "failed for"), (GONE, "Redis no longer holds it")])
def test_the_last_look_is_tried_again_until_people_know_that_the_outage_is_over(
    watchdog: Watchdog, found: dict[str, Any], words: str
) -> None:
    watchdog.look(AWAY)
    watchdog.slack.faults.put(Fault(503))
    with pytest.raises(SlackUnavailable):
        watchdog.look(surveyed(found))
    assert not watchdog.look(surveyed(found))
    assert watchdog.told() == [FAILING, WORKS]
    assert words in watchdog.slack.posts[-1].shown


def test_a_start_run_that_is_over_with_trouble_is_not_told_to_work_again(watchdog: Watchdog) -> None:
    """Its last news are lost, say."""
    assert not watchdog.look(given_up("cpu-8", status="over"))
    assert watchdog.told() == [STUCK]


def test_a_look_begins_and_ends_in_the_start_run_s_thread(watchdog: Watchdog) -> None:
    metadata = {"event_type": "cluster_cpu", "event_payload": {"start": START, "news": "started"}}
    root = watchdog.slack.accept("chat.postMessage", "C0CPU", {"text": "begun", "metadata": metadata})
    watchdog.look(AWAY)
    watchdog.look(surveyed())
    assert [post.thread for post in watchdog.slack.posts[1:]] == [root.ts, root.ts]


def test_the_next_look_is_triggered_whatever_has_failed_and_a_look_that_failed_is_a_failed_run() -> None:
    """By Airflow's rules for a teardown."""
    task: Any = cpu_watch.dag.get_task("look_again")
    assert (task.is_teardown, task.on_failure_fail_dagrun) == (True, False)


def test_triggering_the_next_look_is_tried_for_as_long_as_redis_keeps_the_start_run() -> None:
    task: Any = cpu_watch.dag.get_task("look_again")
    assert task.retries * task.max_retry_delay.total_seconds() >= settings.TTL_SECONDS


def test_a_look_that_cannot_trigger_the_next_one_is_told_once(
    watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> bool:
        raise RuntimeError("run r of DAG cpu_watch could not be triggered: no such DAG")

    monkeypatch.setattr(dag_runs, "trigger_run", refuse)
    run = SimpleNamespace(dag_id="cpu_watch", run_id="r", run_after=BEGIN)
    task: Any = cpu_watch.dag.get_task("look_again")
    for number in range(1, 20):
        ti = SimpleNamespace(
            xcom_pull=lambda task_ids, **_: surveyed()[task_ids]["return_value"],
            dag_id="cpu_watch",
            task_id="look_again",
            try_number=number,
        )
        params = {"start": START, "cpu": 0, "cycles": None, "outage": {}}
        context = {"dag_run": run, "ti": ti, "params": params}
        monkeypatch.setattr(cpu_watch, "get_current_context", lambda context=context: context)
        with pytest.raises(RuntimeError, match="no such DAG"):
            task.python_callable()
    assert watchdog.told() == ["Failed: task look_again of DAG cpu_watch"]
