"""DAGs that use start runs: one waits for runs of cpu_start, the other is scheduled by answers."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, get_current_context, task

ANSWER = Asset("cpu_answer")

with DAG("waits_for_cpu_start", schedule=None, params={"program": "nop +0\n"}):
    for task_id, deferrable in (("in_a_worker", False), ("deferred", True)):
        TriggerDagRunOperator(
            task_id=task_id,
            trigger_dag_id="cpu_start",
            conf={"program": "{{ params.program }}", "cycles": 10},
            wait_for_completion=True,
            deferrable=deferrable,
            poke_interval=2,
        )

with DAG("scheduled_by_answers", schedule=[ANSWER]):

    @task
    def take() -> list[dict[str, Any]]:
        """Return the `extra` of each answer that has triggered this run."""
        events = get_current_context()["triggering_asset_events"][ANSWER]
        return [dict(event.extra) for event in events]

    take()
