"""One pod on the Kubernetes API, from create to clean-up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dags.pods.api import api_trouble, core_v1, may_pass, patiently, watch_of
from dags.pods.manifest import Manifest
from dags.pods.status import (
    PodFailed,
    PodRefused,
    Result,
    Trouble,
    is_finished,
    named,
    result_of,
    trouble_of,
    why_waiting,
)

if TYPE_CHECKING:
    from datetime import datetime

    from kubernetes_asyncio.client import CoreV1Api, V1Pod

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
    async with core_v1(conn_id) as api:
        try:
            async with asyncio.timeout(seconds) as deadline:
                pod = await ended(api, await created(api, manifest))
                result = result_of(pod)
                await delete(api, pod)
                return result
        except ApiException as error:
            raise api_trouble(manifest, error) from error
        except TimeoutError as error:
            if not deadline.expired():
                raise
            what = f"pod {name} in namespace {namespace} did not end within {seconds} s"
            raise PodFailed(f"{what} (kubectl describe pod tells what it waits for)") from error


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


async def ended(api: CoreV1Api, pod: V1Pod) -> V1Pod:
    """The pod once it has ended; PodFailed when it is deleted before, PodRefused when it can't start."""
    while not is_finished(pod):
        later = await past(api, pod, trouble_of(pod))
        if later is None:
            raise PodFailed(f"{named(pod)} was deleted before it ended")
        pod = later
    return pod


async def past(api: CoreV1Api, pod: V1Pod, trouble: Trouble | None) -> V1Pod | None:
    """The pod once it has ended or its trouble is another one, or none; None once it is deleted.

    When the trouble has not passed in its time, deletes the pod and raises PodRefused.
    """
    if trouble is None or trouble.patience:
        try:
            async with asyncio.timeout(trouble.patience if trouble else None) as patience:
                return await watched(api, pod, lambda pod: is_finished(pod) or trouble_of(pod) != trouble)
        except TimeoutError:
            if trouble is None or not patience.expired():
                raise
    await delete(api, pod, 0)
    # As it was at first: a kubelet that waits before it pulls again no longer tells why it has to.
    raise PodRefused(f"{named(pod)} can't start: {why_waiting(pod)} ({trouble.remedy})")


async def watched(api: CoreV1Api, pod: V1Pod, done: Callable[[V1Pod], bool]) -> V1Pod | None:
    """Watch from the pod as it is known until it is done; None once it is deleted."""
    from kubernetes_asyncio.client import ApiException

    namespace, name, uid = pod.metadata.namespace, pod.metadata.name, pod.metadata.uid
    while not done(pod):
        try:
            async with watch_of(api).stream(
                api.list_namespaced_pod,
                namespace,
                field_selector=f"metadata.name={name}",
                resource_version=pod.metadata.resource_version,
                timeout_seconds=60,
                _request_timeout=90,
            ) as events:
                try:
                    async for event in events:
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
        except Exception as error:
            if not may_pass(error) and getattr(error, "status", None) != 410:
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


async def delete(api: CoreV1Api, pod: V1Pod, grace_seconds: int = 1) -> None:
    """Delete this very pod, not a later one of its name; 0 seconds: do not wait for the node's word."""
    from kubernetes_asyncio.client import ApiException

    options: Any = {"preconditions": {"uid": pod.metadata.uid}, "gracePeriodSeconds": grace_seconds}
    name, namespace = pod.metadata.name, pod.metadata.namespace
    try:
        await patiently(lambda: api.delete_namespaced_pod(name, namespace, body=options))
    except ApiException as error:
        if error.status not in (404, 409):
            raise


def is_idle(pod: V1Pod) -> bool:
    """Whether a pod has failed or waits to begin."""
    return bool(pod.status.phase in ("Pending", "Failed"))


def ended_before(moment: datetime) -> Callable[[V1Pod], bool]:
    """Return whether a pod has ended and was created before that moment, as a function of the pod."""
    return lambda pod: bool(is_finished(pod) and pod.metadata.creation_timestamp < moment)


async def delete_all(
    conn_id: str, namespace: str, labels: Mapping[str, str], chosen: Callable[[V1Pod], bool] = is_idle
) -> list[str]:
    """Delete the chosen ones of the pods with these labels; return their names.

    A watch begins with what there is, so that nobody needs the right to list.
    """
    deleted = []
    async with (
        core_v1(conn_id) as api,
        watch_of(api).stream(
            api.list_namespaced_pod,
            namespace,
            label_selector=",".join(f"{name}={value}" for name, value in labels.items()),
            timeout_seconds=LOOK_SECONDS,
        ) as events,
    ):
        async for event in events:
            pod = event["object"]
            if event["type"] == "ADDED" and chosen(pod) and pod.metadata.deletion_timestamp is None:
                await delete(api, pod, 0)
                deleted.append(pod.metadata.name)
    return deleted


async def delete_by_name(conn_id: str, manifest: Manifest) -> None:
    """Delete the pod of a task that somebody ended; it may be gone already."""
    from kubernetes_asyncio.client import ApiException

    async with core_v1(conn_id) as api:
        try:
            await api.delete_namespaced_pod(manifest["metadata"]["name"], manifest["metadata"]["namespace"])
        except ApiException as error:
            if error.status != 404:
                raise
