"""The pod operator in a worker, and in the triggerer after a worker."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import TriggerEvent
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from airflow_pods import REASON_KEY, PodOperator, PodRefused, PodTrigger, task_pods
from airflow_pods.manifest import Manifest
from dags.dag_runs import follow_status

PARAMS = {"cycle": 3, "name": "a"}
PULLED = "{{ params.cycle }}"  # from outside: not a template


def operator(**changes: Any) -> PodOperator:
    with DAG("pods", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        return PodOperator(
            **{
                "task_id": "pod",
                "name": "pod-{{ params.cycle }}",
                "random_name_suffix": False,
                "namespace": "here",
                "image": "cpu:dev",
                "arguments": ["exec", "--cycle", "{{ params.cycle }}"],
                "labels": {"cycle": "{{ params.cycle }}"},
                "env_vars": {"PLAIN": "{{ params.cycle }}"},
                "secret_env_vars": {"REDIS_URL": ("cpu-redis", "url")},
                **changes,
            }
        )


def deferred(params: dict[str, Any], **changes: Any) -> PodTrigger:
    """Return the trigger as the triggerer makes it from what a worker has deferred to."""
    with pytest.raises(TaskDeferred) as deferred:
        in_worker(params, deferrable=True, **changes).execute({})
    assert deferred.value.method_name == "resume"
    path, kwargs = deferred.value.trigger.serialize()
    assert path == f"{PodTrigger.__module__}.{PodTrigger.__qualname__}"
    return PodTrigger(**json.loads(json.dumps(kwargs)))


def outcome_of(trigger: PodTrigger) -> dict[str, Any]:
    """Return the outcome in the trigger's event."""

    async def first() -> TriggerEvent:
        return await anext(trigger.run())

    outcome: dict[str, Any] = asyncio.run(first()).payload
    return outcome


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Manifest]:
    """The manifests of the pods that have run."""
    ran: list[Manifest] = []

    @asynccontextmanager
    async def pod_result(_: str, manifest: Manifest, *__: Any) -> AsyncIterator[dict[str, Any]]:
        ran.append(manifest)
        yield {}

    monkeypatch.setattr(task_pods, "pod_result", pod_result)
    return ran


def in_worker(params: dict[str, Any], **changes: Any) -> PodOperator:
    task = operator(**changes).prepare_for_execution()
    assert isinstance(task, PodOperator)
    ti = SimpleNamespace(xcom_push=lambda key, value: None, xcom_pull=lambda: PULLED)
    task.render_template_fields(cast("Any", {"params": params, "ti": ti}))
    return task


def test_the_triggerer_runs_the_same_pod_as_a_worker(ran: list[Manifest]) -> None:
    expected = in_worker(PARAMS).manifest()
    assert expected["metadata"]["name"] == "pod-3"
    assert outcome_of(deferred(PARAMS)) == {"result": {}}
    assert in_worker(PARAMS).execute({}) == {}
    assert ran == [expected, expected]


def test_no_pod_runs_when_skip_to_names_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def pod_result(*_: Any) -> None:
        raise AssertionError("a pod ran")

    monkeypatch.setattr(task_pods, "pod_result", pod_result)
    skip_to = "{{ 'elsewhere' if params.cycle == 3 else '' }}"
    followed: list[str] = []
    monkeypatch.setattr(PodOperator, "do_branch", lambda _self, _context, task_id: followed.append(task_id))
    assert in_worker(PARAMS, skip_to=skip_to).execute({}) is None
    assert in_worker(PARAMS, skip_to=skip_to, deferrable=True).execute({}) is None
    assert followed == ["elsewhere", "elsewhere"]


@pytest.mark.parametrize("value", ["True", "False"])
def test_without_a_parameter_airflow_s_setting_decides_whether_a_task_defers(value: str) -> None:
    """Airflow's own operators read the setting when they are imported, too."""
    code = "from airflow_pods import PodOperator as P; "
    code += "print(P(task_id='a', name='a', namespace='a', image='a', arguments=[]).deferrable)"
    environment = {**os.environ, "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": value}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == value


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": ["{{ ti.xcom_pull() }}", "exec"]},
        {"arguments": lambda context, jinja_env: [context["ti"].xcom_pull(), "exec"]},
    ],
)
def test_what_a_worker_has_rendered_is_not_rendered_again(
    changes: dict[str, Any], ran: list[Manifest]
) -> None:
    assert outcome_of(deferred(PARAMS, **changes)) == {"result": {}}
    assert ran[0]["spec"]["containers"][0]["args"] == [PULLED, "exec"]


def test_an_unexpected_error_in_the_triggerer_reaches_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def pod_result(*_: Any) -> None:
        raise KeyError("\ud800\0")

    monkeypatch.setattr(task_pods, "pod_result", pod_result)
    outcome = outcome_of(deferred(PARAMS))
    assert outcome["error"].startswith("the pod can't be waited for: KeyError: ")
    assert outcome["error"].isprintable()
    assert not outcome["refused"]


def test_a_wrong_template_is_refused_in_a_worker() -> None:
    with pytest.raises(
        PodRefused, match="a template of the pod can't be rendered: UndefinedError: 'nothing'"
    ):
        in_worker(PARAMS, arguments=["{{ nothing.there }}"])


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_refusal_fails_the_task_unless_on_refusal_names_another(
    monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    followed: list[str] = []
    deleted: list[str] = []
    pushed: list[dict[str, str]] = []
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda **xcom: pushed.append(xcom))}

    def pod_result(*_: Any) -> None:
        raise PodRefused("cycle 3 is past")

    async def delete_by_name(_: str, manifest: Manifest, __: str) -> None:
        deleted.append(manifest["metadata"]["name"])

    monkeypatch.setattr(task_pods, "pod_result", pod_result)
    monkeypatch.setattr(task_pods, "delete_by_name", delete_by_name)
    monkeypatch.setattr(PodOperator, "do_branch", lambda _self, _context, task_id: followed.append(task_id))

    def end(refused: Any) -> None:
        task = in_worker(PARAMS, on_refusal=refused)
        if deferrable:
            task.resume(context, {"error": "cycle 3 is past", "refused": True})
        else:
            task.execute(context)

    for on_refusal in (None, lambda: ""):
        with pytest.raises(PodRefused, match="cycle 3 is past"):
            end(on_refusal)
    assert (followed, deleted) == ([], [])
    assert pushed == [{"key": REASON_KEY, "value": "cycle 3 is past"}] * 2
    end(lambda: "next")
    assert (followed, deleted) == (["next"], ["pod-3"])


def logged(task: PodOperator, result: Any) -> list[str]:
    """Return the lines that a task logs for a pod's result."""
    with capture_logs() as lines:
        assert task.resume({}, {"result": result}) == result
    return [line["event"] for line in lines]


def test_sentence_of_a_result_is_logged_before_the_result() -> None:
    result = {"sentence": "stored 9 instructions →\x9b31m", "instructions": 9}
    assert logged(in_worker(PARAMS), result) == [
        r"stored 9 instructions →\x9b31m",
        r'{"sentence": "stored 9 instructions →\x9b31m", "instructions": 9}',
    ]


@pytest.mark.parametrize("result", [{}, {"sentence": ""}, {"sentence": 9}, {"sentence": ["a", None]}])
def test_result_without_a_sentence_is_logged_as_it_is(result: dict[str, Any]) -> None:
    for more, text in (("→", "→"), ("\x9b31m\u202e", r"\x9b31m\u202e")):
        [line] = logged(in_worker(PARAMS), {"left": more, **result})
        assert line.startswith(f'{{"left": "{text}"')


anything = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one))


@example(sentence="one\n\ttwo", other=None)
@given(sentence=anything, other=anything)
def test_result_is_logged_and_kept_whatever_it_holds(sentence: Any, other: Any) -> None:
    assert all(line.isprintable() for line in logged(in_worker(PARAMS), {"sentence": sentence, "a": other}))


@pytest.mark.parametrize("result", [{}, {"status": "ok"}, {"status": "ok", "cycle": "1"}])
def test_a_result_that_the_branch_can_t_use_is_refused(
    monkeypatch: pytest.MonkeyPatch, result: dict[str, Any]
) -> None:
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda **_: None)}
    with pytest.raises(PodRefused, match="the pod's result lacks what the task needs: ") as raised:
        in_worker(PARAMS, branch=follow_status).resume(context, {"result": result})
    assert str(result)[1:-1] in str(raised.value)
