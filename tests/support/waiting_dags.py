"""DAGs that use start runs: one waits for runs of cpu_start, the other is scheduled by answers."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, get_current_context, task

ANSWERS = [Asset("cpu_answer_part_1"), Asset("cpu_answer_part_2")]

with DAG("waits_for_cpu_start", schedule=None, params={"program": "nop +0\n"}):
    in_a_worker, deferred = (
        TriggerDagRunOperator(
            task_id=task_id,
            trigger_dag_id="cpu_start",
            conf={"program": "{{ params.program }}", "cycles": 10},
            wait_for_completion=True,
            deferrable=task_id == "deferred",
            poke_interval=2,
        )
        for task_id in ("in_a_worker", "deferred")
    )
    # One after the other: of answers that come at once, Airflow keeps some for the next run of the other DAG.
    in_a_worker >> deferred

with DAG("scheduled_by_answers", schedule=ANSWERS) as scheduled:

    @task
    def take() -> list[dict[str, Any]]:
        """Return the `extra` of each answer that has triggered this run."""
        events = get_current_context()["triggering_asset_events"]
        return [dict(event.extra) for asset in ANSWERS for event in events[asset]]

    take()
