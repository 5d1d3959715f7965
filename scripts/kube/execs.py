"""pods/exec and pods/attach over websocket: channels 0 to 2 are the streams, 3 is how it ended.

An exec'd process is not inside its container, for there is no inside: it gets the container's environment,
folder and paths. Two things keep it to its container all the same, because clients rely on them (Airflow's
pod operator ends its sidecar so): `pgrep` and `pkill` find the container's own processes only, and a
listing of /proc shows only the container's main process. When the container ends, so does what was
exec'd into it. No terminal is made: with `tty` the streams are plain pipes, stderr with stdout.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from aiohttp import WSMsgType, web

from scripts.kube import logs
from scripts.kube.commands import SYSTEM_PATH
from scripts.kube.container import Container, Live
from scripts.kube.errors import ApiError, bad_request
from scripts.kube.kubelet import Kubelet
from scripts.kube.objects import Json, encode
from scripts.kube.podlogs import container_name
from scripts.kube.processes import Command, Process
from scripts.kube.requests import flag

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255
_CHUNK = 32768
_PROC = re.compile(r"(?<![\w.-])/proc(?=/[0-9*?\[])")


async def serve_exec(request: web.Request, pod: Json, kubelet: Kubelet) -> web.StreamResponse:
    """Runs one command beside a running container and connects its streams."""
    words = request.query.getall("command", [])
    if not words:
        raise bad_request("you must specify at least one command for the container")
    container, live = _running(request, pod, kubelet)
    socket = await _upgrade(request)
    if socket.closed:
        return socket
    rewrite = _rewriter(container, live)
    try:
        session = _Session(request, kubelet, _command(container, live, [rewrite(word) for word in words]))
    except (OSError, ValueError) as problem:
        await _send_end(socket, _cannot_start(words[0], problem))
        return socket
    live.process.exited.add_done_callback(session.kill)
    # A shell without arguments reads its commands from stdin: paths in them are rewritten like others.
    await session.serve(socket, rewrite if len(words) == 1 else None)
    live.process.exited.remove_done_callback(session.kill)
    return socket


async def serve_attach(request: web.Request, pod: Json, kubelet: Kubelet) -> web.StreamResponse:
    """Connect a running container's streams: its log, from its beginning to its end, and its stdin."""
    container, _live = _running(request, pod, kubelet)
    log = container.log
    assert log  # noqa: S101  (it runs)
    socket = await _upgrade(request)
    if socket.closed:
        return socket
    output = asyncio.create_task(_send_log(socket, log))
    stdin = container.take_stdin() if flag(request, "stdin") else None
    feeding = asyncio.create_task(_feed(socket, stdin, None, output.cancel))
    await asyncio.wait([output])
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    await _send_end(socket, _end(0, []))
    return socket


async def _upgrade(request: web.Request) -> web.WebSocketResponse:
    """Return the websocket; it is closed where the client speaks none of our protocols."""
    socket = web.WebSocketResponse(protocols=_PROTOCOLS, max_msg_size=0)
    if not socket.can_prepare(request):
        raise bad_request("Upgrade request required: exec and attach are served over websocket only")
    await socket.prepare(request)
    if socket.ws_protocol not in _PROTOCOLS:
        await socket.close()
    return socket


async def _send_log(socket: web.WebSocketResponse, log: logs.Log) -> None:
    async for piece in logs.read(log.file, logs.LogOptions(follow=True), log):
        await socket.send_bytes(bytes([_STDOUT]) + piece)


class _Session:
    """One exec'd process and its pipes."""

    def __init__(self, request: web.Request, kubelet: Kubelet, command: Command) -> None:
        self._words = request.query.getall("command")
        self._ours: dict[int, int] = {}
        theirs: dict[int, int] = {}
        try:
            if flag(request, "stdin"):
                theirs[_STDIN], self._ours[_STDIN] = os.pipe()
            self._ours[_STDOUT], theirs[_STDOUT] = os.pipe()
            if flag(request, "tty"):
                theirs[_STDERR] = os.dup(theirs[_STDOUT])
            else:
                self._ours[_STDERR], theirs[_STDERR] = os.pipe()
            self.process: Process = kubelet.processes.start(
                command,
                stdin=theirs.get(_STDIN, subprocess.DEVNULL),
                stdout=theirs[_STDOUT],
                stderr=theirs[_STDERR],
            )
        except (OSError, ValueError):  # ValueError: a word has a NUL character in it
            for descriptor in self._ours.values():
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs.values():
                os.close(descriptor)

    def kill(self, _reason: object = None) -> None:
        """Ends the process."""
        self.process.signal(signal.SIGKILL)

    async def serve(self, socket: web.WebSocketResponse, rewrite: Callable[[str], str] | None) -> None:
        """Moves bytes until the process has ended, then says how."""
        stdin = self._ours.pop(_STDIN, None)
        feeding = asyncio.create_task(_feed(socket, stdin, rewrite, self.kill))
        outputs = [asyncio.create_task(_pump(socket, *item)) for item in self._ours.items()]
        code = await self.process.exited
        # What the process left running may hold the pipes open: it is no longer waited for.
        _done, late = await asyncio.wait(outputs, timeout=1)
        for task in (*late, feeding):
            task.cancel()
        await asyncio.gather(*outputs, feeding, return_exceptions=True)
        await _send_end(socket, _end(code, self._words))


async def _feed(
    socket: web.WebSocketResponse,
    stdin: int | None,
    rewrite: Callable[[str], str] | None,
    client_left: Callable[[], object],
) -> None:
    """Write what the client sends into stdin; call `client_left` when it leaves."""
    loop = asyncio.get_running_loop()
    pipe = None
    if stdin is not None:
        pipe, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(stdin, "wb", 0))
    try:
        async for message in socket:
            data = message.data if message.type == WSMsgType.BINARY else str(message.data).encode()
            if pipe is None or not data:
                continue
            if data[0] == _STDIN:
                pipe.write(_rewritten(data[1:], rewrite))
            elif data[0] == _CLOSE and data[1:2] == b"\x00":
                pipe.close()
        client_left()
    finally:
        if pipe is not None:
            pipe.abort()


def _rewritten(data: bytes, rewrite: Callable[[str], str] | None) -> bytes:
    # A frame may end within a character.
    if rewrite is None:
        return data
    return rewrite(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")


async def _pump(socket: web.WebSocketResponse, channel: int, descriptor: int) -> None:
    """Sends what comes out of a pipe until it is closed."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_CHUNK)
    file = os.fdopen(descriptor, "rb", 0)
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    try:
        while data := await reader.read(_CHUNK):
            if not socket.closed:
                await socket.send_bytes(bytes([channel]) + data)
    finally:
        pipe.close()


def _running(request: web.Request, pod: Json, kubelet: Kubelet) -> tuple[Container, Live]:
    name = container_name(request, pod)
    container = kubelet.container(pod, name)
    if container is None or container.live is None:
        raise ApiError(500, "InternalError", f'unable to upgrade connection: container not found ("{name}")')
    return container, container.live


def _command(container: Container, live: Live, words: list[str]) -> Command:
    environment = dict(live.command.environment)
    programs = _own_programs(container.folder / "bin", live.process.pid)
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    return Command(words, environment, live.command.folder)


def _own_programs(folder: Path, group: int) -> Path:
    """A folder with a pgrep and a pkill that look at one process group only."""
    folder.mkdir(exist_ok=True)
    for name in ("pgrep", "pkill"):
        file = folder / name
        if real := shutil.which(name, path=SYSTEM_PATH):
            file.write_text(f'#!/bin/sh\nexec {real} -g {group} "$@"\n')
            file.chmod(0o755)
    return folder


def _rewriter(container: Container, live: Live) -> Callable[[str], str]:
    """Rewrites mount paths, and listings of /proc to a folder that has the container's process only."""
    proc = container.folder / "proc"
    shutil.rmtree(proc, ignore_errors=True)
    proc.mkdir()
    (proc / str(live.process.pid)).symlink_to(f"/proc/{live.process.pid}")
    mounts = container.mounts
    return lambda text: _PROC.sub(str(proc), mounts.rewrite(text))


async def _send_end(socket: web.WebSocketResponse, status: Json) -> None:
    if not socket.closed:
        await socket.send_bytes(bytes([_ERROR]) + encode(status))
        await socket.close()


def _end(code: int, words: list[str]) -> Json:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    ended = f"error executing command [{' '.join(words)}], exit code {code}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {ended}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _cannot_start(word: str, problem: OSError | ValueError) -> Json:
    why = getattr(problem, "strerror", None) or str(problem)
    if isinstance(problem, FileNotFoundError):
        why = "executable file not found in $PATH"
    message = f'error executing command in container: exec: "{word}": {why}'
    error = ApiError(
        500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]}
    )
    return error.body
