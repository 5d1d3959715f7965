"""A minimal fake of the Kubernetes API that stores pods, and rejects requests as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Pod = dict[str, Any]
PODS = "/api/v1/namespaces/{namespace}/pods"


def terminated(message: str | None = '{"acc": 5}', code: int = 0, **more: Any) -> dict[str, Any]:
    """Return the state of a container that has ended."""
    reason = "Error" if code else "Completed"
    return {"terminated": {"exitCode": code, "message": message, "reason": reason, **more}}


def statuses(**states: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the statuses of containers with these states, in a kubelet's order."""
    rest = {"image": "cpu:1", "imageID": "", "ready": False, "restartCount": 0}
    return [{"name": name, "state": states[name], **rest} for name in sorted(states)]


def finished(**states: dict[str, Any]) -> dict[str, Any]:
    """Return the status of a finished pod; without arguments, its main container has left a result."""
    return {"phase": "Succeeded", "containerStatuses": statuses(**(states or {"main": terminated()}))}


class KubernetesApi:
    """The API for pods: create, watch, read and delete."""

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}
        self.final_status = finished()  # of every pod, once it is watched
        self.seen: Counter[tuple[str, int]] = Counter()  # requests by method and status
        self.refuses: Callable[[web.Request], int] = lambda _: 0  # the status of a rejection, or 0
        self.is_silent: Callable[[web.Request], bool] = lambda _: False  # whether a request gets no answer
        self.watched_as = "MODIFIED"
        self.watch_error = 0  # the code of an error event that the next watch begins with, or 0
        self._version = 1

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request for pods."""
        if self.is_silent(request):
            await asyncio.Event().wait()
        code = self.refuses(request)
        if code:
            response: web.StreamResponse = rejection(code, f"refused with {code}")
        else:
            response = await getattr(self, f"_{request.method.lower()}")(request)
        self.seen[self.method(request), response.status] += 1
        return response

    @staticmethod
    def method(request: web.Request) -> str:
        """Return the request's method, or WATCH."""
        return "WATCH" if "watch" in request.query else request.method

    async def _post(self, request: web.Request) -> web.Response:
        pod = await request.json()
        name = pod["metadata"]["name"]
        if name in self.pods:
            return rejection(409, f'pods "{name}" already exists')
        return web.json_response(self.add(pod, {"phase": "Pending"}), status=201)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self._watch(request)
        pod = self.pods.get(request.match_info["name"])
        return web.json_response(pod) if pod else rejection(404, "no such pod")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if self.watch_error:
            error = {"code": self.watch_error, "reason": "Expired", "message": "start again"}
            await response.write(json.dumps({"type": "ERROR", "object": error}).encode() + b"\n")
            self.watch_error = 0
            return response
        for pod in list(self.pods.values()):
            self._version += 1
            pod["metadata"]["resourceVersion"] = str(self._version)
            pod["status"] = self.final_status
            event = {"type": self.watched_as, "object": pod}
            await response.write(json.dumps(event).encode() + b"\n")
        await asyncio.sleep(0)
        return response

    async def _delete(self, request: web.Request) -> web.Response:
        pod = self.pods.pop(request.match_info["name"], None)
        return web.json_response(pod) if pod else rejection(404, "no such pod")

    def add(self, pod: Pod, status: dict[str, Any]) -> Pod:
        """Store a pod with this status."""
        self._version += 1
        metadata = {"uid": str(self._version), "resourceVersion": str(self._version), **pod["metadata"]}
        self.pods[pod["metadata"]["name"]] = {**pod, "metadata": metadata, "status": status}
        return self.pods[pod["metadata"]["name"]]


def rejection(code: int, message: str) -> web.Response:
    """Return the API's answer to a request that it rejects."""
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


@asynccontextmanager
async def serving(
    api: KubernetesApi, more: Mapping[str, Callable[[web.Request], Awaitable[web.Response]]] | None = None
) -> AsyncIterator[str]:
    """Serve the API on a free port, with more handlers by path; yield its URL."""
    app = web.Application()
    for path, handler in (more or {}).items():
        app.router.add_get(path, handler)
    app.router.add_route("*", PODS, api.answer)
    app.router.add_route("*", PODS + "/{name}", api.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.port}"


def kubeconfig(server: str, user: dict[str, Any] | None = None) -> str:
    """Return a kubeconfig for this server."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "there",
            "clusters": [{"name": "there", "cluster": {"server": server}}],
            "users": [{"name": "user", "user": user or {}}],
            "contexts": [{"name": "there", "context": {"cluster": "there", "user": "user"}}],
        }
    )
