"""DAG ``items``: solve up to a million random programs, many to a pod and many pods to a task.

plan (a pod) → work: eight shards (sets of pods) → report (a pod) → complete
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, TaskGroup

from airflow_pods import PodOperator
from dags import settings
from dags.item_shards import NAME_FORMAT, SHARDS, shard_task
from dags.item_totals import add_up, complete_or_fail, next_step

DOC = f"""
### Solve many small programs, each exactly once

A run makes random programs and solves both parts of each. Each pod solves its share in memory and counts it
in Redis in one step, so that every program counts exactly once, whatever is killed or tried again.

| task | what it does |
|---|---|
| `plan` | a pod stores how many programs there are, and how many each pod solves |
| `work` | {SHARDS} shards, each a task of many pods; a shard's XCom sums up its pods' results |
| `report` | a pod checks the tally against one bit per program, and fails unless every program is done once |

A task that is cleared creates only the pods that have not succeeded: `kubectl get pods -l items=…`. How to
run your own container over your own items: docs/pods.md, *Many pods in one task*.
"""

RUN = f"{{{{ dag_run.run_after.strftime('{NAME_FORMAT}') }}}}"
"""The name of the items run."""
PODS = "ti.xcom_pull('plan')['pods']"


def items_pod(command: str, *flags: str, task_id: str = "", **kwargs: Any) -> PodOperator:
    """Return a task whose pods run a command of the image on this items run."""
    return PodOperator(
        task_id=task_id or command,
        name=f"items-{RUN}-{task_id or command}",
        arguments=[command, "--items", RUN, *flags],
        labels={"app": "cluster-cpu", "items": RUN, "command": command},
        strict_conf=True,
        **settings.POD,
        **kwargs,
    )


def shard(number: int) -> PodOperator:
    """Return the task that runs a shard of the pods: those from ``first`` to before ``last``."""
    first, last = f"{PODS} * {number} // {SHARDS}", f"{PODS} * {number + 1} // {SHARDS}"
    return items_pod(
        "work",
        "--pod",
        f"{{{{ {first} }}}}",
        task_id=shard_task(number),
        count=f"{{{{ {last} - {first} }}}}",
        parallelism=f"{{{{ [params.pods_in_flight // {SHARDS}, 1] | max }}}}",
        retries_per_pod=3,
        reduce=add_up,
    )


with DAG(
    dag_id="items",
    description="Solve up to a million random programs, many to a pod and many pods to a task.",
    doc_md=DOC,
    **settings.DAG_DEFAULTS,
    params={
        "total": Param(
            1000,
            type="integer",
            minimum=1,
            maximum=1_000_000,
            title="Items",
            description="How many random programs to solve.",
        ),
        "per_pod": Param(
            100,
            type="integer",
            minimum=1,
            maximum=10_000,
            title="Items per pod",
            description="How many of them each pod solves.",
        ),
        "pods_in_flight": Param(
            32,
            type="integer",
            minimum=1,
            maximum=1000,
            title="Pods in flight",
            description=f"How many pods are there at once, at most; {SHARDS} or more.",
        ),
        "seed": Param(
            1,
            type="integer",
            minimum=0,
            maximum=10**9,
            title="Seed",
            description="The same seed makes the same programs.",
        ),
    },
) as dag:
    plan = items_pod(
        "plan",
        *("--total", "{{ params.total }}"),
        *("--per-pod", "{{ params.per_pod }}"),
        *("--seed", "{{ params.seed }}"),
    )
    with TaskGroup("work", prefix_group_id=False) as work:
        for number in range(SHARDS):
            shard(number)
    report = items_pod("report", branch=complete_or_fail, next_step=next_step)
    plan >> work >> report >> EmptyOperator(task_id="complete")
