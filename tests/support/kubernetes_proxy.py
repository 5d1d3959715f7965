"""A proxy in front of a cluster's API, which refuses requests as a real API server would under load.

Tests reach the cluster by `kubeconfig` of the proxy: a quota of pods that is full is answered with 403, and
an overloaded server with 429 and Retry-After. The endpoint itself has no hooks for tests.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.cluster import PATIENCE

UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"


@dataclass
class Refusals:
    """What the proxy refuses now; a test may change it at any time."""

    most_pods: int | None = None
    """The quota: how many pods of a namespace may be unfinished at once; None means any number."""
    overloaded: Callable[[str], bool] = lambda _method: False
    """By method, WATCH for a watch: whether the server answers 429 to this request."""
    retry_after: int | None = 1
    """The seconds that a 429 asks to wait; None leaves the header out."""
    seen: Counter[tuple[str, int]] = field(default_factory=Counter)
    """The answers by method and status."""
    most_seen: int = 0
    """The most unfinished pods that a creation under the quota found."""


class KubernetesProxy:
    """Passes requests on to the API of a kubeconfig, unless they are refused."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.refusals = Refusals()
        self.kubeconfig = folder / "proxy-kubeconfig"
        self._config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
        [entry] = self._config["clusters"]
        self._upstream: str = entry["cluster"]["server"]
        authority = base64.b64decode(entry["cluster"]["certificate-authority-data"]).decode()
        self._context = ssl.create_default_context(cadata=authority)
        self._creating = asyncio.Lock()

    def write_kubeconfig(self, url: str) -> None:
        """Write a kubeconfig for the same users that leads to the proxy."""
        clusters = [{**each, "cluster": {"server": url}} for each in self._config["clusters"]]
        self.kubeconfig.write_text(yaml.safe_dump({**self._config, "clusters": clusters}))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        method = "WATCH" if request.query.get("watch") in ("1", "true", "True") else request.method
        if self.refusals.overloaded(method):
            response: web.StreamResponse = self._overload()
        elif method == "POST" and request.path.endswith("/pods") and self.refusals.most_pods is not None:
            async with self._creating:
                response = await self._create_within_quota(request, self.refusals.most_pods)
        else:
            response = await self._pass_on(request)
        self.refusals.seen[method, response.status] += 1
        return response

    async def _create_within_quota(self, request: web.Request, most: int) -> web.StreamResponse:
        options = {"params": {"fieldSelector": UNFINISHED}, "headers": _headers(request)}
        async with (
            aiohttp.ClientSession() as session,
            session.get(self._upstream + request.path, ssl=self._context, **options) as listed,  # type: ignore[arg-type]
        ):
            used = len((await listed.json())["items"])
        self.refusals.most_seen = max(self.refusals.most_seen, used)
        if used < most:
            return await self._pass_on(request)
        name = (await request.json())["metadata"].get("name", "")
        counts = f"requested: pods=1, used: pods={used}, limited: pods={most}"
        message = f'pods "{name}" is forbidden: exceeded quota: few, {counts}'
        return _status(403, "Forbidden", message, {"name": name, "kind": "pods"})

    def _overload(self) -> web.Response:
        seconds = self.refusals.retry_after
        headers = {} if seconds is None else {"Retry-After": str(seconds)}
        details = {} if seconds is None else {"retryAfterSeconds": seconds}
        message = "Too many requests, please try again later."
        return _status(429, "TooManyRequests", message, details, headers)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        """Pass the request on, and the answer back as it comes, so that watches and logs can be followed."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
            session.request(
                request.method,
                self._upstream + request.raw_path,
                data=await request.read(),
                headers=_headers(request),
                ssl=self._context,
            ) as upstream,
        ):
            response = web.StreamResponse(status=upstream.status)
            response.content_type = upstream.content_type
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def _headers(request: web.Request) -> dict[str, str]:
    kept = ("Authorization", "Content-Type", "Accept")
    return {name: request.headers[name] for name in kept if name in request.headers}


def _status(
    code: int, reason: str, message: str, details: dict[str, Any], headers: dict[str, str] | None = None
) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
    told = {**body, "reason": reason, "message": message, "details": details}
    return web.json_response(told, status=code, headers=headers)


@contextmanager
def proxy_of(kubeconfig: Path, folder: Path) -> Iterator[KubernetesProxy]:
    """Serve such a proxy in a thread; its kubeconfig is in the folder."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
    thread.start()
    proxy = KubernetesProxy(kubeconfig, folder)
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", proxy.answer)
    server = TestServer(app, host="127.0.0.1")
    asyncio.run_coroutine_threadsafe(server.start_server(shutdown_timeout=0.2), loop).result(PATIENCE)
    proxy.write_kubeconfig(f"http://127.0.0.1:{server.port}")
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
