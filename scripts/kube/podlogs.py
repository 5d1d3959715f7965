"""The pods/log subresource."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime

from aiohttp import web

from scripts.kube import logs
from scripts.kube.errors import bad_request, invalid
from scripts.kube.kubelet import Kubelet
from scripts.kube.objects import Json
from scripts.kube.requests import flag, number

_WAITING_REASONS = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}
"""How a kubelet describes some of the reasons why a container waits."""


async def serve_log(request: web.Request, pod: Json, kubelet: Kubelet) -> web.StreamResponse:
    """Stream the log of one of the pod's containers as text."""
    name = container_name(request, pod)
    options = _options(request, pod)
    status = _container_status(pod, name)
    run = status.get("restartCount", 0) - flag(request, "previous")
    container = f'container "{name}" in pod "{pod["metadata"]["name"]}"'
    if run < 0:
        raise bad_request(f"previous terminated {container} not found")
    file, log = kubelet.log(pod, name, run)
    if not file.exists():
        reason = status.get("state", {}).get("waiting", {}).get("reason", "ContainerCreating")
        raise bad_request(f"{container} is waiting to start: {_WAITING_REASONS.get(reason, reason)}")
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    with suppress(ConnectionResetError):
        async for piece in logs.read(file, options, log):
            await response.write(piece)
        await response.write_eof()
    return response


def container_name(request: web.Request, pod: Json) -> str:
    """Return the container that the request names, or the only one; raise ApiError (400)."""
    mains = [container["name"] for container in pod["spec"]["containers"]]
    inits = [container["name"] for container in pod["spec"].get("initContainers") or []]
    pod_name = pod["metadata"]["name"]
    name = request.query.get("container", "")
    if not name:
        if len(mains) == 1:
            return str(mains[0])
        why = f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(mains)}]"
        raise bad_request(why + (f" or one of the init containers: [{' '.join(inits)}]" if inits else ""))
    if name not in (*mains, *inits):
        raise bad_request(f"container {name} is not valid for pod {pod_name}")
    return name


def _options(request: web.Request, pod: Json) -> logs.LogOptions:
    tail, limit = _amount(request, pod, "tailLines", 0), _amount(request, pod, "limitBytes", 1)
    since: datetime | None = None
    if seconds := _amount(request, pod, "sinceSeconds", 1):
        since = datetime.fromtimestamp(max(0, time.time() - seconds), UTC)
    if text := request.query.get("sinceTime"):
        try:
            since = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError) as problem:
            raise bad_request(f"sinceTime: {problem}") from problem
    first = since.isoformat(timespec="microseconds") if since else ""
    return logs.LogOptions(flag(request, "follow"), flag(request, "timestamps"), tail, first, limit)


def _amount(request: web.Request, pod: Json, name: str, least: int) -> int | None:
    value = number(request, name)
    if value is not None and value < least:
        why = f"Invalid value: {value}: must be greater than or equal to {least}"
        cause = {"reason": "FieldValueInvalid", "message": why, "field": name}
        raise invalid("PodLogOptions", pod["metadata"]["name"], [cause])
    return value


def _container_status(pod: Json, name: str) -> Json:
    groups = ("containerStatuses", "initContainerStatuses")
    statuses = [one for group in groups for one in pod["status"].get(group, [])]
    return next((one for one in statuses if one["name"] == name), {})
