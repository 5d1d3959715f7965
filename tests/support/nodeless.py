"""The project's Kubernetes endpoint without its node: the test decides what becomes of each pod.

The API and its store are the endpoint's own, served over HTTP. No kubelet follows the store, so a pod waits
until the test gives it a status, and a deleted pod is gone at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from aiohttp import web
from aiohttp.test_utils import TestServer

from scripts.kube.api import Api
from scripts.kube.kubelet import Kubelet
from scripts.kube.objects import NAMESPACES, PODS
from scripts.kube.requests import ApiError, answer
from scripts.kube.store import Store
from tests.support.kubernetes_api import rejection, statuses

Answer = TypeVar("Answer")

NAMESPACE = "pods"
RUNNING = {"phase": "Running", "containerStatuses": statuses(main={"running": {}})}


class Nodeless:
    """The endpoint's API and store. All methods must be called in its event loop."""

    def __init__(self, state: Path) -> None:
        self.store = Store(state / "objects.sqlite")
        self.store.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        self.seen: Counter[str] = Counter()  # requests by method; a watch is WATCH
        # By method: the status of a rejection or all of it; 0 if the request is answered.
        self.refuses: Callable[[str], int | web.Response] = lambda _: 0
        self.before: Callable[[str], None] = lambda _: None  # called before each request with its method
        self.watches: list[web.Request] = []
        self._api = Api(self.store, cast("Kubelet", None))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request as the endpoint does, unless the test refuses it."""
        method = "WATCH" if "watch" in request.query else request.method
        self.seen[method] += 1
        self.before(method)
        refusal = self.refuses(method)
        if refusal != 0:
            return rejection(refusal, f"refused with {refusal}") if isinstance(refusal, int) else refusal
        if method == "WATCH":
            self.watches.append(request)
        try:
            return await self._api.handle(request)
        except ApiError as error:
            return answer(error.body, error.code)
        finally:
            self.watches = [each for each in self.watches if each is not request]

    def pods(self) -> dict[str, Any]:
        """Return the pods by name."""
        return {pod["metadata"]["name"]: pod for pod in self.store.list(PODS, NAMESPACE)}

    def create(self, manifest: Any) -> None:
        """Create a pod, as another client."""
        self.store.create(PODS, {**manifest, "status": {"phase": "Pending"}})

    def report(self, name: str, status: dict[str, Any]) -> None:
        """Give a pod a status, as its kubelet."""
        self.store.update(PODS, {**self.pods()[name], "status": status})

    def delete(self, name: str) -> None:
        """Delete a pod, as another client."""
        self.store.delete(PODS, (NAMESPACE, name))

    def forget(self) -> None:
        """Forget all changes so far: a watch from an older version is answered with 410."""
        for resource in self.store._resources.values():
            resource.history.clear()
            resource.oldest = self.store.version

    def break_watches(self) -> None:
        """Cut the connections of all watches."""
        for request in self.watches:
            if request.transport:
                request.transport.abort()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds, which is looked at after each turn of the event loop."""
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(state: Path) -> AsyncIterator[tuple[Nodeless, str]]:
    """Serve such an endpoint on a free port; yield it and its URL."""
    endpoint = Nodeless(state)
    app = web.Application()
    app.router.add_route("*", "/api/v1/{path:.+}", endpoint.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        try:
            yield endpoint, f"http://127.0.0.1:{server.port}"
        finally:
            endpoint.break_watches()
            endpoint.store.close()


class InThread:
    """Such an endpoint in a thread of its own, for tests of what runs in threads as well."""

    def __init__(self, endpoint: Nodeless, loop: asyncio.AbstractEventLoop) -> None:
        self.endpoint = endpoint
        self._loop = loop

    def call(self, function: Callable[..., Answer], *args: Any) -> Answer:
        """Call a method of the endpoint in its thread; return its answer."""

        async def called() -> Answer:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(20)


@contextmanager
def serving_in_thread(state: Path) -> Iterator[tuple[InThread, str]]:
    """Serve such an endpoint in a thread; yield it and its URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="endpoint", daemon=True)
    thread.start()
    context = serving(state)
    endpoint, url = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(20)
    try:
        yield InThread(endpoint, loop), url
    finally:
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
