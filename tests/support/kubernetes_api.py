"""A Kubernetes API of a few lines, which keeps pods, and refuses what a test wants refused."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Pod = dict[str, Any]
PODS = "/api/v1/namespaces/{namespace}/pods"


def terminated(message: str | None = '{"acc": 5}', code: int = 0, **more: Any) -> dict[str, Any]:
    """The state of a container that has ended."""
    reason = "Error" if code else "Completed"
    return {"terminated": {"exitCode": code, "message": message, "reason": reason, **more}}


def statuses(**states: dict[str, Any]) -> list[dict[str, Any]]:
    """The statuses of containers, by their names, in a kubelet's order."""
    rest = {"image": "cpu:1", "imageID": "", "ready": False, "restartCount": 0}
    return [{"name": name, "state": states[name], **rest} for name in sorted(states)]


def finished(**states: dict[str, Any]) -> dict[str, Any]:
    """The status of a pod whose containers have ended; the main one has left a result if nothing is said."""
    return {"phase": "Succeeded", "containerStatuses": statuses(**(states or {"main": terminated()}))}


class KubernetesApi:
    """Pods that are created, watched, read and deleted."""

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}
        self.comes_to = finished()  # the status that a created pod has once it is watched
        self.seen: Counter[tuple[str, int]] = Counter()  # methods and the answers' codes
        self.refuses: Callable[[web.Request], int] = lambda _: 0  # a code other than 0 is the answer
        self.is_silent: Callable[[web.Request], bool] = lambda _: False  # whether there is no answer
        self.watched_as = "MODIFIED"
        self._version = 1

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request for pods."""
        if self.is_silent(request):
            await asyncio.Event().wait()
        code = self.refuses(request)
        if code:
            response: web.StreamResponse = status(code, f"refused with {code}")
        else:
            response = await getattr(self, f"_{request.method.lower()}")(request)
        self.seen[self.method(request), response.status] += 1
        return response

    @staticmethod
    def method(request: web.Request) -> str:
        """The request's method, WATCH among them."""
        return "WATCH" if "watch" in request.query else request.method

    async def _post(self, request: web.Request) -> web.Response:
        pod = await request.json()
        name = pod["metadata"]["name"]
        if name in self.pods:
            return status(409, f'pods "{name}" already exists')
        return web.json_response(self.add(pod, {"phase": "Pending"}), status=201)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self._watch(request)
        pod = self.pods.get(request.match_info["name"])
        return web.json_response(pod) if pod else status(404, "no such pod")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for pod in list(self.pods.values()):
            self._version += 1
            pod["metadata"]["resourceVersion"] = str(self._version)
            pod["status"] = self.comes_to
            event = {"type": self.watched_as, "object": pod}
            await response.write(json.dumps(event).encode() + b"\n")
        await asyncio.sleep(0)
        return response

    async def _delete(self, request: web.Request) -> web.Response:
        pod = self.pods.pop(request.match_info["name"], None)
        return web.json_response(pod) if pod else status(404, "no such pod")

    def add(self, pod: Pod, status: dict[str, Any]) -> Pod:
        """Keep a pod in that state."""
        self._version += 1
        metadata = {"uid": str(self._version), "resourceVersion": str(self._version), **pod["metadata"]}
        self.pods[pod["metadata"]["name"]] = {**pod, "metadata": metadata, "status": status}
        return self.pods[pod["metadata"]["name"]]


def status(code: int, message: str) -> web.Response:
    """A refusal as the API words it."""
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


@asynccontextmanager
async def serving(api: KubernetesApi) -> AsyncIterator[str]:
    """Serve on a free port; yields the address."""
    app = web.Application()
    app.router.add_route("*", PODS, api.answer)
    app.router.add_route("*", PODS + "/{name}", api.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.port}"


def kubeconfig(server: str, user: dict[str, Any] | None = None) -> str:
    """A kubeconfig that leads there."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "there",
            "clusters": [{"name": "there", "cluster": {"server": server}}],
            "users": [{"name": "somebody", "user": user or {}}],
            "contexts": [{"name": "there", "context": {"cluster": "there", "user": "somebody"}}],
        }
    )
