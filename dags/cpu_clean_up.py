"""DAG ``cpu_clean_up``: once a day, delete pods that ended days ago."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param, get_current_context, task

from airflow_pods import delete_all, ended_before
from dags import settings

DOC = """
### Delete pods that ended days ago

A pod is deleted as soon as its result is taken. A failed pod stays, so that you can look at it, and so does a
pod whose task was killed. This DAG deletes them once a day when they are older than eight days: by then Redis
no longer holds their CPUs, so that no run needs them. Trigger it by hand to delete them now, or younger ones.
"""

DAILY = CronTriggerTimetable("0 4 * * *", timezone="UTC", run_immediately=timedelta())
"""At 4:00 UTC. By default, Airflow would also run a new DAG at once in the 2.4 hours after that time."""


with DAG(
    dag_id="cpu_clean_up",
    description="Delete pods that ended days ago. Runs once a day, or by hand.",
    doc_md=DOC,
    # It has a schedule: whether it is paused at first is for Airflow's own setting to say.
    **{**settings.DAG_DEFAULTS, "schedule": DAILY, "is_paused_upon_creation": None},
    max_active_runs=1,
    params={
        "days": Param(
            8,
            type="integer",
            minimum=1,
            maximum=3650,
            title="Days",
            description="Delete the pods that have ended and were created more than this many days ago.",
        ),
    },
) as dag:

    @task
    def delete_old_pods() -> list[str]:
        """Delete the pods that have ended and are old; the XCom lists their names."""
        before = datetime.now(UTC) - timedelta(days=get_current_context()["params"]["days"])
        labels = {"app": "cluster-cpu"}
        namespace = settings.POD["namespace"]
        return asyncio.run(delete_all("kubernetes_default", namespace, labels, ended_before(before)))

    delete_old_pods()
