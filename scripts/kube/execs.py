"""pods/exec over websocket: channels 0 to 2 are the streams, channel 3 carries the final status.

There is no inside of a container to enter: an exec'd process gets the container's environment, folder and
paths, and is killed when the container ends. Clients rely on seeing the container's processes only:
Airflow's pod operator ends its sidecar by what it finds. So `pgrep` and `pkill` find only those, and /proc
lists only the container's main process. There is no terminal: with `tty`, stdout and stderr are one plain
pipe.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO

from aiohttp import WSMsgType, web

from scripts.kube.container import Container, start_problem
from scripts.kube.environment import SYSTEM_PATH
from scripts.kube.errors import ApiError, bad_request
from scripts.kube.kubelet import Kubelet
from scripts.kube.objects import Json, encode
from scripts.kube.podlogs import container_name
from scripts.kube.processes import Command, Process
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
    main = container.process if container else None
    if container is None or main is None:
        raise ApiError(500, "InternalError", f'unable to upgrade connection: container not found ("{name}")')
    socket = web.WebSocketResponse(protocols=_PROTOCOLS, max_msg_size=0)
    if not socket.can_prepare(request):
        raise bad_request("Upgrade request required: exec is served over websocket only")
    await socket.prepare(request)
    if socket.ws_protocol in _PROTOCOLS:
        rewrite = _rewriter(container, main)
        command = _command(container, main, words, rewrite)
        stdin = subprocess.PIPE if flag(request, "stdin") else subprocess.DEVNULL
        stderr = subprocess.STDOUT if flag(request, "tty") else subprocess.PIPE
        try:
            process, pipes = kubelet.node.processes.start_child(command, stdin, subprocess.PIPE, stderr)
        except (OSError, ValueError) as problem:
            status = _not_started(words[0], problem)
        else:
            # A shell without arguments reads its commands from stdin: their paths are rewritten too.
            code = await _connect(socket, process, pipes, main, rewrite if len(words) == 1 else None)
            status = _exit_status(code, words)
        if not socket.closed:
            await socket.send_bytes(bytes([_ERROR]) + encode(status))
    await socket.close()
    return socket


async def _connect(
    socket: web.WebSocketResponse,
    process: Process,
    pipes: subprocess.Popen[bytes],
    main: Process,
    rewrite: _Rewrite | None,
) -> int:
    """Move bytes until the process has ended, or kill it when `main` has; return its exit code."""

    def kill(_exited: object = None) -> None:
        process.signal(signal.SIGKILL)

    main.exited.add_done_callback(kill)
    feeding = asyncio.create_task(_feed(socket, pipes.stdin, rewrite, kill))
    outputs = [
        asyncio.create_task(_send_output(socket, channel, pipe))
        for channel, pipe in ((_STDOUT, pipes.stdout), (_STDERR, pipes.stderr))
        if pipe
    ]
    code = await process.exited
    _done, late = await asyncio.wait(outputs, timeout=_LATE_OUTPUT_SECONDS)
    for task in (*late, feeding):
        task.cancel()
    await asyncio.gather(*outputs, feeding, return_exceptions=True)
    main.exited.remove_done_callback(kill)
    return code


async def _feed(
    socket: web.WebSocketResponse,
    stdin: IO[bytes] | None,
    rewrite: _Rewrite | None,
    kill: Callable[[], None],
) -> None:
    """Write what the client sends into stdin; end the process when the client leaves."""
    pipe = None
    if stdin is not None:
        pipe, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.Protocol, stdin)
    try:
        async for message in socket:
            data = message.data if message.type == WSMsgType.BINARY else str(message.data).encode()
            if pipe and data[:1] == bytes([_STDIN]):
                pipe.write(_rewritten(data[1:], rewrite) if rewrite else data[1:])
            elif pipe and data == bytes([_CLOSE, _STDIN]):
                pipe.close()
        kill()
    finally:
        if pipe is not None:
            pipe.abort()


def _rewritten(data: bytes, rewrite: _Rewrite) -> bytes:
    # `surrogateescape`, because a message may end within a character.
    return rewrite(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")


async def _send_output(socket: web.WebSocketResponse, channel: int, output: IO[bytes]) -> None:
    """Send what comes out of a pipe until it is closed."""
    reader = asyncio.StreamReader(limit=_CHUNK)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), output
    )
    try:
        while data := await reader.read(_CHUNK):
            if not socket.closed:
                await socket.send_bytes(bytes([channel]) + data)
    finally:
        pipe.close()


def _command(container: Container, main: Process, words: list[str], rewrite: _Rewrite) -> Command:
    """Return the command, with a pgrep and a pkill first in its PATH that see the container's group only."""
    programs = container.folder / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("pgrep", "pkill"):
        if real := shutil.which(name, path=SYSTEM_PATH):
            (programs / name).write_text(f'#!/bin/sh\nexec {real} -g {main.pid} "$@"\n')
            (programs / name).chmod(0o755)
    environment = dict(main.command.environment)
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    arguments = [rewrite(word) for word in words]
    if words[:3] == ["tar", "cf", "-"] and arguments != words:
        # kubectl cp: the members' names must begin with the path that it knows.
        path, known = (re.escape(each[3].strip("/")) for each in (arguments, words))
        arguments.insert(3, f"--transform=s,^{path},{known},S")
    return Command(arguments, environment, main.command.folder)


def _rewriter(container: Container, main: Process) -> _Rewrite:
    """Rewrite mount paths, and patterns of /proc to a folder that has only the container's main process."""
    proc: Path = container.folder / "proc"
    shutil.rmtree(proc, ignore_errors=True)
    proc.mkdir()
    (proc / str(main.pid)).symlink_to(f"/proc/{main.pid}")
    mounts = container.mounts
    return lambda text: _PROC.sub(str(proc), mounts.rewrite(text))


def _exit_status(code: int, words: list[str]) -> Json:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    why = f"error executing command [{' '.join(words)}], exit code {code}"
    message = f"command terminated with non-zero exit code: {why}"
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return ApiError(500, "NonZeroExitCode", message, {"causes": causes}).body


def _not_started(word: str, problem: OSError | ValueError) -> Json:
    why = f'error executing command in container: exec: "{word}": {start_problem(problem)}'
    details = {"causes": [{"message": why}]}
    return ApiError(500, "InternalError", f"Internal error occurred: {why}", details).body
