"""The pods/log subresource."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC

from aiohttp import web

from scripts.kube import logs
from scripts.kube.errors import ApiError, bad_request, invalid
from scripts.kube.kubelet import Kubelet
from scripts.kube.objects import Json, parse_time
from scripts.kube.requests import flag, number

_WORDS = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}
"""The kubelet's own words for some reasons to wait."""


async def serve_log(request: web.Request, pod: Json, kubelet: Kubelet) -> web.StreamResponse:
    """Streams the log of one container of a pod as text."""
    name = container_name(request, pod)
    options = _options(request, pod)
    status = _status(pod, name)
    run = status.get("restartCount", 0) - flag(request, "previous")
    where = f'container "{name}" in pod "{pod["metadata"]["name"]}"'
    if run < 0:
        raise bad_request(f"previous terminated {where} not found")
    file = kubelet.log_file(pod, name, run)
    if not file.exists():
        raise bad_request(f"{where} is waiting to start: {_waiting_reason(status)}")
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    container = kubelet.container(pod, name)
    log = container.log if container and container.log and container.log.file == file else None
    with suppress(ConnectionResetError):
        async for piece in logs.read(file, options, log):
            await response.write(piece)
        await response.write_eof()
    return response


def container_name(request: web.Request, pod: Json) -> str:
    """The container a request means: the one it names, or the only one; raises ApiError (400)."""
    mains = [container["name"] for container in pod["spec"]["containers"]]
    inits = [container["name"] for container in pod["spec"].get("initContainers") or []]
    pod_name = pod["metadata"]["name"]
    name = request.query.get("container", "")
    if not name:
        if len(mains) == 1:
            return str(mains[0])
        told = f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(mains)}]"
        raise bad_request(told + (f" or one of the init containers: [{' '.join(inits)}]" if inits else ""))
    if name not in (*mains, *inits):
        raise bad_request(f"container {name} is not valid for pod {pod_name}")
    return name


def _options(request: web.Request, pod: Json) -> logs.LogOptions:
    tail, limit = _amount(request, pod, "tailLines", 0), _amount(request, pod, "limitBytes", 1)
    seconds = _amount(request, pod, "sinceSeconds", 1)
    since = logs.since(seconds) if seconds else ""
    if text := request.query.get("sinceTime"):
        try:
            since = parse_time(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        except (ValueError, OverflowError) as problem:
            raise bad_request(f"sinceTime: {problem}") from problem
    return logs.LogOptions(flag(request, "follow"), flag(request, "timestamps"), tail, since, limit)


def _amount(request: web.Request, pod: Json, name: str, least: int) -> int | None:
    value = number(request, name)
    if value is not None and value < least:
        raise _bad_amount(pod, name, value, least)
    return value


def _bad_amount(pod: Json, name: str, value: int, least: int) -> ApiError:
    message = f"Invalid value: {value}: must be greater than or equal to {least}"
    cause = {"reason": "FieldValueInvalid", "message": message, "field": name}
    return invalid("PodLogOptions", pod["metadata"]["name"], [cause])


def _status(pod: Json, name: str) -> Json:
    status = pod["status"]
    every = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
    return next((one for one in every if one["name"] == name), {})


def _waiting_reason(status: Json) -> str:
    reason: str = status.get("state", {}).get("waiting", {}).get("reason", "ContainerCreating")
    return _WORDS.get(reason, reason)
