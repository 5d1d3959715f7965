"""The requests to the Kubernetes API that this package makes: create, read, list, watch and delete pods.

The Role in scripts/cluster/access.yaml grants exactly these.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow_pods.client import Client
from airflow_pods.errors import is_temporary, retry_after
from airflow_pods.manifest import Manifest
from airflow_pods.pod import Pod

if TYPE_CHECKING:
    from kubernetes_asyncio.client import CoreV1Api

WATCH_SECONDS = 60
"""How long one watch lasts before the next one begins."""
PAUSE_SECONDS = 0.2
"""The pause before a watch that broke is opened again, unless the API asks for a longer one."""
SHORTEST_WATCH_SECONDS = 0.5
"""A watch that ends sooner than that, without an event, is taken for one from a version that is too old."""
PAGE = 500
"""How many pods one answer to a list holds."""
DELETE_SECONDS = 90
"""How long the deletion of many pods by one request may take: the API deletes them one after the other."""


async def create_pod(client: Client, manifest: Manifest) -> Pod | None:
    """Create a pod; return None if one of that name exists."""
    return await client.call(_creation(manifest), none_if=[409])


async def create_pod_once(client: Client, manifest: Manifest) -> Pod | None:
    """Create a pod by one request, which is not repeated; return None if one of that name exists.

    Raises ApiException, aiohttp.ClientError or OSError, also where a repetition may help.
    """
    return await client.call_once(_creation(manifest), none_if=[409])


def _creation(manifest: Manifest) -> Callable[[CoreV1Api], Awaitable[Pod]]:
    namespace = manifest["metadata"]["namespace"]

    async def create(api: CoreV1Api) -> Pod:
        return Pod(await _json(await api.create_namespaced_pod(namespace, manifest, _preload_content=False)))

    return create


async def read_pod(client: Client, name: str, namespace: str) -> Pod | None:
    """Return a pod; None if there is none of that name."""

    async def read(api: CoreV1Api) -> Pod:
        return Pod(await _json(await api.read_namespaced_pod(name, namespace, _preload_content=False)))

    return await client.call(read, none_if=[404])


async def list_pods(
    client: Client, namespace: str, selector: str, page: int = PAGE
) -> AsyncGenerator[tuple[str, list[Pod]], None]:
    """Yield the pods with these labels page by page, each page with the version of the list.

    Where a list takes so long that the API forgets its version, it begins anew, and pods come twice. A watch
    from the first page's version misses nothing in any case.
    """
    token: str | None = None
    while True:
        listed = await _page(client, namespace, selector, page, token)
        if listed is None:
            token = None
            continue
        yield listed["metadata"]["resourceVersion"], [Pod(each) for each in listed["items"]]
        token = listed["metadata"].get("continue")
        if not token:
            return


async def newest_version(client: Client, namespace: str) -> str:
    """Return the current version of the pods in the namespace, to watch from."""
    listed = await _page(client, namespace, "", 1, None)
    return str((listed or {})["metadata"]["resourceVersion"])


async def _page(
    client: Client, namespace: str, selector: str, limit: int, token: str | None
) -> dict[str, Any] | None:
    """Return one page of a list; None if the token that asks for the next page has expired."""
    options: Any = {"_continue": token} if token else {}

    async def read(api: CoreV1Api) -> dict[str, Any]:
        response: Any = await api.list_namespaced_pod(
            namespace, label_selector=selector, limit=limit, _preload_content=False, **options
        )
        return dict(await _json(response))

    return await client.call(read, none_if=[410] if token else [])


async def delete_pod(client: Client, pod: Pod, grace_seconds: int = 1) -> None:
    """Delete this very pod, not a later one of the same name; a pod that is already gone is no error.

    With 0 seconds of grace, the API forgets the pod at once, without waiting for its node.
    """
    await delete_pod_named(
        client, pod.metadata.name, pod.metadata.namespace, pod.metadata.uid, gracePeriodSeconds=grace_seconds
    )


async def delete_pod_named(client: Client, name: str, namespace: str, uid: str = "", **options: Any) -> None:
    """Delete the pod of that name, if it has that uid or none is given; one that is gone is no error."""
    body: Any = options | ({"preconditions": {"uid": uid}} if uid else {})

    async def delete(api: CoreV1Api) -> None:
        await _json(await api.delete_namespaced_pod(name, namespace, body=body, _preload_content=False))

    await client.call(delete, none_if=[404, 409])


async def delete_pods(
    client: Client, namespace: str, selector: str, grace_seconds: int = 1, fields: str | None = None
) -> None:
    """Delete all pods with these labels, and these fields, by one request."""
    selectors: Any = {"label_selector": selector, **({"field_selector": fields} if fields else {})}

    async def delete(api: CoreV1Api) -> None:
        response: Any = await api.delete_collection_namespaced_pod(
            namespace,
            **selectors,
            grace_period_seconds=grace_seconds,
            _preload_content=False,
        )
        if response.status >= 300:
            await _json(response)
        response.close()  # unread: it lists all the pods

    await client.call(delete, none_if=[], seconds=DELETE_SECONDS)


async def watch_until(client: Client, pod: Pod, is_done: Callable[[Pod], bool]) -> Pod | None:
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
            # A watch that breaks at once is not repeated at once.
            await asyncio.sleep(max(PAUSE_SECONDS, retry_after(error)))
        # The watch has ended, broke, or its version is too old (410): read the pod, then watch from there.
        read = await read_pod(client, name, namespace)
        if read is None or read.metadata.uid != uid:
            return None
        pod = read
    return pod


async def watch_pods(
    client: Client, namespace: str, seconds: int = WATCH_SECONDS, **selection: Any
) -> AsyncGenerator[tuple[str, Pod], None]:
    """Yield the kind of each event (``ADDED``, ``MODIFIED``, ``DELETED``) and its pod, for so many seconds.

    Without a ``resource_version`` the first events are the pods that exist. Raises ApiException for an error
    event, and one with the status 410 if the watch ends at once without any event: something between here and
    the API may have lost the error. Close it with `aclosing`: it holds a connection.

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
        if response.status >= 300:
            await _json(response)
        return response

    response = await client.authorized(open_watch)
    clock = asyncio.get_running_loop().time
    opened, is_empty = clock(), True
    try:
        async for line in response.content:
            event = _parse_event(line)
            if event is None:
                break
            is_empty = False
            yield event["type"], Pod(event["object"])
        if is_empty and clock() - opened < SHORTEST_WATCH_SECONDS:
            raise ApiException(status=410, reason="the watch has ended at once")
    finally:
        # Closed in the usual way, TLS would wait for the server's answer beyond the event loop's end.
        if response.connection and response.connection.transport:
            response.connection.transport.abort()
        response.release()


async def _json(response: Any) -> Any:
    """Return what an answer holds. Raises ApiException if the API has refused the request."""
    from kubernetes_asyncio.client import ApiException

    text = await response.text()
    if not 200 <= response.status < 300:
        error = ApiException(status=response.status, reason=response.reason)
        error.body, error.headers = text, response.headers
        raise error
    try:
        return json.loads(text)
    except ValueError:
        raise ApiException(status=502, reason="something else than the API has answered") from None


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
