"""When a task that tells people is tried again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import RetryDecision
from airflow.serialization.serialized_objects import DagSerialization

from dags import cpu, cpu_start
from dags.news import TRIES
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
