"""The client of the Kubernetes API: one per event loop and connection, with retries and fresh credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk.exceptions import AirflowException

from airflow_pods.errors import PodFailed, PodRefused, is_temporary, retry_after

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient, CoreV1Api

RETRY_SECONDS = 30
"""How long a request is repeated while its failure may be temporary."""
ANSWER_SECONDS = 20
"""How long each attempt waits for an answer."""
CREDENTIALS_SECONDS = 60
"""How long a connection may take to provide credentials."""
OPENING_SECONDS = 2
"""How long a client without users may go on opening before that is cancelled."""
MAX_RENEWALS = 2
"""How often one request asks for fresh credentials."""
MAX_AGE_SECONDS = 300
"""How long a client accepts new users: after that, they see what has changed in the connection."""

Answer = TypeVar("Answer")


@asynccontextmanager
async def connect(conn_id: str) -> AsyncIterator[Client]:
    """Yield a client of the Kubernetes API that the Airflow connection leads to.

    Raises PodRefused if the connection is unusable or its authority does not vouch for the API, PodFailed if
    the API does not answer.
    """
    # Imported here, as everywhere in this package: a DAG file that imports it would cost every task seconds.
    import aiohttp

    try:
        async with _shared_client(conn_id) as client:
            yield client
    except aiohttp.ClientConnectorCertificateError as error:
        raise PodRefused(
            f"the Kubernetes API is not trusted: {error} (correct the authority in connection {conn_id})"
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise PodFailed(
            f"the Kubernetes API does not answer: {str(error) or type(error).__name__} "
            f"(is it up, and does Airflow connection {conn_id} lead to it?)"
        ) from error


CLIENTS: dict[tuple[asyncio.AbstractEventLoop, str], Client] = {}
"""The clients in use, by event loop and connection."""


@asynccontextmanager
async def _shared_client(conn_id: str) -> AsyncIterator[Client]:
    """Yield the event loop's shared client for this connection; the last user to leave closes it.

    A triggerer has hundreds of users at once, and reading credentials and TLS handshakes would be most of
    what a pod costs it.
    """
    key = asyncio.get_running_loop(), conn_id
    client = CLIENTS.get(key)
    if client is None or client.is_old:
        client = CLIENTS[key] = Client(conn_id)
    try:
        await client.enter()
        yield client
    finally:
        if client.leave():
            # Forgotten first: others would enter it while it closes, or after a cancelled close.
            if CLIENTS.get(key) is client:
                del CLIENTS[key]
            await client.close()


class Client:
    """A client of the Kubernetes API that stays open while it has users.

    Credentials may expire meanwhile, as the tokens of an exec plugin do: a request that is answered with 401
    is repeated with fresh ones from the connection's kubeconfig, plugin or service account.
    """

    api: Any  # a CoreV1Api, whose types leave out its api_client

    def __init__(self, conn_id: str) -> None:
        self.is_old = False
        self._conn_id = conn_id
        self._users = 0
        asyncio.get_running_loop().call_later(MAX_AGE_SECONDS, setattr, self, "is_old", True)
        self._stack = AsyncExitStack()
        self._renewing = asyncio.Lock()
        self._opening = asyncio.ensure_future(self._open())

    async def enter(self) -> None:
        """Add a user; the first one opens the client."""
        self._users += 1
        await asyncio.shield(self._opening)

    def leave(self) -> bool:
        """Remove a user; return whether it was the last one."""
        self._users -= 1
        return not self._users

    async def close(self) -> None:
        """Close the client, which has no users any more.

        A client that is still opening gets a moment for it: the provider's hook, cancelled while it creates
        its temporary file, would leave that file open, with the credentials in it.
        """
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(self._opening, return_exceptions=True), OPENING_SECONDS)
        finally:
            await self._stack.aclose()

    async def call(
        self,
        request: Callable[[CoreV1Api], Awaitable[Answer]],
        none_if: Collection[int],
        seconds: float | None = None,
    ) -> Answer | None:
        """Make a request, repeated for RETRY_SECONDS while its failure may be temporary.

        The pause between two attempts is at least as long as the API asks for. Each attempt may take
        ``seconds``, or ANSWER_SECONDS. Returns None if the API answers with one of the ``none_if`` statuses.
        Raises ApiException for others.
        """
        from tenacity import (
            AsyncRetrying,
            RetryCallState,
            retry_if_exception,
            stop_after_delay,
            wait_exponential_jitter,
        )

        pause = wait_exponential_jitter(multiplier=0.2, max=5)

        def wait(state: RetryCallState) -> float:
            error = state.outcome and state.outcome.exception()
            return max(pause(state), retry_after(error) if error else 0)

        with_retries = AsyncRetrying(
            retry=retry_if_exception(is_temporary),
            wait=wait,
            stop=stop_after_delay(RETRY_SECONDS),
            reraise=True,
        )
        return await with_retries(self.call_once, request, none_if, seconds)

    async def call_once(
        self,
        request: Callable[[CoreV1Api], Awaitable[Answer]],
        none_if: Collection[int],
        seconds: float | None = None,
    ) -> Answer | None:
        """Make a request as `call` does, but do not repeat it."""
        from kubernetes_asyncio.client import ApiException

        async def attempt(api: CoreV1Api) -> Answer:
            async with asyncio.timeout(ANSWER_SECONDS if seconds is None else seconds):
                return await request(api)

        try:
            return await self.authorized(attempt)
        except ApiException as error:
            if error.status in none_if:
                return None
            raise

    async def authorized(self, request: Callable[[CoreV1Api], Awaitable[Answer]]) -> Answer:
        """Make a request, repeated with fresh credentials while the API rejects the current ones."""
        from kubernetes_asyncio.client import ApiException

        for _ in range(MAX_RENEWALS):
            used = self.api.api_client
            try:
                return await request(self.api)
            except ApiException as error:
                if error.status != 401:
                    raise
            await self._renew(used)
        return await request(self.api)

    async def _open(self) -> None:
        from kubernetes_asyncio.client import CoreV1Api

        self.api = CoreV1Api(await self._api_client())

    async def _renew(self, rejected: ApiClient) -> None:
        """Replace the rejected credentials, for all users at once, unless another user already has."""
        async with self._renewing:
            if self.api.api_client is rejected:
                # The rejected client stays open until all users have left: some may still read a watch.
                if self._opening.done():
                    self._opening = asyncio.ensure_future(self._open())
                await asyncio.shield(self._opening)

    async def _api_client(self) -> ApiClient:
        """Open a client with the credentials that the connection gives now."""
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
        from kubernetes_asyncio.client import Configuration
        from kubernetes_asyncio.config import ConfigException
        from yaml import YAMLError

        configuration = Configuration()
        configuration.connection_pool_maxsize = 0  # no limit: a watch per pod would soon reach the usual 100
        try:
            hook = AsyncKubernetesHook(conn_id=self._conn_id, client_configuration=configuration)
            async with asyncio.timeout(CREDENTIALS_SECONDS):
                return await self._stack.enter_async_context(hook.get_conn())
        except TimeoutError as error:
            raise PodFailed(
                f"Airflow connection {self._conn_id} gave no credentials within {CREDENTIALS_SECONDS} s "
                "(does its exec plugin wait for something?)"
            ) from error
        except (AirflowException, ConfigException, YAMLError, FileNotFoundError, PermissionError) as error:
            # An exec plugin that fails may succeed later: the server that it asks may be down.
            kind = PodFailed if str(error).startswith("exec: process returned") else PodRefused
            what = f"Airflow connection {self._conn_id} leads to no cluster: {error}"
            raise kind(f"{what} (give it a kubeconfig, or in-cluster)") from error
