"""The pod operator's two ways: in a worker, and handed over to the triggerer by the scheduler."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import TriggerEvent
from structlog.testing import capture_logs

from dags import cpu
from dags.pods import WHY, PodOperator, PodTrigger
from dags.pods import operator as module
from dags.pods.manifest import Manifest
from dags.pods.status import PodRefused

PARAMS = {"cycle": 3, "name": "a"}


def operator(deferrable: bool, **changes: Any) -> PodOperator:
    with DAG("pods", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        return PodOperator(
            **{
                "task_id": "pod",
                "name": "pod-{{ params.cycle }}",
                "namespace": "here",
                "image": "cpu:dev",
                "args": ["exec", "--cycle", "{{ params.cycle }}"],
                "labels": {"cycle": "{{ params.cycle }}"},
                "env": {"PLAIN": "{{ params.cycle }}"},
                "secret_env": {"REDIS_URL": ("cpu-redis", "url")},
                "deferrable": deferrable,
                **changes,
            }
        )


def handed_over(task: PodOperator, params: dict[str, Any]) -> PodTrigger:
    """The trigger as the triggerer makes it from what the scheduler has stored, and renders it."""
    assert task.start_from_trigger
    assert task.start_trigger_args
    assert task.start_trigger_args.trigger_cls == f"{PodTrigger.__module__}.{PodTrigger.__qualname__}"
    trigger = PodTrigger(**json.loads(json.dumps(task.start_trigger_args.trigger_kwargs)))
    trigger.task_instance = cast("Any", SimpleNamespace(task=task, task_id="pod"))
    trigger.render_template_fields({"params": params})
    return trigger


def event(trigger: PodTrigger) -> dict[str, Any]:
    """What the trigger tells the task."""

    async def first() -> TriggerEvent:
        return await anext(trigger.run())

    told: dict[str, Any] = asyncio.run(first()).payload
    return told


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Manifest]:
    """The pods that have run."""
    ran: list[Manifest] = []

    async def run_pod(_: str, manifest: Manifest) -> dict[str, Any]:
        ran.append(manifest)
        return {}

    monkeypatch.setattr(module, "run_pod", run_pod)
    return ran


def in_worker(params: dict[str, Any], **changes: Any) -> PodOperator:
    task = operator(deferrable=False, **changes).prepare_for_execution()
    assert isinstance(task, PodOperator)
    ti = SimpleNamespace(xcom_push=lambda key, value: None)
    task.render_template_fields(cast("Any", {"params": params, "ti": ti}))
    return task


def test_the_triggerer_runs_the_very_pod_that_a_worker_would(ran: list[Manifest]) -> None:
    expected = in_worker(PARAMS).manifest()
    assert expected["metadata"]["name"] == "pod-3"
    assert event(handed_over(operator(deferrable=True), PARAMS)) == {"result": {}}
    assert ran == [expected]


def test_a_trigger_is_found_again_as_it_was() -> None:
    trigger = handed_over(operator(deferrable=True), PARAMS)
    path, kwargs = trigger.serialize()
    assert path == f"{PodTrigger.__module__}.{PodTrigger.__qualname__}"
    assert PodTrigger(**kwargs).serialize() == (path, kwargs)


def test_where_another_task_is_to_follow_no_pod_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_pod(*_: Any) -> None:
        raise AssertionError("a pod ran")

    monkeypatch.setattr(module, "run_pod", run_pod)
    instead = "{{ 'elsewhere' if params.cycle == 3 else '' }}"
    followed: list[str] = []
    monkeypatch.setattr(PodOperator, "do_branch", lambda _self, _context, task_id: followed.append(task_id))
    assert in_worker(PARAMS, instead=instead).execute({}) is None
    told = event(handed_over(operator(deferrable=True, instead=instead), PARAMS))
    assert operator(deferrable=True).resume({}, told) is None
    assert followed == ["elsewhere", "elsewhere"]


@pytest.mark.parametrize(
    "changes",
    [
        {"args": ["{{ ti.xcom_pull(task_ids='store') }}"]},
        {"args": ["{{ params.cycle }} {{ var.value.start }}"]},
        {"args": ["{{ params.cycle"]},
        {"args": ["{{ params.cycle | no_such_filter }}"]},
        {"name": "pod-{{ nothing.there }}"},
        {"labels": {"map": "{{ task_instance.map_index }}"}},
        {"instead": "{{ conn.other.host }}"},
        {"args": lambda **_: ["exec"]},
        {"params": {"needed": Param(type="string")}},
    ],
)
def test_what_a_triggerer_can_t_render_is_begun_by_a_worker(changes: dict[str, Any]) -> None:
    assert operator(deferrable=True).start_from_trigger
    assert not operator(deferrable=True, **changes).start_from_trigger


def test_a_parameter_of_the_dag_that_has_no_default_is_left_to_a_worker() -> None:
    with DAG("pods", schedule=None, params={"needed": Param(type="string")}):
        task = PodOperator(task_id="pod", name="pod", namespace="n", image="i", args=[], deferrable=True)
    assert not task.start_from_trigger


@pytest.mark.parametrize(
    "changes",
    [
        {"args": ["{{ ti.xcom_pull() }}", "exec"]},
        {"args": lambda context, jinja_env: [context["ti"].xcom_pull(), "exec"]},
    ],
)
def test_a_worker_renders_what_it_hands_over_and_the_triggerer_does_not_again(
    changes: dict[str, Any], ran: list[Manifest]
) -> None:
    task = operator(deferrable=True, **changes).prepare_for_execution()
    assert isinstance(task, PodOperator)
    pulled = "{{ params.cycle }}"  # from outside: not a template
    context: Any = {"params": PARAMS, "ti": SimpleNamespace(xcom_pull=lambda: pulled)}
    task.render_template_fields(context)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})
    assert deferred.value.method_name == "resume"
    path, kwargs = deferred.value.trigger.serialize()
    assert path == f"{PodTrigger.__module__}.{PodTrigger.__qualname__}"
    trigger = PodTrigger(**json.loads(json.dumps(kwargs)))
    trigger.render_template_fields({"params": PARAMS})
    assert event(trigger) == {"result": {}}
    assert ran == [task.manifest()]
    assert ran[0]["spec"]["containers"][0]["args"] == [pulled, "exec"]


@pytest.mark.parametrize(
    ("argument", "error", "refused"),
    [
        ("{{ params.missing.more }}", "template .* UndefinedError: .*missing", True),
        ("{{ params.cycle / 0 }}", "can't be waited for: ZeroDivisionError", False),
    ],
)
def test_what_goes_wrong_in_the_triggerer_is_told_to_the_task(
    argument: str, error: str, refused: bool
) -> None:
    told = event(handed_over(operator(deferrable=True, args=[argument]), PARAMS))
    assert re.search(error, told["error"])
    assert told["refused"] is refused


def test_an_error_that_nobody_expected_is_told_to_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_pod(*_: Any) -> None:
        raise KeyError("\ud800\0")

    monkeypatch.setattr(module, "run_pod", run_pod)
    told = event(handed_over(operator(deferrable=True), PARAMS))
    assert told["error"].startswith("the pod can't be waited for: KeyError: ")
    assert told["error"].isprintable()
    assert not told["refused"]


def test_a_template_that_is_wrong_is_refused_in_a_worker_too() -> None:
    with pytest.raises(
        PodRefused, match="a template of the pod can't be rendered: UndefinedError: 'nothing'"
    ):
        in_worker(PARAMS, args=["{{ nothing.there }}"])


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_refusal_fails_the_task_unless_another_one_is_to_follow(
    monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    followed: list[str] = []
    deleted: list[str] = []
    told: list[dict[str, str]] = []
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda **xcom: told.append(xcom))}

    async def run_pod(*_: Any) -> None:
        raise PodRefused("cycle 3 is past")

    async def delete_by_name(_: str, manifest: Manifest) -> None:
        deleted.append(manifest["metadata"]["name"])

    monkeypatch.setattr(module, "run_pod", run_pod)
    monkeypatch.setattr(module, "delete_by_name", delete_by_name)
    monkeypatch.setattr(PodOperator, "do_branch", lambda _self, _context, task_id: followed.append(task_id))

    def end(refused: Any) -> None:
        task = in_worker(PARAMS, refused=refused)
        if deferrable:
            task.resume(context, {"error": "cycle 3 is past", "refused": True})
        else:
            task.execute(context)

    for nobody in (None, lambda: ""):
        with pytest.raises(PodRefused, match="cycle 3 is past"):
            end(nobody)
    assert (followed, deleted) == ([], [])
    assert told == [{"key": WHY, "value": "cycle 3 is past"}] * 2
    end(lambda: "next")
    assert (followed, deleted) == (["next"], ["pod-3"])


def logged(task: PodOperator, result: Any) -> list[str]:
    """The lines that a task writes of a pod's result."""
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


@pytest.mark.parametrize("result", [{}, {"status": "ok"}, {"status": "ok", "cycle": "1"}])
def test_a_result_that_the_branch_can_t_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, result: dict[str, Any]
) -> None:
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda **_: None)}
    with pytest.raises(PodRefused, match="the pod's result lacks what the task needs: ") as raised:
        in_worker(PARAMS, branch=cpu.after).resume(context, {"result": result})
    assert str(result)[1:-1] in str(raised.value)
