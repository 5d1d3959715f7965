"""The watchdog survives outages, and posts one message when an outage begins and one when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from dags import cpu_watch, dag_runs, settings, watchdog
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


def surveyed(found: dict[str, Any] = RUNNING) -> dict[str, Any]:
    return {"survey": {"return_value": found}, "resume": {"return_value": []}}


def stuck(*cycles: str, **found: Any) -> dict[str, Any]:
    resume = {"reason": f"these came to nothing: {cycles}", "stuck": list(cycles)}
    return {"survey": {"return_value": {**RUNNING, **found}}, "resume": resume}


@dataclass
class Chain:
    """Runs of the watchdog, each of which triggers the next: their run id, conf and time."""

    slack: SlackServer
    collected: list[str] = field(default_factory=list)
    runs: list[tuple[str, dict[str, Any], datetime]] = field(
        default_factory=lambda: [("first", {"start": START}, BEGIN)]
    )

    def run(self, xcoms: dict[str, dict[str, Any]]) -> bool:
        """Run the latest one, whose tasks leave these XComs; return whether it triggered another one."""
        run_id, conf, at = self.runs[-1]

        def xcom_pull(task_ids: str, key: str = "return_value", **_: Any) -> Any:
            return xcoms.get(task_ids, {}).get(key)

        context = {
            "dag_run": SimpleNamespace(dag_id="cpu_watch", run_id=run_id, run_after=at),
            "ti": SimpleNamespace(xcom_pull=xcom_pull, dag_id="cpu_watch", task_id="look_again"),
            "params": {"start": START, "cpu": 0, "cycles": None, "outage": {}, **conf},
        }
        before = len(self.runs)
        is_more = bool(watchdog.trigger_next_survey(context))  # type: ignore[arg-type]
        assert len(self.runs) == before + is_more
        return is_more

    def headlines(self) -> list[str]:
        """Return the first lines of the messages in Slack."""
        return [post.shown.splitlines()[0] for post in self.slack.posts]


FAILING, WORKS = "Failing: task survey of DAG cpu_watch", "Works again: DAG cpu_watch"
STUCK = "Failing: task resume of DAG cpu_watch"


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackServer]:
    """A stand-in for Slack that Airflow's connection leads to by a bot."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with SlackServer() as server:
        connect(monkeypatch, TOKEN, {"channel": "C0CPU", "base_url": server.api})
        yield server


def connect(monkeypatch: pytest.MonkeyPatch, password: str, extra: dict[str, str]) -> None:
    stored = {"conn_type": "generic", "password": password, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_CPU", json.dumps(stored))


@pytest.fixture
def chain(slack: SlackServer, monkeypatch: pytest.MonkeyPatch) -> Chain:
    chain = Chain(slack)

    def trigger_run(dag: str, run: str, conf: dict[str, Any], run_after: datetime | None = None) -> bool:
        json.dumps(conf)
        if dag == "cpu_answers":
            chain.collected.append(run)
        else:
            assert run_after
            chain.runs.append((run, conf, run_after))
        return True

    monkeypatch.setattr(dag_runs, "trigger_run", trigger_run)
    return chain


@pytest.fixture(params=["bot", "webhook"])
def _by_bot_and_by_webhook(
    request: pytest.FixtureRequest, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook cannot be searched: then only the runs of the watchdog know what was posted."""
    if request.param == "webhook":
        connect(monkeypatch, WEBHOOK, {"base_url": slack.url})


@pytest.mark.usefixtures("_by_bot_and_by_webhook")
def test_outage_of_many_runs_is_posted_when_it_begins_and_when_it_is_over(chain: Chain) -> None:
    for number in range(50):
        away = {"survey": {"reason": f"pod survey-{number} in namespace cpu-jobs failed: redis is away"}}
        assert chain.run(away)
    assert chain.headlines() == [FAILING]
    assert "pod survey-0 in namespace cpu-jobs failed: redis is away" in chain.slack.posts[0].shown
    for _ in range(3):
        assert chain.run(surveyed())
    assert chain.headlines() == [FAILING, WORKS]
    assert chain.runs[-1][1] == {"start": START, "cpu": 0}
    chain.run(AWAY)
    chain.run(surveyed())
    assert chain.headlines() == [FAILING, WORKS] * 2


def test_watchdog_that_works_posts_nothing_and_ends_with_the_start_run(
    chain: Chain,
) -> None:
    assert chain.run(surveyed())
    assert chain.collected == []
    assert not chain.run(surveyed(OVER))
    assert chain.headlines() == []
    assert chain.collected == [f"{START}.answers"]


def test_watchdog_has_the_answers_collected_although_slack_is_unavailable(chain: Chain) -> None:
    chain.run(AWAY)
    chain.slack.faults.put(Fault(503))
    with pytest.raises(SlackUnavailable):
        chain.run(surveyed(OVER))
    assert chain.collected == [f"{START}.answers"]


@pytest.mark.usefixtures("_by_bot_and_by_webhook")
def test_messages_are_posted_later_if_slack_is_unavailable_too(chain: Chain) -> None:
    faults = chain.slack.faults
    for _ in range(2):
        faults.put(Fault(503))
        assert chain.run(AWAY)
    assert chain.headlines() == []
    assert chain.run(AWAY)
    assert chain.headlines() == [FAILING]
    faults.put(Fault(503))
    assert chain.run(surveyed())
    assert chain.headlines() == [FAILING]
    assert chain.run(surveyed())
    assert chain.headlines() == [FAILING, WORKS]


def test_unusable_slack_connection_does_not_stop_the_watchdog(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "no token", {})
    assert chain.run(AWAY)


@pytest.mark.usefixtures("_by_bot_and_by_webhook")
def test_stuck_cycles_are_posted_once_and_again_if_they_are_others(chain: Chain) -> None:
    for _ in range(3):
        assert chain.run(stuck("cpu-8.cycle-4"))
    for _ in range(3):
        assert chain.run(stuck("cpu-8.cycle-4", "cpu-9.cycle-1"))
    chain.run(AWAY)
    chain.run(stuck("cpu-8.cycle-4"))
    assert chain.headlines() == [STUCK, STUCK, FAILING]
    chain.run(surveyed())
    assert chain.headlines() == [STUCK, STUCK, FAILING, WORKS]


@pytest.mark.usefixtures("_by_bot_and_by_webhook")
def test_failure_in_one_part_of_each_round_is_one_outage_and_the_other_parts_are_surveyed(
    chain: Chain,
) -> None:
    first = surveyed({**RUNNING, "more": 151})
    for _ in range(3):
        assert chain.run(first)
        assert chain.runs[-1][1]["cpu"] == 151
        assert chain.run(stuck("cpu-200.cycle-1", more=301))
        assert chain.runs[-1][1]["cpu"] == 301
        assert chain.run(surveyed())
        assert chain.runs[-1][1]["cpu"] == 0
    assert chain.headlines() == [STUCK]
    for part in (first, surveyed()):
        chain.run(part)
    assert chain.headlines() == [STUCK, WORKS]


def test_task_that_left_no_cause_is_a_problem_too(chain: Chain) -> None:
    assert chain.run({})
    assert chain.run({"survey": {"return_value": RUNNING}})
    assert chain.headlines() == [FAILING, STUCK]
    assert all("it left no cause: see its log" in post.shown for post in chain.slack.posts)


def test_survey_after_a_long_run_is_not_due_in_the_past(chain: Chain) -> None:
    """Otherwise, after an outage, surveys would follow each other until they have caught up."""
    now = datetime.now(UTC)
    chain.runs = [("late", {"start": START}, now - timedelta(hours=3))]
    chain.run(AWAY)
    assert now < chain.runs[-1][2] <= datetime.now(UTC) + timedelta(seconds=settings.WATCH_SECONDS)


def test_watchdog_ends_when_the_start_run_must_have_expired_during_an_outage(chain: Chain) -> None:
    """Redis keeps what is not used for CPU_TTL, whether it can be reached or not."""
    began = datetime.now(UTC) - timedelta(seconds=settings.TTL_SECONDS)
    for seconds, is_more in ((60, True), (-60, False)):
        outage = Outage().after_failure("r", began + timedelta(seconds=seconds), surveyed=False)
        chain.runs.append(("r", {"start": START, **outage.to_conf()}, datetime.now(UTC)))
        assert chain.run(AWAY) is is_more
        assert bool(chain.collected) is not is_more


def test_survey_that_works_in_between_shows_that_the_start_run_is_kept() -> None:
    outage = Outage().after_failure("r", BEGIN, surveyed=False).after_failure("r", BEGIN, surveyed=True)
    later = BEGIN + timedelta(days=9)
    assert not outage.is_blind_for(7 * 86_400, later)
    assert not outage.after_failure("r", later, surveyed=False).is_blind_for(7 * 86_400, later)


@pytest.mark.parametrize(("found", "text"), [(OVER, "failed for"), (GONE, "Redis no longer holds it")])
def test_last_run_is_retried_until_the_end_of_the_outage_is_posted(
    chain: Chain, found: dict[str, Any], text: str
) -> None:
    chain.run(AWAY)
    chain.slack.faults.put(Fault(503))
    with pytest.raises(SlackUnavailable):
        chain.run(surveyed(found))
    assert not chain.run(surveyed(found))
    assert chain.headlines() == [FAILING, WORKS]
    assert text in chain.slack.posts[-1].shown


def test_start_run_that_ends_with_a_problem_is_not_reported_as_working_again(chain: Chain) -> None:
    """For example, because its last answer is lost."""
    assert not chain.run(stuck("cpu-8", status="over"))
    assert chain.headlines() == [STUCK]


def test_messages_about_an_outage_are_in_the_start_run_s_thread(chain: Chain) -> None:
    metadata = {"event_type": "cluster_cpu", "event_payload": {"start": START, "news": "started"}}
    root = chain.slack.accept("chat.postMessage", "C0CPU", {"text": "begun", "metadata": metadata})
    chain.run(AWAY)
    chain.run(surveyed())
    assert [post.thread for post in chain.slack.posts[1:]] == [root.ts, root.ts]


def test_next_survey_is_triggered_whatever_failed_and_the_run_is_failed_anyway() -> None:
    """As Airflow treats a teardown."""
    task: Any = cpu_watch.dag.get_task("look_again")
    assert (task.is_teardown, task.on_failure_fail_dagrun) == (True, False)


def test_triggering_the_next_survey_is_retried_for_as_long_as_redis_keeps_the_start_run() -> None:
    task: Any = cpu_watch.dag.get_task("look_again")
    assert task.retries * task.max_retry_delay.total_seconds() >= settings.TTL_SECONDS


def test_failure_to_trigger_the_next_survey_is_posted_once(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
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
    assert chain.headlines() == ["Failed: task look_again of DAG cpu_watch"]
