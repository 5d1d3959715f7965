"""A pod's life on an API that refuses requests and lets credentials expire as a test wants."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

import airflow_pods as pods
from airflow_pods import client as client_module
from airflow_pods.runner import delete_by_name
from tests.support.kubernetes_api import KubernetesApi, finished, kubeconfig, serving, statuses, terminated

CONNECTION = "kubernetes_default"
RESULT = {"acc": 5}
RUNNING: dict[str, Any] = {"running": {}}


def manifest(name: str = "cpu-1") -> pods.Manifest:
    return pods.manifest_of(name, "cpu-jobs", "cpu:1", ["exec"], {}, {}, {}, 60)


def connect(monkeypatch: pytest.MonkeyPatch, config: str) -> None:
    connection = {"conn_type": "kubernetes", "extra": {"kube_config": config}}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))


@pytest_asyncio.fixture
async def cluster(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesApi]:
    """An API that the connection leads to; requests are not repeated."""
    monkeypatch.setattr(client_module, "RETRY_SECONDS", 0)
    api = KubernetesApi()
    async with serving(api) as server:
        connect(monkeypatch, kubeconfig(server))
        yield api


def refuse(method: str, code: int) -> Any:
    return lambda request: code if request.method == method else 0


async def run() -> pods.Result:
    return await pods.run_pod(CONNECTION, manifest())


async def test_a_pod_is_deleted_once_its_result_is_taken(cluster: KubernetesApi) -> None:
    assert await run() == RESULT
    assert cluster.pods == {}


@pytest.mark.parametrize("code", [401, 403, 405, 422, 500])
async def test_a_result_is_kept_when_the_pod_s_deletion_is_refused(
    cluster: KubernetesApi, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    cluster.refuses = refuse("DELETE", code)
    with caplog.at_level(logging.WARNING, "airflow_pods"):
        assert await run() == RESULT
    assert f"cpu-1 in namespace cpu-jobs is left there, as it could not be deleted: {code}" in caplog.text


async def test_a_result_is_kept_when_the_connection_breaks_during_the_deletion(
    cluster: KubernetesApi,
) -> None:
    def cut(request: web.Request) -> int:
        if request.method == "DELETE" and request.transport:
            request.transport.abort()
        return 0

    cluster.refuses = cut
    assert await run() == RESULT


async def test_a_result_is_kept_when_the_api_does_not_answer_the_deletion(
    cluster: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 1)
    cluster.is_silent = lambda request: request.method == "DELETE"
    assert await run() == RESULT


@pytest.mark.parametrize("code", [403, 500])
async def test_the_reason_why_a_pod_can_t_start_is_kept_when_its_deletion_is_refused(
    cluster: KubernetesApi, code: int
) -> None:
    waiting = {"waiting": {"reason": "InvalidImageName", "message": "no such name"}}
    cluster.final_status = {"phase": "Pending", "containerStatuses": statuses(main=waiting)}
    cluster.refuses = refuse("DELETE", code)
    with pytest.raises(pods.PodRefused, match="can't start: InvalidImageName: no such name"):
        await run()


async def test_the_error_names_a_failed_pod_that_can_be_neither_deleted_nor_replaced(
    cluster: KubernetesApi,
) -> None:
    cluster.add(manifest(), {**finished(main=terminated("broken", 1)), "phase": "Failed"})
    cluster.refuses = refuse("DELETE", 405)
    with pytest.raises(pods.PodRefused, match=r"refused to delete the failed pod cpu-1 .*405.*by hand"):
        await run()


@pytest.mark.parametrize("code", [401, 403, 404, 500])
async def test_the_pod_of_an_ended_task_is_deleted_or_the_log_has_the_reason(
    cluster: KubernetesApi, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    cluster.refuses = refuse("DELETE", code)
    with caplog.at_level(logging.WARNING, "airflow_pods"):
        await delete_by_name(CONNECTION, manifest())
    assert ("could not be deleted" in caplog.text) is (code != 404)


async def test_a_pod_is_finished_once_its_main_container_has_ended_even_if_a_sidecar_still_runs(
    cluster: KubernetesApi,
) -> None:
    cluster.final_status = {**finished(istio=RUNNING, main=terminated()), "phase": "Running"}
    assert await run() == RESULT
    assert cluster.pods == {}


async def test_the_next_try_replaces_a_pod_whose_main_container_failed_even_if_a_sidecar_still_runs(
    cluster: KubernetesApi,
) -> None:
    failed = {**finished(istio=RUNNING, main=terminated("broken", 1)), "phase": "Running"}
    cluster.add(manifest(), failed)
    assert await run() == RESULT
    assert cluster.seen["DELETE", 200] == 2


async def test_a_pod_without_a_usable_result_is_refused_and_kept_until_the_task_runs_again(
    cluster: KubernetesApi,
) -> None:
    cluster.final_status = finished(main=terminated('{"acc": 1e999}'))
    with pytest.raises(pods.PodRefused, match="number 1e999"):
        await run()
    assert list(cluster.pods) == ["cpu-1"]
    cluster.final_status = finished()
    assert await run() == RESULT


async def test_delete_all_deletes_failed_pods_even_if_a_sidecar_still_runs(cluster: KubernetesApi) -> None:
    cluster.add(manifest("failed"), {})
    cluster.final_status = {**finished(istio=RUNNING, main=terminated("broken", 1)), "phase": "Running"}
    cluster.watched_as = "ADDED"
    assert await pods.delete_all(CONNECTION, "cpu-jobs", {"start": "s"}) == ["failed"]


@pytest.mark.parametrize("code", [401, 410, 500])
async def test_a_watch_that_an_error_event_ends_is_repeated(cluster: KubernetesApi, code: int) -> None:
    cluster.watch_error = code
    assert await run() == RESULT
    assert cluster.seen["WATCH", 200] == 2


async def test_a_watch_that_an_error_event_forbids_is_refused(cluster: KubernetesApi) -> None:
    cluster.watch_error = 403
    with pytest.raises(pods.PodRefused, match="403 Expired: start again"):
        await run()


class Plugin:
    """A kubeconfig's exec plugin that prints another token each time it runs."""

    def __init__(self, folder: Path) -> None:
        self._runs = folder / "runs"
        self._script = folder / "plugin.py"
        self._script.write_text(
            "import json, pathlib, sys\n"
            f"runs = pathlib.Path({str(self._runs)!r})\n"
            "number = int(runs.read_text()) + 1 if runs.exists() else 1\n"
            "runs.write_text(str(number))\n"
            "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',\n"
            "                  'status': {'token': f'token-{number}'}}))\n"
        )

    @property
    def user(self) -> dict[str, Any]:
        """The user of a kubeconfig."""
        version = "client.authentication.k8s.io/v1"
        return {"exec": {"apiVersion": version, "command": sys.executable, "args": [str(self._script)]}}

    @property
    def token(self) -> str:
        """The token that it printed last."""
        return f"Bearer token-{self.runs}"

    @property
    def runs(self) -> int:
        return int(self._runs.read_text())


@pytest_asyncio.fixture
async def plugin(
    cluster: KubernetesApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Plugin]:
    """The exec plugin that provides the connection's credentials."""
    async with serving(cluster) as server:
        plugin = Plugin(tmp_path)
        connect(monkeypatch, kubeconfig(server, plugin.user))
        yield plugin


@pytest.mark.parametrize("call", ["POST", "WATCH", "GET", "DELETE"])
async def test_credentials_that_expire_before_any_call_are_renewed(
    cluster: KubernetesApi, plugin: Plugin, call: str
) -> None:
    def expire(request: web.Request) -> int:
        return (
            401
            if cluster.method(request) == call and request.headers["Authorization"] == "Bearer token-1"
            else 0
        )

    if call == "GET":
        cluster.add(manifest(), finished())  # found, and read
    cluster.refuses = expire
    assert await run() == RESULT
    assert plugin.runs == 2
    assert cluster.seen[call, 401] == 1
    assert cluster.pods == {}


async def test_a_token_that_is_valid_for_one_request_is_renewed_for_each(
    cluster: KubernetesApi, plugin: Plugin
) -> None:
    used = set()

    def once(request: web.Request) -> int:
        token = request.headers["Authorization"]
        is_used = token in used
        used.add(token)
        return 401 if is_used else 0

    cluster.refuses = once
    assert await run() == RESULT


async def test_the_task_fails_with_the_remedy_when_fresh_credentials_are_rejected_too(
    cluster: KubernetesApi, plugin: Plugin
) -> None:
    cluster.refuses = lambda _: 401
    with pytest.raises(pods.PodRefused, match=r"401 .*\(the connection's credentials .* nor are fresh ones"):
        await run()
    assert plugin.runs == 1 + client_module.MAX_RENEWALS


async def test_a_failing_exec_plugin_is_tried_again_and_a_missing_one_is_refused(
    cluster: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = "client.authentication.k8s.io/v1"
    for command, kind in (("false", pods.PodFailed), ("no-such-plugin", pods.PodRefused)):
        user = {"exec": {"apiVersion": version, "command": command}}
        connect(monkeypatch, kubeconfig("http://127.0.0.1:9", user))
        with pytest.raises(kind, match=f"{CONNECTION} leads to no cluster: .*(exec|{command})"):
            await run()


async def test_an_exec_plugin_that_never_ends_fails_after_a_time_limit(
    cluster: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = {"exec": {"apiVersion": "v1", "command": "sleep", "args": ["60"]}}
    connect(monkeypatch, kubeconfig("http://127.0.0.1:9", user))
    monkeypatch.setattr(client_module, "CREDENTIALS_SECONDS", 0.2)
    started: list[asyncio.subprocess.Process] = []
    create = asyncio.create_subprocess_exec

    async def remember(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
        started.append(await create(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remember)
    with pytest.raises(pods.PodFailed, match="gave no credentials within"):
        await run()
    for process in started:  # the client leaves it running, which would disturb the next test
        process.kill()
        await process.communicate()
