"""A pod's life: create or find it, wait until it has finished, take its result, delete it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from airflow_pods.client import Client, connect
from airflow_pods.errors import PodFailed, PodRefused, api_error, describe_api_error
from airflow_pods.manifest import Manifest
from airflow_pods.pod import Pod
from airflow_pods.printable import printable
from airflow_pods.requests import create_pod, delete_pod, delete_pod_named, read_pod, watch_pods, watch_until
from airflow_pods.result import NEEDED, Result
from airflow_pods.status import (
    describe_waiting,
    has_failed,
    is_finished,
    result_of,
    title,
    waiting_reason_of,
)

if TYPE_CHECKING:
    from datetime import datetime

LOG = logging.getLogger(__name__)

GRACE_SECONDS = 600
"""Beyond the pod's own deadline: for scheduling, pulling the image and reporting."""
LIST_SECONDS = 5
"""Long enough for a watch to report all existing pods."""


Watch = Callable[[Client, Pod, Callable[[Pod], bool]], Awaitable[Pod | None]]
"""How a pod is watched until it is done: `watch_until`, or one watch for many pods (`Informer`)."""


async def run_pod(conn_id: str, manifest: Manifest) -> Result:
    """Run the pod until it has finished, delete it and return its result. Raises as `pod_result` does."""
    async with pod_result(conn_id, manifest) as result:
        return result or {}


@asynccontextmanager
async def pod_result(
    conn_id: str,
    manifest: Manifest,
    watch: Watch = watch_until,
    keep: bool = False,
    wanted: str = NEEDED,
) -> AsyncIterator[Result | None]:
    """Run the pod until it has finished, yield its result, and delete it if the block raises nothing.

    With ``keep`` it is not deleted. `result_of` says what ``wanted`` is. A pod of the same name that an
    earlier try created is taken over, unless it has failed: then it is replaced. Raises PodRefused or
    PodFailed. A pod that failed is kept for people to look at; one that cannot start is deleted.
    """
    from kubernetes_asyncio.client import ApiException

    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    seconds = manifest["spec"]["activeDeadlineSeconds"] + GRACE_SECONDS
    async with connect(conn_id) as client:
        try:
            async with asyncio.timeout(seconds) as deadline:
                created = await find_or_create(client, manifest, watch, wanted)
                pod = await wait_until_finished(client, created, watch)
        except ApiException as error:
            raise api_error(manifest, error) from error
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise PodFailed(
                f"pod {name} in namespace {namespace} did not end within {seconds} s "
                "(kubectl describe pod says what it waits for)"
            ) from error
        yield result_of(pod, wanted)
        if not keep:
            await clean_up(client, pod)


async def find_or_create(
    client: Client, manifest: Manifest, watch: Watch = watch_until, wanted: str = NEEDED
) -> Pod:
    """Create the pod, or return the one that an earlier try created; replace that one if it has failed."""
    from kubernetes_asyncio.client import ApiException

    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    while True:
        created = await create_pod(client, manifest)
        if created is not None:
            return created
        found = await read_pod(client, name, namespace)
        if found is None:
            continue  # deleted between the two requests
        if found.metadata.deletion_timestamp is None and not has_failed(found, wanted):
            return found
        try:
            await delete_pod(client, found)
        except ApiException as error:
            raise api_error(manifest, error, action="to delete the failed") from error
        await watch(client, found, lambda _: False)  # until it is deleted


async def wait_until_finished(client: Client, pod: Pod, watch: Watch = watch_until) -> Pod:
    """Return the pod once it has finished.

    Raises PodFailed if it is deleted before, PodRefused if it cannot start.
    """
    while not is_finished(pod):
        changed = await wait_out(client, pod, watch)
        if changed is None:
            raise PodFailed(f"{title(pod)} was deleted before it ended")
        pod = changed
    return pod


async def wait_out(client: Client, pod: Pod, watch: Watch = watch_until) -> Pod | None:
    """Return the pod once it has finished, or its waiting reason has changed; return None once it is deleted.

    If the waiting reason lasts longer than it may, delete the pod and raise PodRefused.
    """
    reason = waiting_reason_of(pod)
    try:
        async with asyncio.timeout(reason.seconds if reason else None) as limit:
            return await watch(client, pod, lambda pod: is_finished(pod) or waiting_reason_of(pod) != reason)
    except TimeoutError:
        if reason is None or not limit.expired():
            raise
    await clean_up(client, pod, 0)
    # With the first message: a kubelet that waits before it pulls again no longer says why it has to.
    raise PodRefused(f"{title(pod)} can't start: {describe_waiting(pod)} ({reason.remedy})")


async def delete_by_name(conn_id: str, manifest: Manifest, uid: str = "") -> None:
    """Delete the pod of a task that has ended without it, if it exists; log it if that fails.

    With a ``uid``, a later pod of the same name is left alone.
    """
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    try:
        async with connect(conn_id) as client:
            await delete_pod_named(client, name, namespace, uid)
    except Exception as error:
        log_kept(name, namespace, error)


def is_idle(pod: Pod) -> bool:
    """Return whether a pod has failed or has not started."""
    return pod.status.phase == "Pending" or has_failed(pod)


def ended_before(moment: datetime) -> Callable[[Pod], bool]:
    """Return a predicate: whether a pod has finished and was created before that moment."""
    return lambda pod: bool(is_finished(pod) and pod.metadata.creation_timestamp < moment)


async def delete_all(
    conn_id: str, namespace: str, labels: Mapping[str, str], chosen: Callable[[Pod], bool] = is_idle
) -> list[str]:
    """Delete the chosen pods among those with these labels; return their names.

    A watch reports the existing pods first, so the account does not need the right to list.
    """
    deleted: list[str] = []
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    async with (
        connect(conn_id) as client,
        aclosing(watch_pods(client, namespace, LIST_SECONDS, label_selector=selector)) as events,
    ):
        async for kind, pod in events:
            if kind == "ADDED" and chosen(pod) and pod.metadata.deletion_timestamp is None:
                await delete_pod(client, pod, 0)
                deleted.append(pod.metadata.name)
    return deleted


async def clean_up(client: Client, pod: Pod, grace_seconds: int = 1) -> None:
    """Delete a pod whose outcome is known; if that fails, log it and keep the pod."""
    try:
        await delete_pod(client, pod, grace_seconds)
    except Exception as error:
        log_kept(pod.metadata.name, pod.metadata.namespace, error)


def log_kept(name: str, namespace: str, error: Exception) -> None:
    message = f"Pod {name} in namespace {namespace} is left there, as it could not be deleted: "
    LOG.warning("%s", printable(message + describe_api_error(error)))
