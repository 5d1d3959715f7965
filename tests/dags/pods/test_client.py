"""All users of a connection in one event loop, such as a triggerer's, share one client."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.hooks import kubernetes as provider
from airflow.sdk.exceptions import AirflowException
from kubernetes_asyncio.client import ApiException

from airflow_pods import PodRefused
from airflow_pods import client as client_module


class FakeHook:
    """Stands for the provider's hook, and counts the clients that it opens."""

    def __init__(self) -> None:
        self.opened = 0
        self.open = 0
        self.refusal: Exception | None = None
        self.closing = asyncio.Event()
        self.may_close = asyncio.Event()
        self.may_close.set()

    def __call__(self, **_: Any) -> FakeHook:
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
            self.closing.set()
            await self.may_close.wait()


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> FakeHook:
    clients = FakeHook()
    monkeypatch.setattr(provider, "AsyncKubernetesHook", clients)
    return clients


async def use() -> None:
    async with client_module.connect("any"):
        await asyncio.sleep(0)


async def test_simultaneous_users_share_one_client_and_the_last_one_closes_it(clients: FakeHook) -> None:
    await asyncio.gather(*(use() for _ in range(50)))
    assert (clients.opened, clients.open, client_module.CLIENTS) == (1, 0, {})
    await use()
    assert (clients.opened, clients.open, client_module.CLIENTS) == (2, 0, {})


async def test_each_connection_has_its_own_client(clients: FakeHook) -> None:
    async with client_module.connect("one"), client_module.connect("other"):
        assert (clients.opened, clients.open) == (2, 2)
    assert (clients.open, client_module.CLIENTS) == (0, {})


async def test_rejected_credentials_are_renewed_once_for_all_their_users(clients: FakeHook) -> None:
    refused: list[object] = []

    async def request(kubernetes: Any) -> object:
        used = kubernetes.api_client
        await asyncio.sleep(0)
        if not refused or used in refused:
            refused.append(used)
            raise ApiException(status=401)
        return used

    async def ask() -> object:
        async with client_module.connect("any") as client:
            return await client.authorized(request)

    answers = await asyncio.gather(*(ask() for _ in range(50)))
    assert len(set(answers)) == 1
    assert (clients.opened, clients.open, client_module.CLIENTS) == (2, 0, {})


async def test_credentials_are_renewed_for_status_401_only(clients: FakeHook) -> None:
    async def request(_: Any) -> None:
        raise ApiException(status=403)

    async with client_module.connect("any") as client:
        with pytest.raises(ApiException):
            await client.authorized(request)
    assert clients.opened == 1


async def test_new_users_get_a_new_client_when_the_old_one_has_reached_its_maximum_age(
    clients: FakeHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_AGE_SECONDS", 0.0)
    async with client_module.connect("any"):
        await asyncio.sleep(0.01)
        await use()
        assert clients.opened == 2
    assert (clients.open, client_module.CLIENTS) == (0, {})


async def test_a_cancelled_user_does_not_close_the_client_of_the_others(clients: FakeHook) -> None:
    first, second = asyncio.ensure_future(use()), asyncio.ensure_future(use())
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert (clients.opened, clients.open, client_module.CLIENTS) == (1, 0, {})
    with pytest.raises(asyncio.CancelledError):
        await first
    alone = asyncio.ensure_future(use())
    await asyncio.sleep(0)
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    assert (clients.open, client_module.CLIENTS) == (0, {})


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_nobody_gets_a_client_that_is_being_closed(clients: FakeHook, is_cancelled: bool) -> None:
    clients.may_close.clear()
    leaving = asyncio.create_task(use())
    await clients.closing.wait()
    if is_cancelled:
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    async with client_module.connect("any"):
        assert (clients.opened, clients.open) == (2, 1)
        clients.may_close.set()
        await asyncio.gather(leaving, return_exceptions=True)
        assert len(client_module.CLIENTS) == 1
    assert (clients.open, client_module.CLIENTS) == (0, {})


async def test_all_users_of_an_unusable_connection_are_refused(clients: FakeHook) -> None:
    clients.refusal = AirflowException("no such connection")
    outcomes = await asyncio.gather(*(use() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(outcome, PodRefused) for outcome in outcomes)
    assert (clients.open, client_module.CLIENTS) == (0, {})


async def use_with_rejected_credentials() -> None:
    async def reject(_: Any) -> None:
        raise ApiException(status=401)

    async with client_module.connect("any") as client:
        with suppress(ApiException):
            await client.authorized(reject)


@pytest.mark.parametrize("user", [use, use_with_rejected_credentials])
@pytest.mark.parametrize("steps", range(0, 120, 3))
async def test_a_cancelled_user_leaves_no_file_with_credentials_open(
    monkeypatch: pytest.MonkeyPatch, steps: int, user: Callable[[], Coroutine[None, None, None]]
) -> None:
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    extra = {"kube_config": json.dumps(kubeconfig)}
    monkeypatch.setenv("AIRFLOW_CONN_ANY", json.dumps({"conn_type": "kubernetes", "extra": extra}))
    opened: list[Any] = []

    def open_file(*args: Any, **kwargs: Any) -> Any:
        file = tempfile.NamedTemporaryFile(*args, **kwargs)  # noqa: SIM115 - closed by who asked for it
        opened.append(file)
        return file

    monkeypatch.setattr("aiofiles.tempfile.syncNamedTemporaryFile", open_file)
    task = asyncio.ensure_future(user())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    await asyncio.get_running_loop().shutdown_default_executor()
    assert all(file.closed for file in opened)
