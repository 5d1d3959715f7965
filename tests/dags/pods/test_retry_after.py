"""The pause that the API asks for is kept before every request that is repeated."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from airflow_pods.client import connect
from airflow_pods.errors import LONGEST_RETRY_AFTER, retry_after
from airflow_pods.informer import Informer
from airflow_pods.pace import Pace
from airflow_pods.requests import create_pod, delete_pod, read_pod, watch_until
from airflow_pods.runner import pod_result
from tests.support.kubernetes_api import finished, rejection
from tests.support.nodeless import NAMESPACE, Nodeless
from tests.support.pod_sets import manifest

CONNECTION = "kubernetes_default"
ASKED = 7


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses in seconds, which take no time."""
    seconds: list[float] = []
    sleep = asyncio.sleep

    async def record(delay: float, *_: Any) -> None:
        seconds.append(delay)
        await sleep(0.001)

    monkeypatch.setattr(asyncio, "sleep", record)
    return seconds


def refuse_once(endpoint: Nodeless, method: str) -> None:
    """Answer the first request of this method with 429."""
    answers = [429]

    def refuse(seen: str) -> int | web.Response:
        if seen != method or not answers:
            return 0
        answer = rejection(answers.pop(), "too many requests")
        answer.headers["Retry-After"] = str(ASKED)
        return answer

    endpoint.refuses = refuse


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_request_is_repeated_after_the_pause_that_the_api_asks_for(
    endpoint: Nodeless, sleeps: list[float], method: str
) -> None:
    async with connect(CONNECTION) as client:
        refuse_once(endpoint, method)
        pod = await create_pod(client, manifest())
        assert pod
        assert await read_pod(client, "items", NAMESPACE)
        await delete_pod(client, pod)
    assert max(sleeps) == ASKED
    assert endpoint.pods() == {}


@pytest.mark.parametrize("is_shared", [False, True])
async def test_a_watch_is_opened_again_after_the_pause_that_the_api_asks_for(
    endpoint: Nodeless, sleeps: list[float], is_shared: bool
) -> None:
    informer = Informer(CONNECTION, NAMESPACE)
    watch: Any = informer.watch_until if is_shared else watch_until
    refuse_once(endpoint, "WATCH")

    async def end_pod() -> None:
        await endpoint.until(lambda: ASKED in sleeps)
        endpoint.report("items", finished())

    async with asyncio.TaskGroup() as group, asyncio.timeout(20):
        group.create_task(end_pod())
        async with pod_result(CONNECTION, manifest(), watch) as result:
            assert result == {"acc": 5}
    await informer.close()


def test_the_pace_of_a_set_is_as_slow_as_the_api_asks_for() -> None:
    pace = Pace()
    pace.refused(begun=9, now=10, retry_after=ASKED)
    assert pace.next_time(0, 0) == 10 + ASKED


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7), ("3600", LONGEST_RETRY_AFTER), ("", 0), ("Wed, 21 Oct 2026", 0)]
)
def test_a_pause_is_a_number_of_seconds_that_is_not_too_large(header: str, seconds: float) -> None:
    error: Any = Exception()
    error.headers = {"Retry-After": header}
    assert retry_after(error) == seconds
    assert retry_after(Exception()) == 0
