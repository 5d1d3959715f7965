"""Untrusted programs and parameters reach the pod unchanged, or are refused before."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Param
from airflow.sdk.exceptions import ParamValidationError
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_pods import PodOperator
from cpu import cli, source
from dags import cpu, cpu_start, start_form
from scripts.kube.environment import expand
from tests.support import untrusted

RUN = SimpleNamespace(run_id="manual__1", run_after=datetime(2026, 11, 22, tzinfo=UTC))


def arguments_in_the_pod(dag: Any, task_id: str, params: dict[str, Any]) -> list[str]:
    """Return a pod's arguments after Airflow has rendered templates and Kubernetes has expanded variables."""
    task = dag.get_task(task_id).prepare_for_execution()
    assert isinstance(task, PodOperator)
    task.render_template_fields({"params": params, "dag_run": RUN, "dag": dag})
    [container] = task.manifest()["spec"]["containers"]
    return [expand(argument, {"REDIS_URL": "redis://:secret@host"}) for argument in container["args"]]


def refuses(dag: Any, name: str, value: Any) -> bool:
    schema = dag.params.get_param(name).schema
    try:
        Param(value, **schema).resolve()
    except ParamValidationError:
        return True
    return False


@given(untrusted.program)
def test_program_that_the_form_accepts_reaches_its_pod_byte_for_byte(program: str) -> None:
    assume(not refuses(cpu_start.dag, "program", program))
    params: dict[str, Any] = {"bundled": "example", "program": program, "parts": "both", "cycles": 1}
    params["stop_at_first_answer"] = True
    args = arguments_in_the_pod(cpu_start.dag, "store", params)
    options = cli.parse(args)
    assert options.start == start_form.start_id({"dag_run": RUN})
    assert source.decode(options.encoded) == program


@given(start=untrusted.name)
@pytest.mark.parametrize("task_id", ["load", "execute", "read"])
def test_parameter_is_never_rendered_as_a_template_or_expanded_as_a_variable(
    task_id: str, start: str
) -> None:
    params = {"start": start, "cpu": 1, "cycle": 2, "cycles": 3}
    args = arguments_in_the_pod(cpu.dag, task_id, params)
    assert args[args.index("--start") + 1] == start


@given(untrusted.name)
def test_name_of_a_start_run_that_is_not_a_dns_label_of_32_is_refused(name: str) -> None:
    fine = re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name) is not None and len(name) <= 32
    assert refuses(cpu.dag, "start", name) is not fine


@pytest.mark.parametrize("dag", [cpu.dag, cpu_start.dag], ids=["cpu", "cpu_start"])
@given(value=st.integers() | st.integers(-(10**400), 10**400) | untrusted.number | st.floats() | st.none())
def test_value_that_is_not_a_number_within_bounds_is_refused(dag: Any, value: Any) -> None:
    most = {"cpu": 10_000, "cycle": 10**12, "cycles": 10_000}
    for name in most.keys() & dag.params.keys():
        least = 1 if name == "cycles" else 0
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        assert refuses(dag, name, value) is not (is_whole and least <= value <= most[name])


def test_longest_pod_names_and_labels_are_valid_in_kubernetes() -> None:
    params = {"start": "a" * 32, "cpu": 10_000, "cycle": 10**12, "cycles": 10_000}
    for task_id in ("load", "execute", "read"):
        task = cpu.dag.get_task(task_id).prepare_for_execution()
        assert isinstance(task, PodOperator)
        task.render_template_fields({"params": params, "dag_run": RUN, "dag": cpu.dag})
        for name in (task.name, *task.labels.values()):
            assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)


@pytest.mark.parametrize("character", ["\x00", "\ud800"])
def test_character_that_postgresql_cannot_hold_is_refused_by_the_form(character: str) -> None:
    assert refuses(cpu_start.dag, "program", f"acc +1\n{character}\n")
    assert not refuses(cpu_start.dag, "program", "acc +1\r\n\x1b[31m\u2028{{ }}\U0001f600\n")
