"""DAG ``items`` on the stack: each item counts exactly once, whatever is killed."""

from __future__ import annotations

import threading
from typing import Any

import httpx

from airflow_pods.operator import POD_EXECUTOR
from dags.item_shards import SHARDS
from scripts.local.items import name_of
from scripts.local.services import kubernetes
from scripts.waiting import wait_until
from tests.support.stack import PATIENCE_SECONDS, Stack

OVER = ("success", "failed")


def kill_pods(stack: Stack, run: str, is_over: threading.Event) -> int:
    """Delete some pods of the items run while they run; return how many."""
    core, namespace, killed = kubernetes.core_api(stack.settings), stack.settings.namespace, 0
    while not is_over.wait(0.2) and killed < 10:
        # Each index loses at most one pod: it has three more attempts, and the task none to spare.
        first = f"items={run},command=work,airflow-pods/attempt=0"
        found = core.list_namespaced_pod(namespace, label_selector=first)
        live = [pod for pod in found.items if pod.status.phase in ("Pending", "Running")]
        for pod in live[:2]:
            core.delete_namespaced_pod(pod.metadata.name, namespace, grace_period_seconds=0)
            killed += 1
    return killed


def test_every_item_counts_once_although_pods_are_killed(stack: Stack, wall_api: httpx.Client) -> None:
    run = stack.api.trigger("items", {"total": 3000, "per_pod": 50})
    is_over, killed = threading.Event(), list[int]()
    killer = threading.Thread(target=lambda: killed.append(kill_pods(stack, name_of(run), is_over)))
    killer.start()
    try:
        assert wait_until(
            lambda: stack.api.run("items", run["dag_run_id"])["state"] in OVER, PATIENCE_SECONDS
        )
    finally:
        is_over.set()
        killer.join()
    assert killed[0] > 0
    assert stack.api.run("items", run["dag_run_id"])["state"] == "success"
    report = stack.api.xcom("items", run["dag_run_id"], "report")
    shown = wall_api.get(f"api/items/{name_of(run)}").raise_for_status().json()
    assert (shown["run_id"], shown["state"], shown["note"]) == (run["dag_run_id"], "success", "")
    assert (shown["progress"]["done"], shown["progress"]["total"]) == (3000, 3000)
    assert (shown["progress"]["committed"], shown["pods"]["running"], shown["pods"]["failed"]) == (60, 0, 0)
    assert {**report, **shown["report"]} == report
    assert name_of(run) in [one["items"] for one in wall_api.get("api/items").raise_for_status().json()]
    assert {name: report[name] for name in ("total", "done", "lost", "doubled", "failed")} == {
        "total": 3000,
        "done": 3000,
        "lost": 0,
        "doubled": 0,
        "failed": 0,
    }
    tasks: list[dict[str, Any]] = stack.api.tasks("items", run["dag_run_id"])
    shards = [task for task in tasks if task["task_id"].startswith("shard-")]
    assert {task["executor"] for task in shards} == {POD_EXECUTOR}
    summaries = [stack.api.xcom("items", run["dag_run_id"], f"shard-{n}") for n in range(SHARDS)]
    assert sum(one["total"]["done"] for one in summaries) == 3000
    core, namespace = kubernetes.core_api(stack.settings), stack.settings.namespace
    selector = f"items={name_of(run)}"
    assert wait_until(lambda: not core.list_namespaced_pod(namespace, label_selector=selector).items, 30)
