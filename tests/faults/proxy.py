"""A proxy between Airflow's schedulers and the Kubernetes API, at which faults are injected.

Each scheduler has a URL of its own, so the proxy knows which one has created a pod. It runs in a thread.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.kubernetes_api import kubeconfig, rejection

FIRST, SECOND = "first", "second"
"""The schedulers: the stack's own, and one beside it."""


@dataclass
class Watch:
    """A watch that is open: what is put into its queue is written to the client; None ends it."""

    scheduler: str
    lines: asyncio.Queue[bytes | None]


@dataclass
class Trap:
    """An action at a moment in a pod's life, done once, before the moment's message is forwarded."""

    moment: (
        str  # "finished": its end is reported to the scheduler that created it; "deleted": that deletes it
    )
    action: Callable[[str, str], object]  # gets the scheduler and the pod's name
    sprung: threading.Event


class Proxy:
    """Forwards requests for pods, unless a fault is injected. Its public methods are for other threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.port = 0
        self._loop = loop
        self._upstream: Any = None  # a kubernetes Configuration: where the API is, and the credentials
        self._tls: ssl.SSLContext | bool = True
        self._session: aiohttp.ClientSession | None = None
        self._owners: dict[str, str] = {}  # pod → the scheduler that has created it last, or has found it
        self._watches: list[Watch] = []
        self._requests: list[web.Request] = []
        self._trap: Trap | None = None
        self._refusal, self._refuses_until, self._repeats_until = 0, 0.0, 0.0

    def connection(self, scheduler: str) -> str:
        """Return the Airflow connection that leads a scheduler through this proxy."""
        url = f"http://127.0.0.1:{self.port}/{scheduler}"
        return json.dumps({"conn_type": "kubernetes", "extra": {"kube_config": kubeconfig(url)}})

    def lead_to(self, api: Any) -> None:
        """Forward requests to the API of this client."""
        upstream = api.api_client.configuration
        if upstream.host.startswith("https"):
            self._tls = ssl.create_default_context(cafile=upstream.ssl_ca_cert)
            if upstream.cert_file:
                self._tls.load_cert_chain(upstream.cert_file, upstream.key_file)
        self._upstream = upstream

    # ------------------------------------------------------------------------------------------------ faults

    def cut_off(self, seconds: float) -> bool:
        """Close all connections, and each new one, for so many seconds."""
        self._call(self._refuse, -1, seconds)
        return True

    def refuse(self, code: int, seconds: float) -> bool:
        """Answer each request with this status for so many seconds; watches that are open stay open."""
        self._call(self._refuse, code, seconds)
        return True

    def end_watches(self, code: int) -> bool:
        """End all watches with an error event, or without one if the code is 0."""
        return bool(self._call(self._end_watches, code))

    def repeat_events(self, seconds: float) -> bool:
        """Report each event of a watch twice, for so many seconds."""
        self._repeats_until = time.monotonic() + seconds
        return True

    def at(self, moment: str, action: Callable[[str, str], object], seconds: float) -> bool:
        """Do this at the next such moment; return False if there was none within so many seconds."""
        trap = self._trap = Trap(moment, action, threading.Event())
        if trap.sprung.wait(seconds):
            return True
        self._call(self._disarm)
        return trap.sprung.is_set()

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        async def called() -> Any:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(20)

    def _refuse(self, code: int, seconds: float) -> None:
        self._refusal, self._refuses_until = code, time.monotonic() + seconds
        if code < 0:
            for request in self._requests:
                abort(request)

    def _end_watches(self, code: int) -> int:
        error = {"kind": "Status", "code": code, "reason": "Injected", "message": "injected"}
        for watch in self._watches:
            if code:
                watch.lines.put_nowait(json.dumps({"type": "ERROR", "object": error}).encode() + b"\n")
            watch.lines.put_nowait(None)
        return len(self._watches)

    def _disarm(self) -> None:
        self._trap = None

    def _spring(self, moment: str, scheduler: str, pod: str) -> None:
        trap = self._trap
        if trap and trap.moment == moment:
            self._trap = None
            trap.action(scheduler, pod)
            trap.sprung.set()

    # ---------------------------------------------------------------------------------------------- requests

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Forward a request, or fail it."""
        if time.monotonic() < self._refuses_until:
            if self._refusal < 0:
                return abort(request)
            return rejection(self._refusal, "injected")
        self._requests.append(request)
        try:
            return await self._forward(request)
        except (aiohttp.ClientError, OSError):
            return abort(request)
        finally:
            self._requests.remove(request)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        scheduler, path = request.match_info["scheduler"], request.match_info["path"]
        body = await request.read()
        if request.method == "POST":
            self._owners[json.loads(body)["metadata"]["name"]] = scheduler
        if request.method == "DELETE":
            self._spring("deleted", scheduler, path.rpartition("/")[2])
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("accept", "content-type", "user-agent")
        }
        for each in self._upstream.auth_settings().values():
            headers[each["key"]] = each["value"]
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        url = f"{self._upstream.host}/{path}"
        async with self._session.request(
            request.method, url, params=request.query, data=body, headers=headers, ssl=self._tls
        ) as response:
            if "watch" in request.query and response.status == 200:
                return await self._watch(request, response, scheduler)
            return web.Response(
                body=await response.read(), status=response.status, content_type=response.content_type
            )

    async def _watch(
        self, request: web.Request, upstream: aiohttp.ClientResponse, scheduler: str
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        watch = Watch(scheduler, asyncio.Queue())
        self._watches.append(watch)
        reading = asyncio.create_task(self._read(upstream, watch))
        try:
            while (line := await watch.lines.get()) is not None:
                await response.write(line)
        finally:
            self._watches.remove(watch)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return response

    async def _read(self, upstream: aiohttp.ClientResponse, watch: Watch) -> None:
        """Put what the API reports into the watch's queue."""
        try:
            async for line in upstream.content:
                event = json.loads(line)
                pod = event["object"]
                if event["type"] == "MODIFIED" and pod["status"]["phase"] == "Succeeded":
                    name = pod["metadata"]["name"]
                    if self._owners.get(name) == watch.scheduler:
                        self._spring("finished", watch.scheduler, name)
                for _ in range(2 if time.monotonic() < self._repeats_until else 1):
                    watch.lines.put_nowait(line)
        finally:
            watch.lines.put_nowait(None)

    async def close(self) -> None:
        """End all watches and close the connections to the API."""
        self._end_watches(0)
        if self._session:
            await self._session.close()


def abort(request: web.Request) -> web.Response:
    """Close the request's connection without an answer."""
    if request.transport:
        request.transport.abort()
    return web.Response(status=500)


@contextmanager
def proxy_in_thread() -> Iterator[Proxy]:
    """Serve a proxy on a free port in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
    thread.start()
    proxy = Proxy(loop)
    app = web.Application()
    app.router.add_route("*", f"/{{scheduler:{FIRST}|{SECOND}}}/{{path:.+}}", proxy.answer)
    server = TestServer(app, host="127.0.0.1")

    def call(coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)

    call(server.start_server(access_log=None))
    assert server.port
    proxy.port = server.port
    try:
        yield proxy
    finally:
        with suppress(TimeoutError):
            call(proxy.close())
            call(server.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
