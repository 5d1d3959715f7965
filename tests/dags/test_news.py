"""When a task that tells people is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import RetryDecision
from airflow.serialization.serialized_objects import DagSerialization

from dags import cpu, cpu_start
from dags.news import TRIES, begin_of
from scripts.slack.errors import SlackAway


@pytest.mark.parametrize("dag", [cpu.dag, cpu_start.dag])
def test_the_next_try_to_tell_waits_for_as_long_as_slack_asks(dag: Any) -> None:
    notify = dag.get_task("notify")
    asked = notify.retry_policy.evaluate(SlackAway("asks for a pause", 90), 1, TRIES)
    assert asked.retry_delay == timedelta(seconds=90)
    for other in (SlackAway("is away"), ConnectionError()):
        assert notify.retry_policy.evaluate(other, 1, TRIES) == RetryDecision.default()


@pytest.mark.parametrize("dag", [cpu.dag, cpu_start.dag])
def test_telling_is_tried_for_longer_than_anything_else(dag: Any) -> None:
    kept = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert max(kept.tasks, key=lambda task: task.retries).task_id == "notify"


def test_nothing_was_told_of_a_start_run_before_it_began() -> None:
    began, later = datetime(2026, 11, 22, 8, 47, 25, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)
    start = cpu_start.start_id({"dag_run": SimpleNamespace(run_id="manual__1", run_after=began)})
    assert begin_of(start, later) == began
    assert begin_of("by-hand", later) == later
