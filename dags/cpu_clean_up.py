"""DAG ``cpu_clean_up``: once a day, the end of pods that ended days ago."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param, get_current_context, task

from dags import settings
from dags.pods import delete_all, ended_before

DOC = """
### Delete the pods of CPUs that ended days ago

A pod whose result is taken is deleted at once. One that failed stays, for you to look at, and so does one
whose task was killed. This deletes them once a day, when they are older than eight days: no run goes on with
a CPU after that time, as Redis no longer holds it. Trigger it by hand to delete them now, or younger ones.
"""


with DAG(
    dag_id="cpu_clean_up",
    description="Deletes pods that ended days ago. Runs once a day, or by hand.",
    doc_md=DOC,
    **{**settings.TRIGGERED, "schedule": "0 4 * * *"},
    max_active_runs=1,
    params={
        "days": Param(
            8,
            type="integer",
            minimum=1,
            maximum=3650,
            description="Pods made longer ago than this many days go",
        ),
    },
) as dag:

    @task
    def delete_old_pods() -> list[str]:
        """Delete the pods that have ended and are old; their names are the XCom."""
        before = datetime.now(UTC) - timedelta(days=get_current_context()["params"]["days"])
        labels = {"app": "cluster-cpu"}
        namespace = settings.POD["namespace"]
        return asyncio.run(delete_all("kubernetes_default", namespace, labels, ended_before(before)))

    delete_old_pods()
