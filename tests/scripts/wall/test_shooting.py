"""Killing a pod from the wall: whose requests are granted, and which pod dies."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow.models.dag import DagModel
from fastapi import FastAPI

from airflow_pods import manifest_of
from dags import settings
from tests.support.kubernetes_api import finished, kubeconfig
from tests.support.nodeless import NAMESPACE, InThread, serving_in_thread

with warnings.catch_warnings(action="ignore"):  # Airflow imports what Starlette deprecates
    from airflow.api_fastapi import app as airflow_app
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api import security

    from scripts.wall import app as walls
    from scripts.wall import shooting

PATH = "/cpu-wall/api/starts/here/cpus/8/shoot"
USER = "user"
"""The least role that may edit DAG runs; `viewer` may only see them."""
SENT_UNASKED = [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
"""The media types that a browser sends to another origin without asking it, with the cookies of the site."""


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InThread]:
    """A Kubernetes without a node, which the API server's connection leads to."""
    with serving_in_thread(tmp_path) as (endpoint, url):
        connection = {"conn_type": "kubernetes", "extra": {"kube_config": kubeconfig(url)}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        monkeypatch.setitem(settings.POD, "namespace", NAMESPACE)
        yield endpoint


class Visitor:
    """A client of an API server with the wall, whose user has a role."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.role: str | None = USER
        self.logged = 0

    def user(self) -> SimpleAuthManagerUser:
        return SimpleAuthManagerUser(username="somebody", role=self.role)

    async def log(self) -> None:
        """Count what Airflow would write to its audit log."""
        self.logged += 1


@pytest.fixture
async def visitor(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Visitor]:
    """Somebody who may edit DAG runs, on an Airflow that allows to kill pods."""
    monkeypatch.setenv(shooting.SETTING, "true")
    monkeypatch.setattr(airflow_app._AuthManagerState, "instance", SimpleAuthManager())  # type: ignore[no-untyped-call]
    monkeypatch.setattr(DagModel, "get_team_name", lambda _: None)
    airflow = FastAPI()
    airflow.mount("/cpu-wall", walls.app)
    transport = httpx.ASGITransport(airflow)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
        visitor = Visitor(client)
        monkeypatch.setitem(walls.app.dependency_overrides, security.get_user, visitor.user)
        monkeypatch.setitem(walls.app.dependency_overrides, walls.LOG_SHOT, visitor.log)
        yield visitor


def pod(cpu: int, cycle: int, start: str = "here") -> Any:
    return manifest_of(
        name=f"cpu-{start}-{cpu}-{cycle}-exec",
        namespace=NAMESPACE,
        image="cpu:1",
        arguments=[],
        labels={"app": "cluster-cpu", "start": start, "cpu": str(cpu), "cycle": str(cycle)},
        env_vars={},
        secret_env_vars={},
        active_deadline_seconds=60,
    )


def create(endpoint: InThread, *pods: Any) -> None:
    for one in pods:
        endpoint.call(endpoint.endpoint.create, one)


def names(endpoint: InThread) -> set[str]:
    return set(endpoint.call(endpoint.endpoint.pods))


async def test_the_pod_of_the_cpu_is_killed_and_no_other(visitor: Visitor, endpoint: InThread) -> None:
    others = [pod(0, 3), pod(81, 3), pod(8, 3, "there")]
    create(endpoint, pod(8, 3), *others)
    answer = await visitor.client.post(PATH, json={})
    assert (answer.status_code, answer.json()) == (200, {"pod": "cpu-here-8-3-exec", "cycle": 3})
    assert names(endpoint) == {one["metadata"]["name"] for one in others}
    assert visitor.logged == 1


async def test_a_pod_that_has_finished_is_left_alone_and_the_next_one_killed(
    visitor: Visitor, endpoint: InThread
) -> None:
    create(endpoint, pod(8, 3))
    endpoint.call(endpoint.endpoint.report, "cpu-here-8-3-exec", finished())
    shot = asyncio.create_task(visitor.client.post(PATH, json={}))
    async with asyncio.timeout(30):
        while not endpoint.endpoint.watches:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    create(endpoint, pod(8, 4))
    assert (await shot).json() == {"pod": "cpu-here-8-4-exec", "cycle": 4}
    assert names(endpoint) == {"cpu-here-8-3-exec"}


async def test_a_cpu_without_a_pod_is_404(
    visitor: Visitor, endpoint: InThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shooting, "WAIT_SECONDS", 1)
    answer = await visitor.client.post(PATH, json={})
    assert answer.status_code == 404
    assert "CPU 8 had no pod for 1 s" in answer.json()["detail"]


async def test_a_kubernetes_that_refuses_is_503_with_its_reason(visitor: Visitor, endpoint: InThread) -> None:
    endpoint.endpoint.refuses = lambda _: 403
    answer = await visitor.client.post(PATH, json={})
    assert answer.status_code == 503
    assert "refused with 403" in answer.json()["detail"]


async def test_simultaneous_shots_at_one_cpu_kill_one_pod(visitor: Visitor, endpoint: InThread) -> None:
    create(endpoint, pod(8, 3))
    answers = await asyncio.gather(*(visitor.client.post(PATH, json={}) for _ in range(5)))
    assert {answer.text for answer in answers} == {answers[0].text}
    assert answers[0].json()["cycle"] == 3


# ------------------------------------------------------------------ rights


@pytest.mark.parametrize("role", [None, "viewer"])
async def test_who_may_not_edit_dag_runs_is_refused_and_no_pod_dies(
    visitor: Visitor, endpoint: InThread, role: str | None
) -> None:
    visitor.role = role
    create(endpoint, pod(8, 3))
    assert (await visitor.client.post(PATH, json={})).status_code == 403
    assert names(endpoint) == {"cpu-here-8-3-exec"}
    assert visitor.logged == 0


@pytest.mark.parametrize("value", ["", "false", "1"])
async def test_it_is_off_unless_the_setting_says_true(
    visitor: Visitor, endpoint: InThread, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(shooting.SETTING, value)
    create(endpoint, pod(8, 3))
    answer = await visitor.client.post(PATH, json={})
    assert answer.status_code == 403
    assert "CPU_SHOOT=true" in answer.json()["detail"]
    assert names(endpoint) == {"cpu-here-8-3-exec"}
    assert (await visitor.client.get("/cpu-wall/api/rights")).json() == {"cancel": True, "shoot": False}


@pytest.mark.parametrize("media_type", SENT_UNASKED)
async def test_what_a_page_elsewhere_can_send_is_refused_and_no_pod_dies(
    visitor: Visitor, endpoint: InThread, media_type: str | None
) -> None:
    create(endpoint, pod(8, 3))
    headers = {"Content-Type": media_type} if media_type else {}
    answer = await visitor.client.post(PATH, content=b"{}", headers=headers)
    assert answer.status_code == 422
    assert (await visitor.client.get(PATH)).status_code == 405
    preflight = {"Origin": "http://elsewhere", "Access-Control-Request-Method": "POST"}
    answer = await visitor.client.options(PATH, headers=preflight)
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert names(endpoint) == {"cpu-here-8-3-exec"}


@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("user", True), ("op", True), ("admin", True)])
async def test_the_rights_are_those_that_airflow_grants(visitor: Visitor, role: str, may: bool) -> None:
    visitor.role = role
    answer = await visitor.client.get("/cpu-wall/api/rights")
    assert answer.json() == {"cancel": may, "shoot": may}
