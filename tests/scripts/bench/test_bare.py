"""The bare client: a window of pods, one watch for all of them, and another pod for one that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes_asyncio.client import ApiException

from scripts.bench.bare import Bare, PodFailed, connected
from tests.support.kubernetes_api import finished, kubeconfig, statuses, terminated
from tests.support.nodeless import NAMESPACE, Nodeless, serving

FAILED = {"phase": "Failed", "containerStatuses": statuses(main=terminated("no Redis", 1))}


@asynccontextmanager
async def client(tmp_path: Path) -> AsyncIterator[tuple[Nodeless, Bare]]:
    async with serving(tmp_path) as (endpoint, url):
        file = tmp_path / "kubeconfig"
        file.write_text(kubeconfig(url))
        settings: Any = SimpleNamespace(cluster_config=file, context=None, namespace=NAMESPACE, image="cpu:1")
        async with connected(settings, "try-1") as bare:
            yield endpoint, bare


@asynccontextmanager
async def a_node(endpoint: Nodeless, status: Callable[[str], dict[str, Any]]) -> AsyncIterator[None]:
    """Give each pod the status of its name."""

    async def report() -> None:
        while True:
            for name in in_flight(endpoint):
                endpoint.report(name, status(name))
            await asyncio.sleep(0.001)

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def has_pods(endpoint: Nodeless, number: int) -> bool:
    return len(endpoint.pods()) >= number


def in_flight(endpoint: Nodeless) -> list[str]:
    """Return the names of the pods that have not ended."""
    phases = {name: pod.get("status", {}).get("phase") for name, pod in endpoint.pods().items()}
    return [name for name, phase in phases.items() if phase not in ("Succeeded", "Failed")]


async def test_a_window_of_pods_is_in_flight_and_one_request_deletes_them(tmp_path: Path) -> None:
    async with client(tmp_path) as (endpoint, bare):
        running = asyncio.create_task(bare.execute_again(pods=20, in_flight=4))
        for ended in range(17):
            await endpoint.until(partial(has_pods, endpoint, 4 + ended))
            assert len(in_flight(endpoint)) == 4
            endpoint.report(in_flight(endpoint)[0], finished())
        for name in in_flight(endpoint):
            endpoint.report(name, finished())
        await running
        assert len(endpoint.pods()) == 20
        await bare.delete_pods()
        assert not endpoint.pods()
        assert endpoint.seen == {"POST": 20, "WATCH": 1, "DELETE": 1}


async def test_the_pods_of_cycles_are_deleted_one_by_one(tmp_path: Path) -> None:
    result = terminated('{"status": "ok", "cycle": 7}')
    async with client(tmp_path) as (endpoint, bare), a_node(endpoint, lambda _: finished(main=result)):
        await bare.execute(3, 7)
        assert not endpoint.pods()


async def test_a_pod_that_fails_is_tried_again_with_another_pod(tmp_path: Path) -> None:
    def status(name: str) -> dict[str, Any]:
        return FAILED if name.endswith("-0") else finished()

    async with client(tmp_path) as (endpoint, bare), a_node(endpoint, status):
        await bare.execute_again(pods=1, in_flight=1)
        assert sorted(endpoint.pods()) == ["bare-try-1-again-0-0", "bare-try-1-again-0-1"]


async def test_a_pod_that_fails_again_and_again_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.bench.bare.MAX_TRIES", 1)
    async with client(tmp_path) as (endpoint, bare), a_node(endpoint, lambda _: FAILED):
        with pytest.raises(PodFailed, match=r"pod bare-try-1-0-load-0 failed: Failed: no Redis"):
            await bare.load(0)


async def test_a_watch_that_is_refused_ends_the_run(tmp_path: Path) -> None:
    async with client(tmp_path) as (endpoint, bare):
        endpoint.refuses = lambda method: 403 if method == "WATCH" else 0
        with pytest.raises(ApiException, match="Forbidden"):
            await bare.load(0)
