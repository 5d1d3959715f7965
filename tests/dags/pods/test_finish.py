"""What becomes of a task whose pod has failed, of the pod and of its log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException
from airflow.serialization.serialized_objects import DagSerialization
from structlog.testing import capture_logs

from airflow_pods import PodFailed, PodOperator, PodRefused
from airflow_pods import operator as operator_module
from airflow_pods.log_tail import log_tail
from airflow_pods.manifest import Manifest
from airflow_pods.templates import PodTemplate
from airflow_pods.trigger import outcome_of
from tests.support.kubernetes_api import (
    PODS,
    KubernetesApi,
    finished,
    kubeconfig,
    rejection,
    serving,
    terminated,
)


class ApiWithLogs(KubernetesApi):
    """The fake API, with a log for each pod."""

    def __init__(self) -> None:
        super().__init__()
        self.log = "first\nlast \x1b[31m\n"
        self.log_status = 200
        self.asked: dict[str, str] = {}

    async def read_log(self, request: web.Request) -> web.Response:
        self.asked = dict(request.query)
        if self.log_status != 200:
            return rejection(self.log_status, "pods/log is forbidden")
        return web.Response(text=self.log)


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiWithLogs]:
    api = ApiWithLogs()
    async with serving(api, {PODS + "/{name}/log": api.read_log}) as server:
        connection = {"conn_type": "kubernetes", "extra": {"kube_config": kubeconfig(server)}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        yield api


def operator(**parameters: Any) -> PodOperator:
    with DAG("count", schedule=None):
        task = PodOperator(task_id="count", name="count-1", namespace="jobs", image="count:1", **parameters)
    found = task.prepare_for_execution()
    assert isinstance(found, PodOperator)
    return found


@pytest.mark.parametrize(("code", "refused"), [(3, False), (2, True)])
async def test_the_outcome_of_a_failed_pod_has_its_exit_code(
    api: ApiWithLogs, code: int, refused: bool
) -> None:
    api.final_status = {**finished(main=terminated("no data", code)), "phase": "Failed"}
    outcome = await outcome_of(operator().template(), print)
    assert (outcome["refused"], outcome["exit_code"]) == (refused, code)
    assert json.loads(json.dumps(outcome)) == outcome


@pytest.mark.parametrize(
    ("action", "left"), [("delete_succeeded_pod", 0), ("delete_pod", 0), ("keep_pod", 1)]
)
async def test_a_pod_that_has_succeeded_is_deleted_unless_it_is_to_be_kept(
    api: ApiWithLogs, action: str, left: int
) -> None:
    assert await outcome_of(operator(on_finish_action=action).template(), print) == {"result": {"acc": 5}}
    assert len(api.pods) == left


async def test_the_log_s_last_lines_are_read_and_are_printable(api: ApiWithLogs) -> None:
    lines = await log_tail("kubernetes_default", operator().manifest())
    assert lines == ["The last lines of the log of pod count-1:", "first", r"last \x1b[31m"]
    assert api.asked == {"container": "main", "tailLines": "50"}
    api.log = ""
    assert await log_tail("kubernetes_default", operator().manifest()) == ["Pod count-1 has logged nothing"]
    api.log = "a\n" * 20_000 + "last"
    long = await log_tail("kubernetes_default", operator().manifest())
    assert long[-1] == "last"
    assert len("\n".join(long)) < 17_000


@pytest.mark.parametrize("status", [403, 404])
async def test_a_log_that_cannot_be_read_is_one_line_that_says_why(api: ApiWithLogs, status: int) -> None:
    api.log_status = status
    [line] = await log_tail("kubernetes_default", operator().manifest())
    assert line == f"The log of pod count-1 cannot be read: {status} pods/log is forbidden"


class Recorded:
    """The calls of the operator to the cluster, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []

        async def log_tail(_: str, manifest: Manifest) -> list[str]:
            self.calls.append("log")
            return ["the last line"]

        async def delete_task_pods(_: PodTemplate) -> None:
            self.calls.append("delete")

        monkeypatch.setattr(operator_module, "log_tail", log_tail)
        monkeypatch.setattr(operator_module, "delete_task_pods", delete_task_pods)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    return Recorded(monkeypatch)


def resume(task: PodOperator, outcome: dict[str, Any]) -> None:
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda **_: None)}
    task.resume(context, outcome)


FAILED = {"error": "pod count-1 failed", "refused": False, "exit_code": 3}


@pytest.mark.parametrize(
    ("action", "calls"),
    [("delete_succeeded_pod", ["log"]), ("delete_pod", ["log", "delete"]), ("keep_pod", ["log"])],
)
def test_a_failed_pod_s_log_is_read_before_the_pod_is_deleted(
    recorded: Recorded, action: str, calls: list[str]
) -> None:
    with capture_logs() as lines, pytest.raises(PodFailed, match="pod count-1 failed"):
        resume(operator(on_finish_action=action), FAILED)
    assert recorded.calls == calls
    assert [line["event"] for line in lines] == ["the last line"]


def test_no_log_is_read_of_a_pod_whose_container_has_not_ended(recorded: Recorded) -> None:
    with pytest.raises(PodRefused):
        resume(operator(), {"error": "pod count-1 can't start", "refused": True})
    assert recorded.calls == []


@pytest.mark.parametrize("codes", [3, [3], {4, 3}, (3,), range(3, 5)])
@pytest.mark.parametrize(("action", "calls"), [("delete_succeeded_pod", []), ("delete_pod", ["delete"])])
def test_an_exit_code_skips_the_task(recorded: Recorded, codes: Any, action: str, calls: list[str]) -> None:
    with pytest.raises(AirflowSkipException, match="pod count-1 failed"):
        resume(operator(skip_on_exit_code=codes, on_finish_action=action), FAILED)
    assert recorded.calls == calls


@pytest.mark.parametrize("codes", [None, 4, [4, 99], 0, []])
def test_other_exit_codes_fail_the_task(recorded: Recorded, codes: Any) -> None:
    with pytest.raises(PodFailed):
        resume(operator(skip_on_exit_code=codes), FAILED)


def test_the_task_links_to_the_log_of_its_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://logs.example/?namespace={namespace}&pod={pod}"
    expected = "https://logs.example/?namespace=jobs&pod=count-1"
    task = operator(pod_log_url=url)
    [link] = task.operator_extra_links
    assert link.get_link(task, ti_key=cast("Any", None)) == expected
    pushed: dict[str, str] = {}

    async def outcome_of(*_: Any) -> dict[str, Any]:
        return {"result": {}}

    monkeypatch.setattr(operator_module, "outcome_of", outcome_of)
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))}
    task.execute(context)
    assert pushed == {link.xcom_key: expected}


def test_a_task_without_a_url_has_no_link() -> None:
    assert not operator().operator_extra_links


def test_the_link_is_in_what_the_ui_knows_of_the_dag() -> None:
    with DAG("links", schedule=None) as dag:
        for task_id, url in (("with", "https://logs.example/{pod}"), ("without", "")):
            PodOperator(task_id=task_id, name="a", namespace="jobs", image="count:1", pod_log_url=url)
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert {task.task_id: task.extra_links for task in stored.tasks} == {"with": ["Pod log"], "without": []}


def test_the_setting_is_the_url_of_all_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_PODS__POD_LOG_URL", "https://logs.example/{pod}")
    assert operator().template().pod_log_url == "https://logs.example/{pod}"
    assert operator(pod_log_url="").template().pod_log_url == ""
    assert operator(pod_log_url="https://b.example/{pod}").template().pod_log_url == "https://b.example/{pod}"
