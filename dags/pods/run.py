"""One pod on the Kubernetes API, from create to clean-up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from dags.pods.manifest import Manifest
from dags.pods.status import PodFailed, PodRefused, Result, is_finished, result_of, why_stuck

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiException, CoreV1Api, V1Pod

# Beyond the pod's own deadline: time to be scheduled, to have its image pulled, to be told of.
GRACE_SECONDS = 120
# For how long a call to the Kubernetes API is made again while its trouble is temporary.
PATIENCE_SECONDS = 30


@asynccontextmanager
async def core_v1(conn_id: str) -> AsyncIterator[CoreV1Api]:
    """The Kubernetes API that the Airflow connection leads to."""
    # Imported here: a DAG file that imports the provider at top level costs every task seconds.
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
    from kubernetes_asyncio.client import CoreV1Api

    async with AsyncKubernetesHook(conn_id=conn_id).get_conn() as client:
        yield CoreV1Api(client)


async def run_pod(conn_id: str, manifest: Manifest) -> Result:
    """Run the pod to its end, whoever created it, and delete it once its result is taken.

    Raises PodRefused or PodFailed. A pod that failed is left for people to look at.
    """
    import aiohttp
    from kubernetes_asyncio.client import ApiException

    seconds = manifest["spec"]["activeDeadlineSeconds"] + GRACE_SECONDS
    name = manifest["metadata"]["name"]
    try:
        async with asyncio.timeout(seconds) as deadline, core_v1(conn_id) as api:
            first = await created(api, manifest)
            pod = await watched(api, first, lambda pod: is_finished(pod) or why_stuck(pod) is not None)
            if pod is None:
                raise PodFailed(f"pod {name} was deleted before it ended")
            if not is_finished(pod):
                await delete(api, pod)
                raise PodFailed(f"pod {name} can't start: {why_stuck(pod)}")
            result = result_of(pod)
            await delete(api, pod)
            return result
    except ApiException as error:
        raise api_trouble(manifest, error) from error
    except (aiohttp.ClientError, OSError) as error:
        if deadline.expired():
            raise PodFailed(f"pod {name} did not end within {seconds} s") from error
        raise PodFailed(f"the Kubernetes API does not answer: {error or type(error).__name__}") from error


async def created(api: CoreV1Api, manifest: Manifest) -> V1Pod:
    """Create the pod, or find the one an earlier try created; one that failed is replaced."""
    from kubernetes_asyncio.client import ApiException

    namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    while True:
        try:
            return await patiently(lambda: api.create_namespaced_pod(namespace, manifest))
        except ApiException as error:
            if error.status != 409:
                raise
        try:
            pod = await patiently(lambda: api.read_namespaced_pod(name, namespace))
        except ApiException as error:
            if error.status != 404:
                raise
            continue  # gone between the two calls
        if pod.metadata.deletion_timestamp is None and pod.status.phase != "Failed":
            return pod
        await delete(api, pod)
        await watched(api, pod, lambda _: False)


async def watched(api: CoreV1Api, pod: V1Pod, done: Callable[[V1Pod], bool]) -> V1Pod | None:
    """Watch from the pod as it is known until it is done; None once it is deleted."""
    from kubernetes_asyncio.client import ApiException
    from kubernetes_asyncio.watch import Watch

    namespace, name, uid = pod.metadata.namespace, pod.metadata.name, pod.metadata.uid
    while not done(pod):
        try:
            async with Watch().stream(
                api.list_namespaced_pod,
                namespace,
                field_selector=f"metadata.name={name}",
                resource_version=pod.metadata.resource_version,
                timeout_seconds=60,
                _request_timeout=90,
            ) as events:
                async for event in events:
                    pod = event["object"]
                    if event["type"] == "DELETED" or pod.metadata.uid != uid:
                        return None
                    if done(pod):
                        return pod
        except Exception as error:
            if not is_temporary(error) and getattr(error, "status", None) != 410:
                raise
            await asyncio.sleep(0.2)  # a watch that breaks at once is not begun again at once
        # The stream has ended, broke or began too long ago: look again, then watch from there.
        try:
            pod = await patiently(lambda: api.read_namespaced_pod(name, namespace))
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        if pod.metadata.uid != uid:
            return None
    return pod


async def delete(api: CoreV1Api, pod: V1Pod) -> None:
    """Delete this very pod, not a later one of its name."""
    from kubernetes_asyncio.client import ApiException

    options: Any = {"preconditions": {"uid": pod.metadata.uid}, "gracePeriodSeconds": 1}
    name, namespace = pod.metadata.name, pod.metadata.namespace
    try:
        await patiently(lambda: api.delete_namespaced_pod(name, namespace, body=options))
    except ApiException as error:
        if error.status not in (404, 409):
            raise


def is_temporary(error: BaseException) -> bool:
    """Whether a call to the Kubernetes API that failed so may be made again."""
    import aiohttp
    from kubernetes_asyncio.client import ApiException

    if isinstance(error, ApiException):
        return error.status == 429 or error.status >= 500
    return isinstance(error, (aiohttp.ClientError, OSError))


async def patiently(call: Callable[[], Awaitable[V1Pod]]) -> V1Pod:
    """Make a call to the Kubernetes API, again for some time while its trouble is temporary."""
    from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

    async for attempt in AsyncRetrying(
        retry=retry_if_exception(is_temporary),
        wait=wait_exponential_jitter(multiplier=0.2, max=5),
        stop=stop_after_delay(PATIENCE_SECONDS),
        reraise=True,
    ):
        with attempt:
            return await call()
    raise AssertionError("the last attempt raises what it met")


def api_trouble(manifest: Manifest, error: ApiException) -> PodFailed | PodRefused:
    """What the Kubernetes API would not do, in one sentence with the remedy."""
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    try:
        said = json.loads(error.body or "")["message"]
    except (TypeError, ValueError, KeyError):
        said = error.reason
    what = f"the Kubernetes API refused pod {name} in namespace {namespace}: {error.status} {said}"
    # A quota that was made just now has no count yet.
    if error.status == 403 and ("exceeded quota:" in said or "status unknown for quota:" in said):
        return PodFailed(f"{what} (wait for pods to end, raise the quota, or run fewer at once)")
    if is_temporary(error):
        return PodFailed(what)
    remedies = {
        401: "the connection's credentials are not accepted: renew them",
        403: "the connection's account needs create, get, watch and delete on pods there",
        404: "create the namespace first",
    }
    remedy = remedies.get(error.status, "the pod's definition must be put right")
    return PodRefused(f"{what} ({remedy})")


async def delete_by_name(conn_id: str, manifest: Manifest) -> None:
    """Delete the pod of a task that somebody ended; it may be gone already."""
    from kubernetes_asyncio.client import ApiException

    async with core_v1(conn_id) as api:
        try:
            await api.delete_namespaced_pod(manifest["metadata"]["name"], manifest["metadata"]["namespace"])
        except ApiException as error:
            if error.status != 404:
                raise
