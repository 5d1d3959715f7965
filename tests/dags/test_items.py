"""DAG ``items``: its pods share out all items, and its tasks sum up what the pods leave."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_pods import NextStep, PodOperator, PodRefused
from airflow_pods.templates import PodTemplate
from dags import item_totals, items
from dags.item_shards import SHARDS, first_pod, items_run, run_after_of
from dags.item_totals import add_up
from scripts.local.items import name_of

RUN_AFTER = datetime(2026, 11, 26, 7, 8, 9, 12, tzinfo=UTC)


def rendered(task_id: str, pods: int, **params: int) -> PodTemplate:
    """Return the pods of a task, where the plan has so many pods."""
    task: Any = items.dag.get_task(task_id)
    pull = {"plan": {"pods": pods}}
    context: Any = {
        "params": {"total": 1000, "per_pod": 100, "pods_in_flight": 32, "seed": 1, **params},
        "dag_run": SimpleNamespace(run_after=RUN_AFTER),
        "dag": items.dag,
        "ti": SimpleNamespace(xcom_pull=pull.__getitem__),
    }
    template: PodTemplate = task.template().rendered(context, task.get_template_env())
    return template


@pytest.mark.parametrize("pods", [1, 7, 8, 10, 9_999, 10_000])
def test_the_shards_share_out_all_pods_without_gaps(pods: int) -> None:
    numbers: list[int] = []
    for number in range(SHARDS):
        shard = rendered(f"shard-{number}", pods)
        first = int(shard.arguments[-1])
        assert first == first_pod(pods, number)
        numbers += range(first, first + shard.indexed().count)
    assert numbers == list(range(pods))


@pytest.mark.parametrize(("in_flight", "each"), [(1, 1), (8, 1), (32, 4), (1000, 125)])
def test_the_shards_share_the_pods_in_flight(in_flight: int, each: int) -> None:
    shard = rendered("shard-3", 10_000, pods_in_flight=in_flight)
    assert shard.indexed().parallelism == each


def test_all_pods_of_a_run_have_its_name() -> None:
    run = "20261126-070809-000012"
    assert name_of({"run_after": RUN_AFTER.isoformat()}) == items_run(RUN_AFTER) == run
    for task in items.dag.tasks:
        if isinstance(task, PodOperator):
            pod = rendered(task.task_id, 10_000)
            assert pod.arguments[1:3] == ["--items", run]
            assert pod.labels["items"] == run
            assert len(f"{pod.name}-9999-3") <= 63


def test_the_name_of_a_run_says_when_its_dag_run_was_to_begin() -> None:
    assert run_after_of(items_run(RUN_AFTER)) == RUN_AFTER
    assert items_run(RUN_AFTER.astimezone(timezone(timedelta(hours=9)))) == items_run(RUN_AFTER)


@pytest.mark.parametrize("name", ["", "try-1", "20261126-070809-12", "99991399-070809-000012"])
def test_a_name_that_no_dag_run_gives_says_no_time(name: str) -> None:
    assert run_after_of(name) is None


def test_the_form_is_what_the_plan_gets() -> None:
    plan = rendered("plan", 0, total=2000, per_pod=7, seed=9)
    assert plan.arguments[3:] == ["--total", "2000", "--per-pod", "7", "--seed", "9"]


def test_a_shard_sums_up_the_results_of_its_pods() -> None:
    total = add_up(None, {"items": "run", "done": 99, "failed": 1, "cycles": 5000, "sentence": "…"})
    total = add_up(total, {"items": "run", "done": 50, "failed": 0, "cycles": 70})
    assert total == {"done": 149, "failed": 1, "cycles": 5070}


def test_the_run_succeeds_only_if_every_item_is_done_once() -> None:
    report: Any = items.dag.get_task("report")
    assert item_totals.next_step({"status": "complete"}, {}) == NextStep("complete")
    assert item_totals.next_step({"status": "incomplete"}, {}) is None
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda **_: None)}
    with pytest.raises(PodRefused, match="not every item is done once"):
        report.resume(context, {"result": {"status": "incomplete", "lost": 3}})
