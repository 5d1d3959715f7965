"""Sets of pods in random orders: whatever dies, each index counts once, and no pod is in vain."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from airflow_pods import Result, informer, pace, requests, set_run
from airflow_pods.indexed import indexed_result
from airflow_pods.pod_set import IndexedPods
from tests.support.kubernetes_api import kubeconfig
from tests.support.nodeless import RUNNING, Nodeless, serving
from tests.support.pod_sets import FAILED, REFUSED, add_index, index_of, is_ended, manifest, succeeded

CONNECTION = "kubernetes_default"


@pytest_asyncio.fixture
async def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodeless]:
    """An endpoint that the connection leads to."""
    async with serving(tmp_path) as (endpoint, url):
        connection = {"conn_type": "kubernetes", "extra": {"kube_config": kubeconfig(url)}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        monkeypatch.setattr(pace, "SHORTEST_PAUSE", 0.001)
        monkeypatch.setattr(pace, "LONGEST_PAUSE", 0.01)
        monkeypatch.setattr(informer, "PAUSE_SECONDS", 0.02)
        yield endpoint


class Chaos:
    """Lets pods run, succeed, fail and vanish; breaks watches and has the API forget; at random."""

    def __init__(self, endpoint: Nodeless, chance: random.Random) -> None:
        self.created: Counter[int] = Counter()
        self.lost: Counter[int] = Counter()  # pods by index that failed or vanished
        self._endpoint, self._chance = endpoint, chance
        self._seen: set[str] = set()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await asyncio.sleep(self._chance.choice([0, 0.001, 0.005]))
            pods = list(self._endpoint.pods().values())
            for pod in pods:
                if pod["metadata"]["uid"] not in self._seen:
                    self._seen.add(pod["metadata"]["uid"])
                    self.created[index_of(pod)] += 1
            live = [pod for pod in pods if not is_ended(pod)]
            for pod in self._chance.sample(live, min(len(live), 2)):
                self._change(pod)
            if self._chance.random() < 0.05:
                self._endpoint.break_watches()
            if self._chance.random() < 0.2:
                self._endpoint.forget()

    def _change(self, pod: Any) -> None:
        name, index, luck = pod["metadata"]["name"], index_of(pod), self._chance.random()
        if luck < 0.6:
            self._endpoint.report(name, succeeded(index))
        elif luck < 0.75:
            self._endpoint.report(name, RUNNING)
        elif luck < 0.9:
            self.lost[index] += 1
            self._endpoint.report(name, FAILED)
        elif luck < 0.93:
            self.lost[index] += 1
            self._endpoint.report(name, REFUSED)
        else:
            self.lost[index] += 1
            self._endpoint.delete(name)


def lose_answers(chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut some creations off, before the API has seen them or after."""
    create = requests.create_pod_once

    async def cut(*args: Any) -> Any:
        if chance.random() < 0.03:
            raise aiohttp.ServerDisconnectedError
        answer = await create(*args)
        if chance.random() < 0.03:
            raise aiohttp.ServerDisconnectedError
        return answer

    monkeypatch.setattr(set_run, "create_pod_once", cut)


@pytest.mark.parametrize("seed", range(12))
async def test_each_index_is_reduced_once_whatever_dies_and_no_pod_is_created_in_vain(
    endpoint: Nodeless, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    lose_answers(chance, monkeypatch)
    chaos = Chaos(endpoint, chance)
    chaos_task = asyncio.create_task(chaos.run())
    count = chance.randint(1, 120)
    pods = IndexedPods(count, chance.randint(1, 20), chance.randint(0, 2), count, reduce=add_index)
    result = await run_with_kills(pods, chance)
    chaos_task.cancel()
    failed = set(indices(result["failed"]))
    assert result["total"] or failed
    assert result["total"] == ({str(index): 1 for index in range(count) if index not in failed} or None)
    assert result["succeeded"] == count - len(failed)
    assert endpoint.pods() == {}
    for index in range(count):
        # The first pod of an index, and one more for each that failed; the last one failed as well where
        # the index did.
        assert chaos.created[index] <= 1 + chaos.lost[index] - (index in failed)


async def run_with_kills(pods: IndexedPods, chance: random.Random) -> Result:
    """Run the set, cancel it a few times at random points, and let the last try end.

    A try that has committed its result is not cancelled: Airflow tries no task again that has succeeded.
    """
    is_committed = asyncio.Event()
    for _ in range(chance.randint(0, 5)):
        one_try = asyncio.create_task(committed(pods, is_committed))
        await asyncio.wait([one_try], timeout=chance.uniform(0, 0.3))
        if is_committed.is_set():
            return await one_try
        one_try.cancel()
        await asyncio.gather(one_try, return_exceptions=True)
    async with asyncio.timeout(60):
        return await committed(pods, is_committed)


async def committed(pods: IndexedPods, is_committed: asyncio.Event) -> Result:
    async with indexed_result(CONNECTION, manifest(), pods) as result:
        is_committed.set()
    return result


def indices(text: str) -> list[int]:
    """Return the indices that a summary names."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
