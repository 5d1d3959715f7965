"""The branch that PodExecutor takes is the one that a worker takes, in DAGs of any shape."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import DownstreamTasksSkipped
from airflow.serialization.serialized_objects import DagSerialization
from hypothesis import given
from hypothesis import strategies as st

from airflow_pods import PodOperator
from airflow_pods.task_rows import _branch

TASKS = 7
EDGES = [(first, second) for second in range(TASKS) for first in range(second)]
POD = "t2"


def dag_of(edges: set[tuple[int, int]]) -> DAG:
    with DAG("shape", schedule=None) as dag:
        made: list[Any] = [EmptyOperator(task_id=f"t{number}") for number in range(TASKS) if number != 2]
        made.insert(2, PodOperator(task_id=POD, name="n", namespace="n", image="i", arguments=[]))
    for first, second in edges:
        made[first] >> made[second]
    return dag


def by_worker(dag: DAG, follow: str) -> tuple[set[str], set[str]]:
    """Return which tasks a worker follows, and which it skips."""
    pushed: dict[str, Any] = {}
    pod: Any = dag.get_task(POD)
    ti: Any = SimpleNamespace(
        task=pod, map_index=-1, xcom_push=lambda key, value: pushed.update({key: value})
    )
    skipped: set[str] = set()
    try:
        pod.do_branch({"ti": ti}, follow)
    except DownstreamTasksSkipped as end:
        skipped = {one[0] if isinstance(one, tuple) else one for one in end.tasks}
    return set(pushed.get("skipmixin_key", {"followed": []})["followed"]), skipped


@given(edges=st.sets(st.sampled_from(EDGES), max_size=14), follow=st.integers(0, TASKS - 1))
def test_the_branch_is_that_of_a_worker(edges: set[tuple[int, int]], follow: int) -> None:
    dag = dag_of(edges)
    restored: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    followed, skipped = _branch(restored, POD, f"t{follow}")
    assert (set(followed), set(skipped)) == by_worker(dag, f"t{follow}")
