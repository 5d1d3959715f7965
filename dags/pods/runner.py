"""One pod on the Kubernetes API, from create to clean-up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from dags.pods.client import Client, api_trouble, connect, may_pass, watch_of, words_of
from dags.pods.manifest import Manifest
from dags.pods.printable import describe, printable
from dags.pods.result import Result
from dags.pods.status import (
    PodFailed,
    PodRefused,
    Trouble,
    has_failed,
    is_finished,
    named,
    result_of,
    trouble_of,
    why_waiting,
)

if TYPE_CHECKING:
    from datetime import datetime

    from kubernetes_asyncio.client import CoreV1Api, V1Pod

LOG = logging.getLogger(__name__)

# Beyond the pod's own deadline: time to be scheduled, to have its image pulled, to be told of.
GRACE_SECONDS = 600
# Long enough to be told of all pods there are.
LOOK_SECONDS = 5


async def run_pod(conn_id: str, manifest: Manifest) -> Result:
    """Run the pod to its end, whoever created it, and delete it once its result is taken.

    Raises PodRefused or PodFailed. A pod that failed is left for people to look at; one that can't start
    is not.
    """
    from kubernetes_asyncio.client import ApiException

    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    seconds = manifest["spec"]["activeDeadlineSeconds"] + GRACE_SECONDS
    async with connect(conn_id) as client:
        try:
            async with asyncio.timeout(seconds) as deadline:
                pod = await ended(client, await created(client, manifest))
        except ApiException as error:
            raise api_trouble(manifest, error) from error
        except TimeoutError as error:
            if not deadline.expired():
                raise
            what = f"pod {name} in namespace {namespace} did not end within {seconds} s"
            raise PodFailed(f"{what} (kubectl describe pod tells what it waits for)") from error
        result = result_of(pod)
        await clean_up(client, pod)
        return result


async def created(client: Client, manifest: Manifest) -> V1Pod:
    """Create the pod, or find the one an earlier try created; one that failed is replaced."""
    from kubernetes_asyncio.client import ApiException

    namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    while True:
        try:
            return await client.call(lambda api: api.create_namespaced_pod(namespace, manifest))
        except ApiException as error:
            if error.status != 409:
                raise
        try:
            pod = await client.call(lambda api: api.read_namespaced_pod(name, namespace))
        except ApiException as error:
            if error.status != 404:
                raise
            continue  # gone between the two calls
        if pod.metadata.deletion_timestamp is None and not has_failed(pod):
            return pod
        try:
            await delete(client, pod)
        except ApiException as error:
            raise api_trouble(manifest, error, to=" to delete the failed") from error
        await watched(client, pod, lambda _: False)


async def ended(client: Client, pod: V1Pod) -> V1Pod:
    """Return the pod once it has ended.

    Raises PodFailed when it is deleted before, PodRefused when it can't start.
    """
    while not is_finished(pod):
        later = await past(client, pod, trouble_of(pod))
        if later is None:
            raise PodFailed(f"{named(pod)} was deleted before it ended")
        pod = later
    return pod


async def past(client: Client, pod: V1Pod, trouble: Trouble | None) -> V1Pod | None:
    """Return the pod once it has ended or its trouble is another one, or none; None once it is deleted.

    When the trouble has not passed in its time, deletes the pod and raises PodRefused.
    """
    if trouble is None or trouble.patience:
        try:
            async with asyncio.timeout(trouble.patience if trouble else None) as patience:
                return await watched(client, pod, lambda pod: is_finished(pod) or trouble_of(pod) != trouble)
        except TimeoutError:
            if trouble is None or not patience.expired():
                raise
    await clean_up(client, pod, 0)
    # As it was at first: a kubelet that waits before it pulls again no longer tells why it has to.
    raise PodRefused(f"{named(pod)} can't start: {why_waiting(pod)} ({trouble.remedy})")


async def watched(client: Client, pod: V1Pod, done: Callable[[V1Pod], bool]) -> V1Pod | None:
    """Watch from the pod as it is known until it is done; return None once it is deleted."""
    from kubernetes_asyncio.client import ApiException

    namespace, name, uid = pod.metadata.namespace, pod.metadata.name, pod.metadata.uid
    while not done(pod):
        try:
            seen = await client.authorized(partial(watch_once, pod=pod, done=done))
            if seen is None or done(seen):
                return seen
        except Exception as error:
            if not may_pass(error) and getattr(error, "status", None) != 410:
                raise
            await asyncio.sleep(0.2)  # a watch that breaks at once is not begun again at once
        # The stream has ended, broke or began too long ago: look again, then watch from there.
        try:
            pod = await client.call(lambda api: api.read_namespaced_pod(name, namespace))
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        if pod.metadata.uid != uid:
            return None
    return pod


async def watch_once(api: CoreV1Api, pod: V1Pod, done: Callable[[V1Pod], bool]) -> V1Pod | None:
    """Return the pod once it is done, or as it was when the stream ended; None once it is deleted."""
    uid = pod.metadata.uid
    async with watch_of(api).stream(
        api.list_namespaced_pod,
        pod.metadata.namespace,
        field_selector=f"metadata.name={pod.metadata.name}",
        resource_version=pod.metadata.resource_version,
        timeout_seconds=60,
        _request_timeout=90,
    ) as events:
        try:
            async for event in events:
                if not isinstance(event, dict):
                    break  # a proxy's page, in place of the API's answer
                pod = event["object"]
                if event["type"] == "DELETED" or pod.metadata.uid != uid:
                    return None
                if done(pod):
                    return pod
        finally:
            # Closed politely, the connection would wait for an answer beyond the event loop's end.
            connection = events.resp and events.resp.connection
            if connection and connection.transport:
                connection.transport.abort()
    return pod


async def delete(client: Client, pod: V1Pod, grace_seconds: int = 1) -> None:
    """Delete this very pod, not a later one of its name; 0 seconds: do not wait for the node's word."""
    from kubernetes_asyncio.client import ApiException

    options: Any = {"preconditions": {"uid": pod.metadata.uid}, "gracePeriodSeconds": grace_seconds}
    name, namespace = pod.metadata.name, pod.metadata.namespace
    try:
        await client.call(lambda api: api.delete_namespaced_pod(name, namespace, body=options))
    except ApiException as error:
        if error.status not in (404, 409):
            raise


async def clean_up(client: Client, pod: V1Pod, grace_seconds: int = 1) -> None:
    """Delete a pod whose outcome is known already; when that fails, log it and leave the pod."""
    try:
        await delete(client, pod, grace_seconds)
    except Exception as error:
        log_left(pod.metadata.name, pod.metadata.namespace, error)


async def delete_by_name(conn_id: str, manifest: Manifest) -> None:
    """Delete the pod of a task that has ended otherwise, if it is still there; log it when that fails."""
    from kubernetes_asyncio.client import ApiException

    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    try:
        async with connect(conn_id) as client:
            await client.call(lambda api: api.delete_namespaced_pod(name, namespace))
    except Exception as error:
        if not (isinstance(error, ApiException) and error.status == 404):
            log_left(name, namespace, error)


def log_left(name: str, namespace: str, error: Exception) -> None:
    """Log why a pod was not deleted."""
    from kubernetes_asyncio.client import ApiException

    why = f"{error.status} {words_of(error)}" if isinstance(error, ApiException) else describe(error)
    what = f"Pod {name} in namespace {namespace} is left there, as it could not be deleted: {why}"
    LOG.warning("%s", printable(what))


def is_idle(pod: V1Pod) -> bool:
    """Whether a pod has failed or waits to begin."""
    return pod.status.phase == "Pending" or has_failed(pod)


def ended_before(moment: datetime) -> Callable[[V1Pod], bool]:
    """Return whether a pod has ended and was created before that moment, as a function of the pod."""
    return lambda pod: bool(is_finished(pod) and pod.metadata.creation_timestamp < moment)


async def delete_all(
    conn_id: str, namespace: str, labels: Mapping[str, str], chosen: Callable[[V1Pod], bool] = is_idle
) -> list[str]:
    """Delete the chosen ones of the pods with these labels; return their names.

    A watch begins with what there is, so that nobody needs the right to list.
    """
    deleted: list[str] = []
    async with connect(conn_id) as client:

        async def look(api: CoreV1Api) -> None:
            async with watch_of(api).stream(
                api.list_namespaced_pod,
                namespace,
                label_selector=",".join(f"{name}={value}" for name, value in labels.items()),
                timeout_seconds=LOOK_SECONDS,
            ) as events:
                async for event in events:
                    pod = event["object"]
                    if event["type"] == "ADDED" and chosen(pod) and pod.metadata.deletion_timestamp is None:
                        await delete(client, pod, 0)
                        deleted.append(pod.metadata.name)

        await client.authorized(look)
    return deleted
