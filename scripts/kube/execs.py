"""pods/exec over websocket: channels 0 to 2 are the streams, channel 3 carries the final status.

There is no inside of a container to enter: an exec'd process gets the container's environment, folder and
paths, and is killed when the container ends. Clients rely on seeing the container's processes only:
Airflow's pod operator ends its sidecar by what it finds. So `pgrep` and `pkill` find only those, and /proc
lists only the container's main process. There is no terminal: with `tty`, stdout and stderr are one plain
pipe.
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

from scripts.kube.container import Container, Live, start_problem
from scripts.kube.environment import SYSTEM_PATH
from scripts.kube.errors import ApiError, bad_request
from scripts.kube.kubelet import Kubelet
from scripts.kube.objects import Json, encode
from scripts.kube.podlogs import container_name
from scripts.kube.processes import Command
from scripts.kube.requests import flag

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255
_CHUNK = 32768
_LATE_OUTPUT_SECONDS = 1.0
"""How long the streams are read after the process has ended: others may still hold them open."""
_PROC = re.compile(r"(?<![\w.-])/proc(?=/[0-9*?\[])")

_Rewrite = Callable[[str], str]


async def serve_exec(request: web.Request, pod: Json, kubelet: Kubelet) -> web.StreamResponse:
    """Run a command beside a running container and connect its streams."""
    words = request.query.getall("command", [])
    if not words:
        raise bad_request("you must specify at least one command for the container")
    name = container_name(request, pod)
    container = kubelet.container(pod, name)
    if container is None or container.live is None:
        raise ApiError(500, "InternalError", f'unable to upgrade connection: container not found ("{name}")')
    live = container.live
    socket = web.WebSocketResponse(protocols=_PROTOCOLS, max_msg_size=0)
    if not socket.can_prepare(request):
        raise bad_request("Upgrade request required: exec is served over websocket only")
    await socket.prepare(request)
    if socket.ws_protocol not in _PROTOCOLS:
        await socket.close()
        return socket
    rewrite = _rewriter(container, live)
    try:
        session = _Session(request, kubelet, _command(container, live, [rewrite(word) for word in words]))
    except (OSError, ValueError) as problem:
        await _send_status(socket, _not_started(words[0], problem))
        return socket
    live.process.exited.add_done_callback(session.kill)
    # A shell without arguments reads its commands from stdin: their paths are rewritten too.
    code = await session.run(socket, rewrite if len(words) == 1 else None)
    live.process.exited.remove_done_callback(session.kill)
    await _send_status(socket, _exit_status(code, words))
    return socket


class _Session:
    """An exec'd process and our ends of its pipes."""

    def __init__(self, request: web.Request, kubelet: Kubelet, command: Command) -> None:
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
            self._process = kubelet.processes.start(
                command,
                stdin=theirs.get(_STDIN, subprocess.DEVNULL),
                stdout=theirs[_STDOUT],
                stderr=theirs[_STDERR],
            )
        except (OSError, ValueError):
            for descriptor in self._ours.values():
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs.values():
                os.close(descriptor)

    def kill(self, _exited: object = None) -> None:
        """End the process."""
        self._process.signal(signal.SIGKILL)

    async def run(self, socket: web.WebSocketResponse, rewrite: _Rewrite | None) -> int:
        """Move bytes until the process has ended; return its exit code."""
        stdin = self._ours.pop(_STDIN, None)
        feeding = asyncio.create_task(self._feed(socket, stdin, rewrite))
        outputs = [asyncio.create_task(_send_output(socket, *item)) for item in self._ours.items()]
        code = await self._process.exited
        _done, late = await asyncio.wait(outputs, timeout=_LATE_OUTPUT_SECONDS)
        for task in (*late, feeding):
            task.cancel()
        await asyncio.gather(*outputs, feeding, return_exceptions=True)
        return code

    async def _feed(self, socket: web.WebSocketResponse, stdin: int | None, rewrite: _Rewrite | None) -> None:
        """Write what the client sends into stdin; end the process when the client leaves."""
        loop = asyncio.get_running_loop()
        pipe = None
        if stdin is not None:
            pipe, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(stdin, "wb", 0))
        try:
            async for message in socket:
                data = message.data if message.type == WSMsgType.BINARY else str(message.data).encode()
                if pipe and data[:1] == bytes([_STDIN]):
                    pipe.write(_rewritten(data[1:], rewrite) if rewrite else data[1:])
                elif pipe and data == bytes([_CLOSE, _STDIN]):
                    pipe.close()
            self.kill()
        finally:
            if pipe is not None:
                pipe.abort()


def _rewritten(data: bytes, rewrite: _Rewrite) -> bytes:
    # `surrogateescape`, because a message may end within a character.
    return rewrite(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")


async def _send_output(socket: web.WebSocketResponse, channel: int, descriptor: int) -> None:
    """Send what comes out of a pipe until it is closed."""
    reader = asyncio.StreamReader(limit=_CHUNK)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    try:
        while data := await reader.read(_CHUNK):
            if not socket.closed:
                await socket.send_bytes(bytes([channel]) + data)
    finally:
        pipe.close()


def _command(container: Container, live: Live, words: list[str]) -> Command:
    """Return the command, with a pgrep and a pkill first in its PATH that see the container's group only."""
    programs = container.folder / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("pgrep", "pkill"):
        if real := shutil.which(name, path=SYSTEM_PATH):
            (programs / name).write_text(f'#!/bin/sh\nexec {real} -g {live.process.pid} "$@"\n')
            (programs / name).chmod(0o755)
    environment = dict(live.command.environment)
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    return Command(words, environment, live.command.folder)


def _rewriter(container: Container, live: Live) -> _Rewrite:
    """Rewrite mount paths, and patterns of /proc to a folder that has only the container's main process."""
    proc: Path = container.folder / "proc"
    shutil.rmtree(proc, ignore_errors=True)
    proc.mkdir()
    (proc / str(live.process.pid)).symlink_to(f"/proc/{live.process.pid}")
    mounts = container.mounts
    return lambda text: _PROC.sub(str(proc), mounts.rewrite(text))


async def _send_status(socket: web.WebSocketResponse, status: Json) -> None:
    if not socket.closed:
        await socket.send_bytes(bytes([_ERROR]) + encode(status))
        await socket.close()


def _exit_status(code: int, words: list[str]) -> Json:
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


def _not_started(word: str, problem: OSError | ValueError) -> Json:
    why = f'error executing command in container: exec: "{word}": {start_problem(problem)}'
    details = {"causes": [{"message": why}]}
    return ApiError(500, "InternalError", f"Internal error occurred: {why}", details).body
