"""A DAG run whose conf has an unknown key is refused before any pod runs, and the key is named."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.definitions.param import process_params
from airflow.serialization.serialized_objects import DagSerialization

from airflow_pods import REASON_KEY, PodOperator, PodRefused
from airflow_pods.conf import MAX_KEYS, unknown_keys
from dags import cpu, cpu_answers, cpu_cancel, cpu_start, cpu_watch, items

DAGS = [cpu.dag, cpu_start.dag, cpu_watch.dag, cpu_cancel.dag, cpu_answers.dag, items.dag]


def context_of(dag: Any, task: Any, conf: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a task's context that rendering needs, with the XComs that it pushes."""
    xcoms: dict[str, str] = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: xcoms.update({key: value}))
    run = SimpleNamespace(dag_id=dag.dag_id, run_id="r", run_after=datetime.now(UTC), conf=conf)
    params = process_params(dag, task, {"start": "s", **conf}, suppress_exception=False)
    if "start" not in dag.params:
        del params["start"]
    return {"dag": dag, "dag_run": run, "ti": ti, "params": params, "xcoms": xcoms}


def refusal(dag: Any, conf: dict[str, Any]) -> str:
    """Return why the first task of a run with this conf refuses it; its XCom has the same reason."""
    [first] = [task for task in dag.tasks if not task.upstream_task_ids]
    context = context_of(dag, first, conf)
    with pytest.raises(PodRefused) as refused:
        first.prepare_for_execution().render_template_fields(context)
    assert context["xcoms"] == {REASON_KEY: str(refused.value)}
    return str(refused.value)


@pytest.mark.parametrize(
    ("dag", "key", "nearest"),
    [
        (cpu_start.dag, "Program", "program"),
        (cpu_start.dag, "cycle", "cycles"),
        (cpu_start.dag, "stop_at_the_first_answer", "stop_at_first_answer"),
        (cpu.dag, "CPU", "cpu"),
        (cpu_watch.dag, "starts", "start"),
        (cpu_cancel.dag, "start_", "start"),
    ],
)
def test_an_unknown_key_is_refused_and_the_most_similar_parameter_is_suggested(
    dag: Any, key: str, nearest: str
) -> None:
    message = refusal(dag, {key: "nop +0"})
    assert f"DAG {dag.dag_id} has no parameter {key!r} (did you mean {nearest!r}?)" in message


def test_parameters_nested_one_level_too_deep_are_refused() -> None:
    message = refusal(cpu_start.dag, {"params": {"program": "nop +0"}})
    assert "no parameter 'params' (give its content directly)" in message


def test_a_key_without_a_similar_parameter_is_refused_with_the_names_of_all_parameters() -> None:
    message = refusal(cpu_cancel.dag, {"start": "s", "x{{ 7 * 7 }}\n": 1})
    assert message == "DAG cpu_cancel has no parameter 'x{{ 7 * 7 }}\\n'; its parameters are start"


def test_a_refusal_of_many_long_keys_is_short() -> None:
    message = unknown_keys("cpu", {str(number) * 10_000: number for number in range(10_000)}, ["start"])
    assert len(message) < 500
    assert f"{10_000 - MAX_KEYS} more" in message


@pytest.mark.parametrize("dag", DAGS)
def test_a_run_with_known_keys_only_is_accepted(dag: Any) -> None:
    [first] = [task for task in dag.tasks if not task.upstream_task_ids]
    first.prepare_for_execution().render_template_fields(context_of(dag, first, {}))


@pytest.mark.parametrize("dag", DAGS)
def test_every_pod_task_refuses_unknown_keys(dag: Any) -> None:
    assert all(task.strict_conf for task in dag.tasks if isinstance(task, PodOperator))


def test_unknown_keys_are_refused_by_the_dag_that_airflow_has_stored() -> None:
    """PodExecutor has no other."""
    pod: Any = cpu.dag.get_task("execute")
    kept = DagSerialization.from_dict(DagSerialization.to_dict(cpu.dag))
    context = context_of(cpu.dag, pod, {"Cycle": 1}) | {"dag": kept}
    with pytest.raises(PodRefused, match=r"no parameter 'Cycle' \(did you mean 'cycle'\?\)"):
        pod.template().rendered(context, pod.get_template_env())
