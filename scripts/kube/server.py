"""The endpoint: its routes, access control, start and end."""

from __future__ import annotations

import asyncio
import fcntl
import hmac
import re
import resource
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from scripts.kube import identity
from scripts.kube.api import Api
from scripts.kube.container import Node
from scripts.kube.environment import BARE_IMAGES, Image
from scripts.kube.identity import ADDRESS
from scripts.kube.kubelet import Kubelet
from scripts.kube.objects import VERSION, documents
from scripts.kube.processes import Processes
from scripts.kube.requests import ApiError, answer, bad_request, log_failure, no_such_resource
from scripts.kube.store import Recorder, Store

_HEALTH = ("/healthz", "/livez", "/readyz")
_BODY_BYTES = 4 * 2**20
_GRACE = 2.0  # seconds for containers to end
_DESCRIPTORS = 16_384


@dataclass(frozen=True)
class Settings:
    """The port, the folder for all state, the images, and how many containers may start at once."""

    port: int
    state: Path
    images: Mapping[str, Image]
    starting: int


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then end every container.

    Raises BlockingIOError if another endpoint uses the state folder, and OSError if the port is taken.
    """
    _raise_descriptor_limit()
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (settings.state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        await _serve(settings)


async def _serve(settings: Settings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    images = BARE_IMAGES | dict(settings.images)
    store, processes = Store(settings.state / "objects.sqlite"), Processes()
    pods = _plain_path(settings.state.resolve()) / "pods"
    pods.mkdir(exist_ok=True)
    node = Node(pods, store, Recorder(store), images, processes, asyncio.Semaphore(settings.starting))
    kubelet = Kubelet(node)
    kubelet.start()
    application = _application(Api(store, kubelet), identity.token(settings.state))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await _listen(runner, settings)
        await stopped.wait()
    finally:
        await kubelet.stop()
        await processes.stop(_GRACE)
        await runner.cleanup()
        store.close()


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    context = identity.server_context(settings.state)
    await web.TCPSite(runner, ADDRESS, settings.port, ssl_context=context, backlog=1024).start()
    port = runner.addresses[0][1]
    kubeconfig = identity.write_kubeconfig(settings.state, port)
    url = f"https://{ADDRESS}:{port}"
    print(f"A stand-in for Kubernetes ({VERSION}) on {url}, kubeconfig {kubeconfig}", flush=True)


def _application(api: Api, token: str) -> web.Application:
    application = web.Application(middlewares=[_errors, _authenticated(token)], client_max_size=_BODY_BYTES)
    by_path = documents()

    async def discover(request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        if request.method == "GET" and path in _HEALTH:
            return web.Response(text="ok")
        if request.method == "GET" and path in by_path:
            return answer(by_path[path])
        raise no_such_resource()

    application.router.add_route("*", "/api/v1/{path:.+}", api.handle)
    application.router.add_route("*", "/{path:.*}", discover)
    return application


def _authenticated(token: str) -> Middleware:
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization")
        anonymous = given is None and request.path.rstrip("/") in (*_HEALTH, "/version")
        # aiohttp gives header bytes that are not UTF-8 as surrogates.
        given_bytes = (given or "").encode(errors="surrogateescape")
        if not anonymous and not hmac.compare_digest(given_bytes, expected):
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return await handler(request)

    return middleware


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with a Status object."""
    try:
        return await handler(request)
    except ApiError as problem:
        error = problem
    except web.HTTPRequestEntityTooLarge as problem:
        error = ApiError(413, "RequestEntityTooLarge", str(problem.text))
    except (ConnectionResetError, web.HTTPException):
        raise
    except RecursionError:
        error = bad_request("the object provided is unrecognized: it is nested too deeply")
    except Exception as problem:
        log_failure(f"{request.method} {request.path}", problem)
        message = f"Internal error occurred: {type(problem).__name__}: the endpoint's log says where"
        error = ApiError(500, "InternalError", message)
    return answer(error.body, error.code)


def _plain_path(folder: Path) -> Path:
    """Return the folder by a path that needs no quotes in a shell command, through a link if necessary."""
    if re.fullmatch(r"[\w./+-]+", str(folder), re.ASCII):
        return folder
    link = Path(tempfile.mkdtemp(prefix="kube-")) / "state"
    link.symlink_to(folder)
    return link


def _raise_descriptor_limit() -> None:
    """Allow more open files: every running container holds two, every watch one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
