"""The requests to the Kubernetes API that this package makes: create, read, watch and delete pods.

The Role in scripts/cluster/access.yaml grants exactly these.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_pods.client import Client
from airflow_pods.errors import is_temporary
from airflow_pods.manifest import Manifest
from airflow_pods.printable import describe

if TYPE_CHECKING:
    from kubernetes_asyncio.client import CoreV1Api, V1Pod

LOG = logging.getLogger(__name__)

WATCH_SECONDS = 60
"""How long one watch lasts before the next one begins."""


async def create_pod(client: Client, manifest: Manifest) -> V1Pod | None:
    """Create a pod; return None if one of that name exists."""
    namespace = manifest["metadata"]["namespace"]
    return await client.call(lambda api: api.create_namespaced_pod(namespace, manifest), none_if=[409])


async def read_pod(client: Client, name: str, namespace: str) -> V1Pod | None:
    """Return a pod; None if there is none of that name."""
    return await client.call(lambda api: api.read_namespaced_pod(name, namespace), none_if=[404])


async def delete_pod(client: Client, pod: V1Pod, grace_seconds: int = 1) -> None:
    """Delete this very pod, not a later one of the same name; a pod that is already gone is no error.

    With 0 seconds of grace, the API forgets the pod at once, without waiting for its node.
    """
    await delete_pod_named(
        client, pod.metadata.name, pod.metadata.namespace, pod.metadata.uid, gracePeriodSeconds=grace_seconds
    )


async def delete_pod_named(client: Client, name: str, namespace: str, uid: str = "", **options: Any) -> None:
    """Delete the pod of that name, if it has that uid or none is given; one that is gone is no error."""
    body: Any = options | ({"preconditions": {"uid": uid}} if uid else {})
    await client.call(lambda api: api.delete_namespaced_pod(name, namespace, body=body), none_if=[404, 409])


async def watch_until(client: Client, pod: V1Pod, is_done: Callable[[V1Pod], bool]) -> V1Pod | None:
    """Watch from this version of the pod until it is done; return it, or None once it is deleted."""
    name, namespace, uid = pod.metadata.name, pod.metadata.namespace, pod.metadata.uid
    while not is_done(pod):
        version = pod.metadata.resource_version
        events = watch_pods(
            client, namespace, field_selector=f"metadata.name={name}", resource_version=version
        )
        try:
            async with aclosing(events):
                async for kind, seen in events:
                    if kind == "DELETED" or seen.metadata.uid != uid:
                        return None
                    if is_done(seen):
                        return seen
        except Exception as error:
            if not is_temporary(error) and getattr(error, "status", None) != 410:
                raise
            await asyncio.sleep(0.2)  # a watch that breaks at once is not repeated at once
        # The watch has ended, broke, or its version is too old (410): read the pod, then watch from there.
        read = await read_pod(client, name, namespace)
        if read is None or read.metadata.uid != uid:
            return None
        pod = read
    return pod


async def watch_pods(
    client: Client, namespace: str, seconds: int = WATCH_SECONDS, **selection: Any
) -> AsyncGenerator[tuple[str, V1Pod], None]:
    """Yield the kind of each event (``ADDED``, ``MODIFIED``, ``DELETED``) and its pod, for so many seconds.

    Without a ``resource_version`` the first events are the pods that exist. A pod that this client cannot
    read is logged and left out, so that it does not end the watch of all others. Raises ApiException for an
    error event. Close it with `aclosing`: it holds a connection.

    Not the library's `Watch`: that opens a client of its own, which reads all of the system's certificates,
    and that is half of what a pod costs in the triggerer.
    """
    from kubernetes_asyncio.client import ApiException

    async def open_watch(api: CoreV1Api) -> Any:
        response: Any = await api.list_namespaced_pod(
            namespace,
            watch=True,
            timeout_seconds=seconds,
            _request_timeout=seconds + 30,
            _preload_content=False,
            **selection,
        )
        if response.status == 401:
            response.close()
            raise ApiException(status=401, reason=response.reason)
        return response

    response = await client.authorized(open_watch)
    deserialize = client.api.api_client.deserialize
    try:
        async for line in response.content:
            event = _parse_event(line)
            if event is None:
                return
            body = SimpleNamespace(data=json.dumps(event["object"]))
            try:
                pod = deserialize(body, "V1Pod")
            except Exception as error:  # whatever a newer API may send
                name = event["object"].get("metadata", {}).get("name")
                LOG.warning("Pod %s in namespace %s cannot be read: %s", name, namespace, describe(error))
                continue
            yield event["type"], pod
    finally:
        # Closed in the usual way, TLS would wait for the server's answer beyond the event loop's end.
        if response.connection and response.connection.transport:
            response.connection.transport.abort()
        response.release()


def _parse_event(line: bytes) -> dict[str, Any] | None:
    """Return a watch's event; None if the watch is over: the line is from a proxy, or it is status 401.

    Raises ApiException for any other error, as an event or instead of events.
    """
    from kubernetes_asyncio.client import ApiException

    try:
        event = json.loads(line)
    except ValueError:
        return None
    status = event["object"] if event.get("type") == "ERROR" else event
    if status.get("code") == 401:
        return None  # the next request renews the credentials
    if "code" in status:
        raise ApiException(status=status["code"], reason=f"{status.get('reason')}: {status.get('message')}")
    return dict(event)
