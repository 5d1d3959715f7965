"""Hostile programs and parameters: they reach the pod as they were given, or are refused before."""

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

from cpu import cli, source
from dags import cpu, cpu_start
from dags.pods import PodOperator
from scripts.kube.environment import expand
from tests.support import untrusted

RUN = SimpleNamespace(run_id="manual__1", run_after=datetime(2026, 11, 22, tzinfo=UTC))


def arguments_in_the_pod(dag: Any, task_id: str, params: dict[str, Any]) -> list[str]:
    """A pod's arguments as its process gets them, after Airflow's templates and Kubernetes' variables."""
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
def test_a_program_that_the_form_takes_arrives_in_its_pod_byte_for_byte(program: str) -> None:
    assume(not refuses(cpu_start.dag, "program", program))
    params: dict[str, Any] = {"bundled": "none", "program": program, "parts": "both", "cycles": 1}
    params["stop_at_first_answer"] = True
    given_ = arguments_in_the_pod(cpu_start.dag, "store", params)
    options = cli.parse(given_)
    assert options.start == cpu_start.start_id({"dag_run": RUN})
    assert source.decode(options.encoded) == program


@given(start=untrusted.name)
@pytest.mark.parametrize("task_id", ["load", "execute", "read"])
def test_no_parameter_is_taken_for_a_template_or_a_variable(task_id: str, start: str) -> None:
    params = {"start": start, "cpu": 1, "cycle": 2, "cycles": 3}
    given_ = arguments_in_the_pod(cpu.dag, task_id, params)
    assert given_[given_.index("--start") + 1] == start


@given(untrusted.name)
def test_a_start_run_s_name_is_a_dns_label_of_32_or_refused(name: str) -> None:
    fine = re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name) is not None and len(name) <= 32
    assert refuses(cpu.dag, "start", name) is not fine


@pytest.mark.parametrize("dag", [cpu.dag, cpu_start.dag], ids=["cpu", "cpu_start"])
@given(value=st.integers() | st.integers(-(10**400), 10**400) | untrusted.number | st.floats() | st.none())
def test_a_number_that_is_none_or_out_of_bounds_is_refused(dag: Any, value: Any) -> None:
    most = {"cpu": 10_000, "cycle": 10**12, "cycles": 10_000}
    for name in most.keys() & dag.params.keys():
        least = 1 if name == "cycles" else 0
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        assert refuses(dag, name, value) is not (is_whole and least <= value <= most[name])


def test_the_longest_names_are_names_that_kubernetes_takes() -> None:
    params = {"start": "a" * 32, "cpu": 10_000, "cycle": 10**12, "cycles": 10_000}
    for task_id in ("load", "execute", "read"):
        task = cpu.dag.get_task(task_id).prepare_for_execution()
        assert isinstance(task, PodOperator)
        task.render_template_fields({"params": params, "dag_run": RUN, "dag": cpu.dag})
        for name in (task.name, *task.labels.values()):
            assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)


@pytest.mark.parametrize("unkept", ["\x00", "\ud800"])
def test_a_character_that_no_database_keeps_is_refused_with_the_form(unkept: str) -> None:
    assert refuses(cpu_start.dag, "program", f"acc +1\n{unkept}\n")
    assert not refuses(cpu_start.dag, "program", "acc +1\r\n\x1b[31m\u2028{{ }}\U0001f600\n")
