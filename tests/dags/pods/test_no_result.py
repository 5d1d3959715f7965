"""Containers that leave no result: exit code 0 is enough where nothing needs one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from airflow.sdk import DAG

from airflow_pods import PodOperator, PodRefused, PodTrigger
from airflow_pods.operator import POD_EXECUTOR
from airflow_pods.runner import pod_result
from airflow_pods.status import has_failed, result_of
from airflow_pods.trigger import outcome_of
from tests.support.kubernetes_api import finished, statuses, terminated
from tests.support.nodeless import NAMESPACE, Nodeless
from tests.support.pod_sets import add_index, manifest

NOTHING = finished(main=terminated(None))
TEXT = finished(main=terminated("all done"))
OBJECT = finished(main=terminated('{"index": 0}'))
FAILED = {**finished(main=terminated("broken", 1)), "phase": "Failed"}


def operator(**parameters: Any) -> PodOperator:
    basics: dict[str, Any] = {"name": "count", "namespace": NAMESPACE, "image": "count:1"}
    with DAG("count", schedule=None):
        return PodOperator(task_id="count", **basics, **parameters)


class Ends:
    """Gives each pod its end as soon as it is created."""

    def __init__(self, endpoint: Nodeless) -> None:
        self.status = NOTHING
        self.created = 0
        self._endpoint = endpoint
        self._running = asyncio.create_task(self._run())

    def stop(self) -> None:
        self._running.cancel()

    async def _run(self) -> None:
        while True:
            for name, pod in self._endpoint.pods().items():
                if pod["status"]["phase"] == "Pending":
                    self.created += 1
                    self._endpoint.report(name, self.status)
            await asyncio.sleep(0.001)


@pytest_asyncio.fixture
async def ends(endpoint: Nodeless) -> AsyncIterator[Ends]:
    ends = Ends(endpoint)
    yield ends
    ends.stop()


async def worker(task: PodOperator) -> Any:
    return await outcome_of(task.template(), print, task.reduce)


async def triggerer(task: PodOperator) -> Any:
    stored = json.loads(json.dumps(task.template().to_json()))
    return (await anext(PodTrigger(**stored).run())).payload


@pytest.mark.parametrize("run", [worker, triggerer])
@pytest.mark.parametrize(
    ("do_xcom_push", "left", "result"),
    [
        (False, NOTHING, None),
        (False, TEXT, None),
        (False, OBJECT, None),
        (None, NOTHING, None),
        (None, OBJECT, {"index": 0}),
        (True, OBJECT, {"index": 0}),
    ],
)
async def test_a_pod_s_result_is_taken_if_it_is_wanted(
    endpoint: Nodeless, ends: Ends, run: Any, do_xcom_push: bool | None, left: Any, result: Any
) -> None:
    ends.status = left
    assert await run(operator(do_xcom_push=do_xcom_push)) == {"result": result}
    assert endpoint.pods() == {}


@pytest.mark.parametrize("run", [worker, triggerer])
@pytest.mark.parametrize(
    ("parameters", "left"),
    [
        ({"do_xcom_push": True}, NOTHING),
        ({"branch": str}, NOTHING),
        ({"next_step": str, "do_xcom_push": False}, NOTHING),
        ({}, TEXT),
    ],
)
async def test_a_result_that_is_needed_must_be_there(
    ends: Ends, run: Any, parameters: dict[str, Any], left: Any
) -> None:
    ends.status = left
    outcome = await run(operator(**parameters))
    assert outcome["refused"]
    assert "ended well but left" in outcome["error"]


@pytest.mark.parametrize("run", [worker, triggerer])
@pytest.mark.parametrize("left", [NOTHING, TEXT])
async def test_a_set_whose_pods_leave_no_result_succeeds(
    endpoint: Nodeless, ends: Ends, run: Any, left: Any
) -> None:
    ends.status = left
    outcome = await run(operator(count=5, do_xcom_push=False))
    assert (outcome["result"]["succeeded"], outcome["result"]["total"]) == (5, None)
    assert endpoint.pods() == {}


async def test_a_reduce_needs_the_results_of_the_pods(ends: Ends) -> None:
    outcome = await worker(operator(count=2, reduce=add_index, do_xcom_push=False))
    assert "left nothing as its result" in outcome["error"]


async def test_the_next_try_of_a_set_counts_the_pods_that_left_no_result(
    endpoint: Nodeless, ends: Ends
) -> None:
    task = operator(count=3, do_xcom_push=False, on_finish_action="keep_pod")
    await worker(task)
    assert (await worker(task))["result"]["succeeded"] == 3
    assert ends.created == 3


async def test_the_next_try_takes_over_a_pod_that_left_no_result(endpoint: Nodeless, ends: Ends) -> None:
    async with pod_result("kubernetes_default", manifest(), keep=True, wanted="ignored"):
        pass
    async with pod_result("kubernetes_default", manifest(), wanted="ignored") as result:
        assert result is None
    assert ends.created == 1


def pod(status: dict[str, Any], **metadata: Any) -> Any:
    from airflow_pods.pod import Pod

    spec = {"containers": [{"name": "main", "image": "count:1"}]}
    return Pod(
        json.loads(json.dumps({"metadata": {"name": "a", **metadata}, "spec": spec, "status": status}))
    )


def test_a_pod_that_others_have_ended_has_failed_even_if_its_container_exits_with_0() -> None:
    ended = {"phase": "Failed", "containerStatuses": statuses(main=terminated(None))}
    for status, metadata in (
        ({**ended, "reason": "DeadlineExceeded"}, {}),
        (ended, {"deletionTimestamp": "2026-11-26T07:00:00Z"}),
        (FAILED, {}),
    ):
        assert has_failed(pod(status, **metadata), "ignored")
    assert result_of(pod(ended), "ignored") is None


def test_a_task_without_a_result_pushes_none_and_follows_no_branch() -> None:
    pushed: list[Any] = []
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda **xcom: pushed.append(xcom))}
    assert operator().resume(context, {"result": None}) is None
    assert pushed == []


def test_a_branch_is_followed_without_an_xcom(monkeypatch: pytest.MonkeyPatch) -> None:
    followed: list[str] = []
    monkeypatch.setattr(PodOperator, "do_branch", lambda _self, _context, task_id: followed.append(task_id))
    pushed: list[Any] = []
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda **xcom: pushed.append(xcom))}
    task = operator(branch=lambda result: str(result["next"]), do_xcom_push=False)
    task.resume(context, {"result": {"next": "left"}})
    assert (followed, pushed) == (["left"], [])


def test_such_a_task_is_for_pod_executor_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", f"LocalExecutor,{POD_EXECUTOR}")
    for do_xcom_push in (False, None, True):
        assert operator(do_xcom_push=do_xcom_push).executor == POD_EXECUTOR


def test_the_error_of_a_result_that_is_no_json_says_how_to_do_without() -> None:
    with pytest.raises(PodRefused, match="do_xcom_push=False"):
        result_of(pod(TEXT), "optional")
