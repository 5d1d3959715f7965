"""Which tasks PodExecutor runs, and what they give it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow import __version__
from airflow.sdk import DAG, Asset, Param
from airflow.serialization.serialized_objects import DagSerialization

from airflow_pods import NextRun, NextStep, PodOperator
from airflow_pods import task_rows as task_rows_module
from airflow_pods.next_step import call, name_of
from airflow_pods.operator import POD_EXECUTOR
from airflow_pods.templates import PodTemplate
from dags.dag_runs import follow_status
from dags.dag_runs import next_step as step_of_cycle

STEP = f"{step_of_cycle.__module__}:next_step"


@pytest.fixture(autouse=True)
def _pod_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", f"LocalExecutor,{POD_EXECUTOR}")


def operator(kind: type[PodOperator] = PodOperator, **changes: Any) -> PodOperator:
    """Return a task that PodExecutor can run, with these changes."""
    with DAG("pods", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), params={"cycle": 3}):
        return kind(
            **{
                "task_id": "pod",
                "name": "pod-{{ params.cycle }}",
                "namespace": "here",
                "image": "cpu:dev",
                "arguments": ["exec"],
                **changes,
            }
        )


def chosen(task: PodOperator) -> bool:
    """Return whether the task has chosen PodExecutor; if not, it must be as it is without that executor."""
    if task.executor == POD_EXECUTOR:
        return True
    assert not task.executor_config or "pod" not in task.executor_config
    return False


class Overriding(PodOperator):
    def resume(self, context: Any, event: Any) -> dict[str, Any] | None:
        return super().resume(context, event)


class Renamed(PodOperator):
    """A subclass that changes nothing of how a task ends."""


def hook(*_: Any, **__: Any) -> None:
    pass


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"deferrable": True},
        {"branch": follow_status, "next_step": step_of_cycle},
        {"skip_to": "{{ 'load' if params.cycle == 0 else '' }}"},
        {"on_refusal": lambda: ""},
        {"on_failure_callback": hook},
        {"retries": 3, "on_retry_callback": hook},
        {"execution_timeout": timedelta(minutes=1)},
        {"arguments": ["{{ ti.xcom_pull(task_ids='store') }}"]},
        {"name": "pod-{{ task_instance.map_index }}"},
        {"params": {"needed": Param(type="string")}},
        {"kind": Renamed},
    ],
)
def test_a_plain_task_chooses_pod_executor(changes: dict[str, Any]) -> None:
    assert chosen(operator(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"branch": follow_status},
        {"branch": follow_status, "next_step": lambda *_: NextStep("next")},
        {"branch": follow_status, "next_step": functools.partial(step_of_cycle, {})},
        {"executor": "LocalExecutor"},
        {"executor_config": {"mine": 1}},
        {"on_execute_callback": hook},
        {"on_success_callback": hook},
        {"pre_execute": hook},
        {"post_execute": hook},
        {"outlets": [Asset("out")]},
        {"multiple_outputs": True},
        {"arguments": ["{{ var.value.start }}"]},
        {"arguments": ["{{ params.cycle"]},
        {"arguments": lambda **_: ["exec"]},
        {"labels": {"day": "{{ ds }}"}},
        {"skip_to": "{{ conn.other.host }}"},
        {"kind": Overriding},
    ],
)
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_task_that_only_a_worker_can_run_leaves_pod_executor_alone(
    changes: dict[str, Any], deferrable: bool
) -> None:
    assert not chosen(operator(deferrable=deferrable, **changes))


def test_no_task_chooses_pod_executor_where_airflow_does_not_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    assert not chosen(operator())


def test_mapped_tasks_are_for_workers() -> None:
    with DAG("pods", schedule=None):
        common: Any = {"task_id": "pod", "name": "pod", "namespace": "here", "image": "cpu:dev"}
        mapped = PodOperator.partial(**common).expand(arguments=[["a"], ["b"]])
    assert mapped.executor is None


def test_the_function_of_a_dag_file_is_for_workers() -> None:
    scope: dict[str, Any] = {"__name__": "unusual_prefix_1234_file"}
    exec("def step(result, params): return None", scope)  # noqa: S102
    assert not chosen(operator(branch=follow_status, next_step=scope["step"]))


def test_executor_config_has_the_pod_and_what_follows_and_survives_serialisation() -> None:
    limit = timedelta(seconds=90)
    task = operator(
        branch=follow_status,
        next_step=step_of_cycle,
        execution_timeout=limit,
        labels={"cycle": "{{ params.cycle }}"},
        secret_env_vars={"URL": ("cpu-redis", "url")},
    )
    config = task.executor_config
    assert config is not None
    assert json.loads(json.dumps(config)) == config
    assert config["next_step"] == STEP
    assert config["execution_timeout"] == 90
    pod = PodTemplate(**config["pod"])
    assert (pod.name, pod.labels) == ("pod-{{ params.cycle }}", {"cycle": "{{ params.cycle }}"})
    serialised = json.loads(json.dumps(DagSerialization.to_dict(task.dag)))
    restored: Any = DagSerialization.from_dict(serialised).get_task("pod")
    assert restored.executor == POD_EXECUTOR
    assert restored.executor_config == config


def test_a_task_without_a_branch_has_no_next_step() -> None:
    config = operator().executor_config
    assert config is not None
    assert (config["next_step"], config["execution_timeout"]) == ("", None)


class Nested:
    @staticmethod
    def step(_result: dict[str, Any], _params: Mapping[str, Any]) -> None:
        return None


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (step_of_cycle, STEP),
        (lambda *_: None, ""),
        (Nested.step, ""),
        (name_of, "airflow_pods.next_step:name_of"),
    ],
)
def test_a_function_has_a_name_only_if_another_process_can_import_it(
    function: Callable[..., Any], name: str
) -> None:
    assert name_of(function) == name


def test_the_next_step_of_a_cycle_is_called_by_its_name() -> None:
    params = {"start": "s", "cpu": 2, "cycle": 3, "cycles": 1}
    next_cycle = {"start": "s", "cpu": 2, "cycle": 4, "cycles": 1}
    run = NextRun("cpu", "s.cpu-2.cycle-4", next_cycle)
    assert call(STEP, {"status": "ok", "cycle": 3}, params) == NextStep("next_cycle", run)
    assert call(STEP, {"status": "halted"}, params) == NextStep("halt")


DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


def test_this_version_of_airflow_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE, "postgresql+psycopg2://airflow@database/airflow")
    assert __version__ in task_rows_module.TESTED_VERSIONS
    assert task_rows_module.is_supported()


@pytest.mark.parametrize("other", ["version", "backend", "database"])
def test_another_airflow_is_not_supported(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.setenv(DATABASE, "postgresql+psycopg2://airflow@database/airflow")
    if other == "version":
        monkeypatch.setattr("airflow.__version__", "3.4.0")
    elif other == "backend":
        monkeypatch.setenv("AIRFLOW__CORE__XCOM_BACKEND", "elsewhere.ObjectStorage")
    else:
        monkeypatch.setenv(DATABASE, "mysql+mysqldb://airflow@database/airflow")
    assert not task_rows_module.is_supported()
