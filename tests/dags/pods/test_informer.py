"""One watch for all pods of a namespace, on the project's endpoint, whose watches end and break at will."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from kubernetes_asyncio.client import ApiException

from airflow_pods import Manifest, informer, manifest_of, requests, run_pod
from airflow_pods.client import Client, connect
from airflow_pods.informer import Informer
from airflow_pods.pod import Pod
from airflow_pods.requests import create_pod, read_pod
from airflow_pods.status import is_finished
from scripts.kube.objects import PODS
from tests.support.kubernetes_api import finished, terminated
from tests.support.nodeless import NAMESPACE, RUNNING, Nodeless

CONNECTION = "kubernetes_default"
DONE = finished()


def manifest(name: str) -> Manifest:
    return manifest_of(name, NAMESPACE, "cpu:1", ["exec"], {}, {}, {}, 60)


@pytest_asyncio.fixture
async def client(endpoint: Nodeless) -> AsyncIterator[Client]:
    async with connect(CONNECTION) as client:
        yield client


@pytest_asyncio.fixture
async def watcher(client: Client) -> AsyncIterator[Informer]:
    watcher = Informer(CONNECTION, NAMESPACE)
    yield watcher
    await watcher.close()


def wait(watcher: Informer, client: Client, pod: Pod) -> asyncio.Task[Pod | None]:
    """Start to wait until the pod is finished."""
    return asyncio.create_task(watcher.watch_until(client, pod, is_finished))


async def created(client: Client, name: str) -> Pod:
    pod = await create_pod(client, manifest(name))
    assert pod
    return pod


async def result(waiting: asyncio.Task[Pod | None]) -> Pod | None:
    async with asyncio.timeout(20):
        return await waiting


def entries(watcher: Informer) -> tuple[dict[str, Any], ...]:
    """Return what the informer keeps per pod."""
    return watcher._latest, watcher._users, watcher._changes


async def watched(watcher: Informer, client: Client, endpoint: Nodeless) -> asyncio.Task[Pod | None]:
    """Start to wait for a pod that runs, and return once the watch has reported it."""
    pod = await created(client, "pod")
    waiting = wait(watcher, client, pod)
    endpoint.report("pod", RUNNING)
    await endpoint.until(lambda: "pod" in watcher._latest and endpoint.watches)
    return waiting


async def test_one_watch_reports_the_ends_of_many_pods(
    endpoint: Nodeless, client: Client, watcher: Informer
) -> None:
    names = [f"pod-{number}" for number in range(50)]
    waiting = {name: wait(watcher, client, await created(client, name)) for name in names}
    await endpoint.until(lambda: endpoint.watches)
    for name in reversed(names):
        endpoint.report(name, RUNNING)
        endpoint.report(name, finished(main=terminated(json.dumps({"of": name}))))
    for name, task in waiting.items():
        pod = await result(task)
        assert pod
        assert pod.status.container_statuses[0].state.terminated.message == json.dumps({"of": name})
    assert endpoint.seen == {"POST": 50, "WATCH": 1}


async def test_pods_that_others_created_are_not_watched(
    endpoint: Nodeless, client: Client, watcher: Informer
) -> None:
    other = manifest("other")
    del other["metadata"]["labels"]
    endpoint.create(other)
    waiting = await watched(watcher, client, endpoint)
    endpoint.report("pod", DONE)
    assert await result(waiting)
    assert "other" not in watcher._latest


async def test_a_watch_that_ends_is_opened_again_from_the_last_version(
    endpoint: Nodeless, client: Client, watcher: Informer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests.watch_pods, "__defaults__", (1,))
    waiting = await watched(watcher, client, endpoint)
    await endpoint.until(lambda: endpoint.seen["WATCH"] == 2)
    endpoint.report("pod", DONE)
    assert await result(waiting)
    assert endpoint.seen["GET"] == 0


async def test_a_watch_that_ends_at_once_is_opened_anew_after_a_pause_and_the_pods_are_read(
    endpoint: Nodeless, client: Client, watcher: Informer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = 0.05
    monkeypatch.setattr(informer, "PAUSE_SECONDS", pause)
    waiting = await watched(watcher, client, endpoint)
    endpoint.refuses = lambda method: web.Response() if method == "WATCH" else 0
    endpoint.break_watches()
    await endpoint.until(lambda: endpoint.seen["WATCH"] == 2)
    endpoint.report("pod", DONE)
    before = asyncio.get_running_loop().time()
    assert await result(waiting)
    assert endpoint.seen["GET"] >= 1
    assert endpoint.seen["WATCH"] <= 4 + (asyncio.get_running_loop().time() - before) / pause


async def changed_while_no_watch_is_open(
    watcher: Informer, client: Client, endpoint: Nodeless, change: str
) -> asyncio.Task[Pod | None]:
    """Wait for a pod, break the watch, then let the pod end or delete it; return the task that waits."""
    waiting = await watched(watcher, client, endpoint)
    endpoint.break_watches()
    await endpoint.until(lambda: not endpoint.watches)
    if change == "ends":
        endpoint.report("pod", DONE)
    else:
        endpoint.delete("pod")
    return waiting


@pytest.mark.parametrize("change", ["ends", "is deleted"])
async def test_a_change_while_a_broken_watch_is_not_yet_open_again_is_not_missed(
    endpoint: Nodeless, client: Client, watcher: Informer, change: str
) -> None:
    waiting = await changed_while_no_watch_is_open(watcher, client, endpoint, change)
    assert (await result(waiting) is None) is (change == "is deleted")
    assert endpoint.seen["GET"] == 0


@pytest.mark.parametrize("change", ["ends", "is deleted"])
async def test_pods_are_read_once_where_the_api_has_forgotten_the_last_version(
    endpoint: Nodeless, client: Client, watcher: Informer, change: str
) -> None:
    waiting = await changed_while_no_watch_is_open(watcher, client, endpoint, change)
    endpoint.forget()
    assert (await result(waiting) is None) is (change == "is deleted")
    assert endpoint.seen["GET"] == 1


async def test_a_pod_that_still_runs_is_watched_on_after_the_api_has_forgotten_the_last_version(
    endpoint: Nodeless, client: Client, watcher: Informer
) -> None:
    waiting = await watched(watcher, client, endpoint)
    endpoint.report("pod", {**RUNNING, "message": "unseen"})
    endpoint.break_watches()
    endpoint.forget()
    await endpoint.until(lambda: endpoint.seen["GET"] == 1)
    await endpoint.until(lambda: endpoint.watches)
    endpoint.report("pod", DONE)
    assert await result(waiting)


async def test_a_watch_is_tried_again_while_the_api_is_in_trouble(
    endpoint: Nodeless, client: Client, watcher: Informer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer, "PAUSE_SECONDS", 0.01)
    endpoint.refuses = lambda method: 500 if method == "WATCH" else 0
    pod = await created(client, "pod")
    waiting = wait(watcher, client, pod)
    await endpoint.until(lambda: endpoint.seen["WATCH"] > 3)
    endpoint.report("pod", DONE)
    endpoint.refuses = lambda _: 0
    assert await result(waiting)


async def test_everybody_is_told_that_the_account_must_not_watch(
    endpoint: Nodeless, client: Client, watcher: Informer
) -> None:
    endpoint.refuses = lambda method: 403 if method == "WATCH" else 0
    waiting = [wait(watcher, client, await created(client, f"pod-{number}")) for number in range(3)]
    for task in waiting:
        with pytest.raises(ApiException, match="403"):
            await result(task)
    assert not any(entries(watcher))
    endpoint.refuses = lambda _: 0
    pod = await read_pod(client, "pod-1", NAMESPACE)
    assert pod
    later = wait(watcher, client, pod)
    endpoint.report("pod-1", DONE)
    assert await result(later)


async def test_a_pod_that_is_being_read_while_the_watch_ends_for_good_is_watched_again(
    endpoint: Nodeless, client: Client, watcher: Informer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = await watched(watcher, client, endpoint)
    endpoint.report("pod", {**RUNNING, "message": "unseen"})
    endpoint.break_watches()
    endpoint.forget()
    reading = asyncio.Event()

    async def read_slowly(*args: Any) -> Pod | None:
        await reading.wait()
        return await read_pod(*args)

    monkeypatch.setattr(informer, "read_pod", read_slowly)
    await endpoint.until(lambda: endpoint.seen["WATCH"] == 2)
    endpoint.refuses = lambda method: 403 if method == "WATCH" else 0
    await endpoint.until(lambda: watcher._watching and watcher._watching.done())
    endpoint.refuses = lambda _: 0
    reading.set()
    await endpoint.until(lambda: endpoint.watches)
    endpoint.report("pod", DONE)
    assert await result(waiting)


async def test_a_pod_that_is_deleted_while_it_is_waited_for_is_gone(
    endpoint: Nodeless, client: Client, watcher: Informer
) -> None:
    waiting = await watched(watcher, client, endpoint)
    endpoint.delete("pod")
    assert await result(waiting) is None
    assert not any(entries(watcher))


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_pod_that_is_deleted_before_it_is_waited_for_is_gone(
    endpoint: Nodeless, client: Client, watcher: Informer, monkeypatch: pytest.MonkeyPatch, is_open: bool
) -> None:
    if is_open:
        # The watch has reported the deletion before anybody waited: only reading the pod tells.
        monkeypatch.setattr(informer, "SILENT_SECONDS", 0.2)
        await watched(watcher, client, endpoint)
    pod = await created(client, "short")
    endpoint.delete("short")
    if is_open:
        version = str(endpoint.store.version)
        await endpoint.until(lambda: watcher._version == version)
    assert await result(wait(watcher, client, pod)) is None


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_change_that_comes_before_the_waiter_is_seen(
    endpoint: Nodeless, client: Client, watcher: Informer, is_open: bool
) -> None:
    if is_open:
        await watched(watcher, client, endpoint)
    pod = await created(client, "early")
    endpoint.report("early", DONE)
    if is_open:
        await endpoint.until(lambda: is_finished(watcher._latest.get("early", ("", pod))[1] or pod))
    assert await result(wait(watcher, client, pod))
    assert endpoint.seen["GET"] == 0


async def test_a_pod_that_is_deleted_after_its_end_has_ended(
    endpoint: Nodeless, client: Client, watcher: Informer
) -> None:
    waiting = await watched(watcher, client, endpoint)
    endpoint.report("pod", DONE)
    finished_pod = await result(waiting)
    assert finished_pod
    endpoint.delete("pod")
    assert await result(wait(watcher, client, finished_pod))
    await endpoint.until(lambda: not any(entries(watcher)))


@pytest.mark.parametrize("break_off", [False, True])
async def test_a_pod_that_is_replaced_by_one_of_the_same_name_is_gone(
    endpoint: Nodeless, client: Client, watcher: Informer, break_off: bool
) -> None:
    waiting = await watched(watcher, client, endpoint)
    if break_off:
        endpoint.break_watches()
        await endpoint.until(lambda: not endpoint.watches)
    endpoint.delete("pod")
    endpoint.create(manifest("pod"))
    assert await result(waiting) is None


async def test_the_end_of_an_earlier_pod_of_the_same_name_is_not_mistaken_for_this_one_s(
    endpoint: Nodeless, client: Client, watcher: Informer
) -> None:
    first = await watched(watcher, client, endpoint)
    endpoint.break_watches()  # the watch is behind: it reports the first pod's end and deletion later
    await endpoint.until(lambda: not endpoint.watches)
    endpoint.report("pod", DONE)
    endpoint.delete("pod")
    second = wait(watcher, client, await created(client, "pod"))
    assert await result(first) is None
    await endpoint.until(lambda: endpoint.watches)
    assert not second.done()
    endpoint.report("pod", finished(main=terminated('{"second": 1}')))
    pod = await result(second)
    assert pod
    assert pod.status.container_statuses[0].state.terminated.message == '{"second": 1}'


async def test_nothing_is_kept_of_pods_that_are_gone(
    endpoint: Nodeless, client: Client, watcher: Informer
) -> None:
    names = [f"pod-{number}" for number in range(20)]
    waiting = {name: wait(watcher, client, await created(client, name)) for name in names}
    for number, name in enumerate(names):
        if number % 2:
            endpoint.report(name, DONE)
        if number % 3:
            endpoint.delete(name)
        elif not number % 2:
            waiting[name].cancel()
    await asyncio.gather(*waiting.values(), return_exceptions=True)
    for name in endpoint.pods():
        endpoint.delete(name)
    await endpoint.until(lambda: not any(entries(watcher)))


async def test_a_watch_ends_when_nobody_waits_any_more(
    endpoint: Nodeless, client: Client, watcher: Informer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests.watch_pods, "__defaults__", (1,))
    waiting = await watched(watcher, client, endpoint)
    endpoint.report("pod", DONE)
    assert await result(waiting)
    await endpoint.until(lambda: watcher._watching and watcher._watching.done())
    assert endpoint.seen["WATCH"] <= 2


async def test_run_pod_needs_no_informer(endpoint: Nodeless, client: Client) -> None:
    running = asyncio.create_task(run_pod(CONNECTION, manifest("alone")))
    await endpoint.until(lambda: "alone" in endpoint.pods())
    endpoint.report("alone", DONE)
    assert await running == {"acc": 5}


async def test_a_pod_that_no_model_of_the_client_accepts_is_watched_like_all_others(
    endpoint: Nodeless, client: Client, watcher: Informer
) -> None:
    waiting = await watched(watcher, client, endpoint)
    bad = wait(watcher, client, await created(client, "bad"))
    endpoint.store.update(PODS, {**endpoint.pods()["bad"], "spec": {}})  # a V1Pod requires containers
    endpoint.report("bad", DONE)
    endpoint.report("pod", DONE)
    assert await result(waiting)
    assert await result(bad)
    assert endpoint.seen["WATCH"] == 1
    assert endpoint.seen["GET"] == 0
