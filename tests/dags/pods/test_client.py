"""Who uses the Kubernetes API in one event loop, as all do in a triggerer, shares a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.hooks import kubernetes as provider
from airflow.sdk.exceptions import AirflowException
from kubernetes_asyncio.client import ApiException

from dags.pods import PodRefused
from dags.pods import client as api


class Clients:
    """What stands for the provider's clients: which have been opened, and which are open."""

    def __init__(self) -> None:
        self.opened = 0
        self.open = 0
        self.refusal: Exception | None = None

    def __call__(self, **_: Any) -> Clients:
        return self

    @asynccontextmanager
    async def get_conn(self) -> AsyncIterator[object]:
        await asyncio.sleep(0)
        if self.refusal:
            raise self.refusal
        self.opened += 1
        self.open += 1
        try:
            yield object()
        finally:
            self.open -= 1


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Clients:
    clients = Clients()
    monkeypatch.setattr(provider, "AsyncKubernetesHook", clients)
    return clients


async def use() -> None:
    async with api.connect("any"):
        await asyncio.sleep(0)


async def test_all_who_are_there_at_once_have_one_client_and_the_last_one_closes_it(clients: Clients) -> None:
    await asyncio.gather(*(use() for _ in range(50)))
    assert (clients.opened, clients.open, api.CLIENTS) == (1, 0, {})
    await use()
    assert (clients.opened, clients.open, api.CLIENTS) == (2, 0, {})


async def test_each_connection_has_a_client_of_its_own(clients: Clients) -> None:
    async with api.connect("one"), api.connect("other"):
        assert (clients.opened, clients.open) == (2, 2)
    assert (clients.open, api.CLIENTS) == (0, {})


async def test_refused_credentials_are_renewed_once_for_all_who_have_them(clients: Clients) -> None:
    refused: list[object] = []

    async def request(kubernetes: Any) -> object:
        used = kubernetes.api_client
        await asyncio.sleep(0)
        if not refused or used in refused:
            refused.append(used)
            raise ApiException(status=401)
        return used

    async def ask() -> object:
        async with api.connect("any") as client:
            return await client.authorized(request)

    answers = await asyncio.gather(*(ask() for _ in range(50)))
    assert len(set(answers)) == 1
    assert (clients.opened, clients.open, api.CLIENTS) == (2, 0, {})


async def test_only_refused_credentials_are_renewed(clients: Clients) -> None:
    async def request(_: Any) -> None:
        raise ApiException(status=403)

    async with api.connect("any") as client:
        with pytest.raises(ApiException):
            await client.authorized(request)
    assert clients.opened == 1


async def test_a_client_that_is_old_is_not_given_to_new_users(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "FRESH_SECONDS", 0.0)
    async with api.connect("any"):
        await asyncio.sleep(0.01)
        await use()
        assert clients.opened == 2
    assert (clients.open, api.CLIENTS) == (0, {})


async def test_a_user_that_is_cancelled_leaves_the_client_to_the_others(clients: Clients) -> None:
    first, second = asyncio.ensure_future(use()), asyncio.ensure_future(use())
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert (clients.opened, clients.open, api.CLIENTS) == (1, 0, {})
    with pytest.raises(asyncio.CancelledError):
        await first
    alone = asyncio.ensure_future(use())
    await asyncio.sleep(0)
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    assert (clients.open, api.CLIENTS) == (0, {})


async def test_a_connection_that_leads_nowhere_is_refused_to_everybody(clients: Clients) -> None:
    clients.refusal = AirflowException("no such connection")
    outcomes = await asyncio.gather(*(use() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(outcome, PodRefused) for outcome in outcomes)
    assert (clients.open, api.CLIENTS) == (0, {})
