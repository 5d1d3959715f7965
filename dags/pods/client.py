"""The way to the Kubernetes API: the client, its patience, and what its refusals mean."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from airflow.sdk.exceptions import AirflowException

from dags.pods.manifest import Manifest
from dags.pods.status import PodFailed, PodRefused

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient, ApiException, CoreV1Api
    from kubernetes_asyncio.watch import Watch

# For how long a call is made again while its trouble may pass, and for how long each waits for an answer.
PATIENCE_SECONDS = 30
ANSWER_SECONDS = 20
# For how long a connection may take to give credentials, and how often a request asks for fresh ones.
OPEN_SECONDS = 60
MAX_RENEWALS = 2
# For how long a client is given to new users.
FRESH_SECONDS = 300

Answer = TypeVar("Answer")


class Refusal(NamedTuple):
    """An answer of the API by its status and words: whether it may pass, and what helps."""

    status: int
    words: str
    passes: bool
    remedy: str


# The first that fits counts. A new quota has no count yet, and a new namespace no service account.
REFUSALS = (
    Refusal(403, r"exceeded quota: .*=0(,|$)", False, "raise the quota: it has no room for even one pod"),
    Refusal(
        403,
        "(exceeded|unknown for) quota: ",
        True,
        "wait for pods to end, raise the quota, or run fewer at once",
    ),
    Refusal(403, "looking up service account", True, "the namespace needs that service account"),
    Refusal(403, "being terminated", False, "wait until the namespace is gone, then create it anew"),
    Refusal(
        403,
        "^Forbidden$| cannot ",
        False,
        "the connection's account needs create, get, watch and delete on pods there",
    ),
    Refusal(403, "", False, "the pod must keep the namespace's rules: its LimitRange, its security standard"),
    Refusal(
        401, "", False, "the connection's credentials are not accepted, nor are fresh ones: put them right"
    ),
    Refusal(404, "", False, "create the namespace first"),
    Refusal(429, "", True, "the API has too much to do: run fewer at once"),
)


@asynccontextmanager
async def connect(conn_id: str) -> AsyncIterator[Client]:
    """Yield a client of the Kubernetes API that the Airflow connection leads to.

    Raises PodRefused when the connection can't be used, or the API is not the one it trusts; PodFailed
    when the API does not answer.
    """
    # Imported here: a DAG file that imports the provider at top level costs every task seconds.
    import aiohttp

    try:
        async with shared_client(conn_id) as client:
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


@asynccontextmanager
async def shared_client(conn_id: str) -> AsyncIterator[Client]:
    """Yield the client that all users of the connection in this event loop share.

    In a triggerer these are hundreds, and reading the credentials and shaking hands is most of what a pod
    costs there. The connection may change: after some minutes, new users get a new client.
    """
    key = asyncio.get_running_loop(), conn_id
    client = CLIENTS.get(key)
    if client is None or client.is_old:
        client = CLIENTS[key] = Client(conn_id)
    try:
        await client.enter()
        yield client
    finally:
        if await client.leave() and CLIENTS.get(key) is client:
            del CLIENTS[key]


class Client:
    """A client of the Kubernetes API that is open while it has users.

    Its credentials may expire meanwhile, as the tokens of an exec plugin do: a request that is answered with
    401 is made again with fresh ones, which the connection's kubeconfig, plugin or service account gives.
    """

    api: Any  # a CoreV1Api, whose types leave out its api_client

    def __init__(self, conn_id: str) -> None:
        self.is_old = False
        self._conn_id = conn_id
        self._users = 0
        asyncio.get_running_loop().call_later(FRESH_SECONDS, setattr, self, "is_old", True)
        self._stack = AsyncExitStack()
        self._renewing = asyncio.Lock()
        self._opening = asyncio.ensure_future(self._open())

    async def enter(self) -> None:
        self._users += 1
        await asyncio.shield(self._opening)

    async def leave(self) -> bool:
        """Close the client if it has no other users; return whether it had none."""
        self._users -= 1
        if self._users:
            return False
        self._opening.cancel()
        await self._stack.aclose()
        return True

    async def call(self, request: Callable[[CoreV1Api], Awaitable[Answer]]) -> Answer:
        """Make a request, again for some time while its trouble may pass."""
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

        async def bounded(api: CoreV1Api) -> Answer:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await request(api)

        async for attempt in AsyncRetrying(
            retry=retry_if_exception(may_pass),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            stop=stop_after_delay(PATIENCE_SECONDS),
            reraise=True,
        ):
            with attempt:
                return await self.authorized(bounded)
        raise AssertionError("the last attempt raises what it met")

    async def authorized(self, request: Callable[[CoreV1Api], Awaitable[Answer]]) -> Answer:
        """Make a request, again with fresh credentials while the API does not accept those it had."""
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

    async def _renew(self, refused: ApiClient) -> None:
        """Replace the refused credentials, for all users at once, unless another user has already."""
        async with self._renewing:
            if self.api.api_client is refused:
                # The refused client stays open until all users have left: some may read a watch from it.
                self.api.api_client = await self._api_client()

    async def _api_client(self) -> ApiClient:
        """Open a client with credentials as the connection gives them now."""
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
        from kubernetes_asyncio.client import Configuration
        from kubernetes_asyncio.config import ConfigException
        from yaml import YAMLError

        configuration = Configuration()
        configuration.connection_pool_maxsize = 0  # as many as there are pods to watch, not a hundred
        try:
            hook = AsyncKubernetesHook(conn_id=self._conn_id, client_configuration=configuration)
            async with asyncio.timeout(OPEN_SECONDS):
                return await self._stack.enter_async_context(hook.get_conn())
        except TimeoutError as error:
            raise PodFailed(
                f"Airflow connection {self._conn_id} gave no credentials within {OPEN_SECONDS} s "
                "(does its exec plugin wait for something?)"
            ) from error
        except (AirflowException, ConfigException, YAMLError, FileNotFoundError, PermissionError) as error:
            # An exec plugin asks a server for credentials, which may be away.
            kind = PodFailed if str(error).startswith("exec: process returned") else PodRefused
            what = f"Airflow connection {self._conn_id} leads to no cluster: {error}"
            raise kind(f"{what} (give it a kubeconfig, or in-cluster)") from error


def watch_of(api: CoreV1Api) -> Watch:
    """Return a watch that reads pods by this client, and leaves it open.

    A watch of the library's own making opens another client, which reads all of the system's certificates:
    half of what a pod costs in the triggerer.
    """
    from kubernetes_asyncio.watch import Watch

    class Reader:
        deserialize = staticmethod(cast("Any", api).api_client.deserialize)

        async def close(self) -> None:
            """It is not ours."""

    watch = Watch.__new__(Watch)
    vars(watch).update(
        _raw_return_type="V1Pod", _stop=False, _api_client=Reader(), resource_version=None, resp=None
    )
    return watch


CLIENTS: dict[tuple[asyncio.AbstractEventLoop, str], Client] = {}


def may_pass(error: BaseException) -> bool:
    """Whether a call to the Kubernetes API that failed so may do better a little later."""
    import aiohttp
    from kubernetes_asyncio.client import ApiException

    if isinstance(error, ApiException):
        refusal = refusal_of(error)
        return error.status >= 500 if refusal is None else refusal.passes
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return False
    return isinstance(error, (aiohttp.ClientError, OSError))


def refusal_of(error: ApiException) -> Refusal | None:
    """The row of the table that the error falls under."""
    said = words_of(error)
    fitting = (row for row in REFUSALS if row.status == error.status and re.search(row.words, said))
    return next(fitting, None)


def words_of(error: ApiException) -> str:
    """What the API said."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def api_trouble(manifest: Manifest, error: ApiException, to: str = "") -> PodFailed | PodRefused:
    """Return what the Kubernetes API would not do, and the remedy."""
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    what = f"the Kubernetes API refused{to} pod {name} in namespace {namespace}"
    refusal = refusal_of(error)
    if refusal is not None:
        remedy = refusal.remedy
    elif may_pass(error):
        remedy = "the API itself is in trouble"
    else:
        remedy = "delete it by hand" if to else "the pod's definition must be put right"
    return (PodFailed if may_pass(error) else PodRefused)(
        f"{what}: {error.status} {words_of(error)} ({remedy})"
    )
