"""The way to the Kubernetes API: the client, its patience, and what its refusals mean."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from airflow.sdk.exceptions import AirflowException

from dags.pods.manifest import Manifest
from dags.pods.status import PodFailed, PodRefused

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiException, CoreV1Api, V1Pod
    from kubernetes_asyncio.watch import Watch

# For how long a call is made again while its trouble may pass, and for how long each waits for an answer.
PATIENCE_SECONDS = 30
ANSWER_SECONDS = 20
# For how long a client is given to new users.
FRESH_SECONDS = 300


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
    Refusal(401, "", False, "the connection's credentials are not accepted: renew them"),
    Refusal(404, "", False, "create the namespace first"),
    Refusal(429, "", True, "the API has too much to do: run fewer at once"),
)


@asynccontextmanager
async def core_v1(conn_id: str) -> AsyncIterator[CoreV1Api]:
    """The Kubernetes API that the Airflow connection leads to.

    Raises PodRefused when the connection can't be used, or the API is not the one it trusts; PodFailed
    when the API does not answer.
    """
    # Imported here: a DAG file that imports the provider at top level costs every task seconds.
    import aiohttp

    try:
        async with client_of(conn_id) as api:
            yield api
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
async def client_of(conn_id: str) -> AsyncIterator[CoreV1Api]:
    """The client that everybody in this event loop has who uses the connection right now.

    In a triggerer these are hundreds, and reading the credentials and shaking hands is most of what a pod
    costs there. Credentials may change: after some minutes, or a refusal, new users get a new client.
    """
    from kubernetes_asyncio.client import ApiException

    key = asyncio.get_running_loop(), conn_id
    client = CLIENTS.get(key)
    if client is None or client.is_old:
        client = CLIENTS[key] = Client(conn_id)
    try:
        yield await client.enter()
    except ApiException as error:
        client.is_old |= error.status == 401
        raise
    finally:
        if await client.leave() and CLIENTS.get(key) is client:
            del CLIENTS[key]


class Client:
    """A client of the Kubernetes API that is open while somebody uses it."""

    def __init__(self, conn_id: str) -> None:
        self.is_old = False
        self._users = 0
        asyncio.get_running_loop().call_later(FRESH_SECONDS, setattr, self, "is_old", True)
        self._stack = AsyncExitStack()
        self._opening = asyncio.ensure_future(self._open(conn_id))

    async def enter(self) -> CoreV1Api:
        self._users += 1
        return await asyncio.shield(self._opening)

    async def leave(self) -> bool:
        """Close it if nobody else uses it; whether that is so."""
        self._users -= 1
        if self._users:
            return False
        self._opening.cancel()
        await self._stack.aclose()
        return True

    async def _open(self, conn_id: str) -> CoreV1Api:
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
        from kubernetes_asyncio.client import Configuration, CoreV1Api
        from kubernetes_asyncio.config import ConfigException
        from yaml import YAMLError

        configuration = Configuration()
        configuration.connection_pool_maxsize = 0  # as many as there are pods to watch, not a hundred
        try:
            hook = AsyncKubernetesHook(conn_id=conn_id, client_configuration=configuration)
            return CoreV1Api(await self._stack.enter_async_context(hook.get_conn()))
        except (AirflowException, ConfigException, YAMLError) as error:
            what = f"Airflow connection {conn_id} leads to no cluster: {error}"
            raise PodRefused(f"{what} (give it a kubeconfig, or in-cluster)") from error


def watch_of(api: CoreV1Api) -> Watch:
    """A watch that reads pods by this client, and leaves it open.

    By itself it would make one more, which reads all of the system's certificates: half of what a pod costs
    in the triggerer.
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


async def patiently(call: Callable[[], Awaitable[V1Pod]]) -> V1Pod:
    """Make a call to the Kubernetes API, again for some time while its trouble may pass."""
    from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

    async for attempt in AsyncRetrying(
        retry=retry_if_exception(may_pass),
        wait=wait_exponential_jitter(multiplier=0.2, max=5),
        stop=stop_after_delay(PATIENCE_SECONDS),
        reraise=True,
    ):
        with attempt:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await call()
    raise AssertionError("the last attempt raises what it met")


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


def api_trouble(manifest: Manifest, error: ApiException) -> PodFailed | PodRefused:
    """What the Kubernetes API would not do, in one sentence with the remedy."""
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    what = f"the Kubernetes API refused pod {name} in namespace {namespace}: {error.status} {words_of(error)}"
    refusal = refusal_of(error)
    if refusal is not None:
        remedy = refusal.remedy
    else:
        remedy = (
            "the API itself is in trouble" if may_pass(error) else "the pod's definition must be put right"
        )
    return (PodFailed if may_pass(error) else PodRefused)(f"{what} ({remedy})")
