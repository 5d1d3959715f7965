"""The endpoint put together: its routes, who may use them, and its beginning and end."""

from __future__ import annotations

import asyncio
import fcntl
import hmac
import json
import re
import resource
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from scripts.kube import discovery, identity
from scripts.kube.api import Api
from scripts.kube.container import Node
from scripts.kube.database import Database
from scripts.kube.deletion import Namespaces
from scripts.kube.discovery import NODE, VERSION
from scripts.kube.errors import (
    ApiError,
    bad_request,
    log_failure,
    method_not_allowed,
    no_such_resource,
    unauthorized,
)
from scripts.kube.events import Recorder
from scripts.kube.images import Images, Source
from scripts.kube.kinds import NODES
from scripts.kube.kubelet import Kubelet
from scripts.kube.objects import Json, now
from scripts.kube.processes import Processes
from scripts.kube.requests import WARNINGS, answer
from scripts.kube.store import Store
from scripts.kube.watches import Watches

ADDRESS = "127.0.0.1"
_PUBLIC = ("/healthz", "/livez", "/readyz", "/version")
_BODY_BYTES = 4 * 2**20
_GRACE = 2.0
_DESCRIPTORS = 16_384


@dataclass(frozen=True)
class Settings:
    """Where the endpoint listens, what it keeps where, its images, and how many starts it does at once."""

    port: int
    state: Path
    images: Mapping[str, Source]
    starting: int


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then ends every container; raises OSError for a taken port."""
    _raise_descriptor_limit()
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (settings.state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        await _serve(settings)


async def _serve(settings: Settings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    images = Images(settings.images)
    database = Database(settings.state / "objects.sqlite")
    store, processes = Store(database), Processes()
    pods = _plain_path(settings.state.resolve()) / "pods"
    pods.mkdir(exist_ok=True)
    node = Node(pods, store, Recorder(store), images, processes, asyncio.Semaphore(settings.starting))
    kubelet, watches = Kubelet(node), Watches(store)
    store.create(NODES, _node())
    Namespaces(store)
    kubelet.start()
    runner = web.AppRunner(
        _application(Api(store, kubelet, watches), identity.token(settings.state)),
        access_log=None,
        shutdown_timeout=1,
    )
    await runner.setup()
    try:
        await _listen(runner, settings)
        await stopped.wait()
    finally:
        watches.close()
        await kubelet.stop()
        await processes.stop(_GRACE)
        await runner.cleanup()
        database.close()


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    site = web.TCPSite(
        runner, ADDRESS, settings.port, ssl_context=identity.server_context(settings.state), backlog=1024
    )
    await site.start()
    port = runner.addresses[0][1]
    kubeconfig = identity.write_kubeconfig(settings.state, port)
    print(
        f"A stand-in for Kubernetes ({VERSION}) on https://{ADDRESS}:{port}, kubeconfig {kubeconfig}",
        flush=True,
    )


def _application(api: Api, token: str) -> web.Application:
    application = web.Application(middlewares=[_errors, _authenticated(token)], client_max_size=_BODY_BYTES)
    application.router.add_route("*", "/api/v1/{path:.+}", api.handle)
    for path in ("/healthz", "/livez", "/readyz"):
        application.router.add_get(path, _healthy)
    fixed = {
        "/version": discovery.version(),
        "/apis": discovery.groups(),
        "/api/v1": discovery.resources(),
        "/openapi/v3": discovery.openapi_index(),
    }
    for path, document in fixed.items():
        application.router.add_get(path + "{slash:/?}", _document(document))
    application.router.add_get("/api{slash:/?}", _versions)
    application.router.add_get("/openapi/v3/api/v1", _openapi)
    return application


def _document(document: Json) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return answer(document)

    return handler


async def _versions(request: web.Request) -> web.StreamResponse:
    return answer(discovery.versions(request.host))


async def _openapi(_request: web.Request) -> web.StreamResponse:
    return answer(discovery.openapi())


async def _healthy(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok")


def _authenticated(token: str) -> Middleware:
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization")
        anonymous = given is None and request.path.rstrip("/") in _PUBLIC
        # Header bytes that are no UTF-8 come as surrogates.
        token_given = (given or "").encode(errors="surrogateescape")
        if not anonymous and not hmac.compare_digest(token_given, expected):
            raise unauthorized()
        return await handler(request)

    return middleware


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers every failure with a Status object."""
    try:
        response = await handler(request)
        for text in request.get(WARNINGS, []):
            response.headers.add("Warning", f"299 - {json.dumps(text)}")
        return response
    except ApiError as error:
        return answer(error.body, error.code)
    except web.HTTPNotFound:
        return answer(no_such_resource().body, 404)
    except web.HTTPMethodNotAllowed:
        return answer(method_not_allowed().body, 405)
    except web.HTTPRequestEntityTooLarge as error:
        return answer(ApiError(413, "RequestEntityTooLarge", str(error.text)).body, 413)
    except (ConnectionResetError, web.HTTPException):
        raise
    except RecursionError:
        return answer(bad_request("the object provided is unrecognized: it is nested too deeply").body, 400)
    except Exception as problem:
        log_failure(f"{request.method} {request.path}", problem)
        told = f"Internal error occurred: {type(problem).__name__}: the endpoint's log says where"
        return answer(ApiError(500, "InternalError", told).body, 500)


def _node() -> Json:
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "runs local processes"}
    times = {"lastHeartbeatTime": now(), "lastTransitionTime": now()}
    info = dict.fromkeys(("machineID", "systemUUID", "bootID", "kernelVersion", "osImage"), "this machine")
    versions = {
        "containerRuntimeVersion": "local-processes://1",
        "kubeletVersion": VERSION,
        "kubeProxyVersion": VERSION,
        "operatingSystem": sys.platform,
        "architecture": str(discovery.version()["platform"]).split("/")[1],
    }
    return {
        "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}},
        "spec": {},
        "status": {
            "conditions": [{**ready, **times}],
            "addresses": [{"type": "InternalIP", "address": ADDRESS}, {"type": "Hostname", "address": NODE}],
            "nodeInfo": {**info, **versions},
        },
    }


def _plain_path(folder: Path) -> Path:
    """The folder under a name that can be written into any shell command, through a link if need be."""
    if re.fullmatch(r"[\w./+-]+", str(folder), re.ASCII):
        return folder
    link = Path(tempfile.mkdtemp(prefix="kube-")) / "state"
    link.symlink_to(folder)
    return link


def _raise_descriptor_limit() -> None:
    """Asks for room: every running container holds two descriptors, every watch one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
