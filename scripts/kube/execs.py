"""The pods/exec subresource, over websocket: channels 0 to 2 are the streams, channel 3 has the final status.

There is no inside of a container to enter: an exec'd process gets the container's environment, folder and
paths, and is killed when the container ends. Clients rely on seeing the container's processes only:
Airflow's pod operator ends its sidecar by what it finds. So `pgrep` and `pkill` find only those, and /proc
lists only the container's main process. There is no terminal: with `tty`, stdout and stderr are one pipe.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from aiohttp import WSMsgType, web

from scripts.kube.container import Container, start_problem
from scripts.kube.environment import SYSTEM_PATH, Command
from scripts.kube.kubelet import Kubelet
from scripts.kube.logs import container_name
from scripts.kube.objects import Json, encode
from scripts.kube.processes import Process, Processes
from scripts.kube.requests import ApiError, bad_request, flag

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255
_CHUNK = 32768
_LATE_OUTPUT_SECONDS = 1.0
"""How long the streams are read after the process has ended: others may still hold them open."""
_PROC = re.compile(r"(?<![\w.-])/proc(?=/[0-9*?\[])")


async def serve_exec(request: web.Request, pod: Json, kubelet: Kubelet) -> web.StreamResponse:
    """Run a command beside a running container and connect its streams; raise ApiError (400, 500)."""
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
        session = _Session(socket, words, container, main)
        processes = kubelet.node.processes
        status = await session.run(processes, stdin=flag(request, "stdin"), tty=flag(request, "tty"))
        if not socket.closed:
            await socket.send_bytes(bytes([_ERROR]) + encode(status))
    await socket.close()
    return socket


class _Session:
    """One exec'd command and its client."""

    def __init__(
        self, socket: web.WebSocketResponse, words: list[str], container: Container, main: Process
    ) -> None:
        self._socket = socket
        self._words = words
        self._main = main
        self._mounts = container.mounts
        self._proc: Path = container.exec_folder / "proc"
        shutil.rmtree(self._proc, ignore_errors=True)
        self._proc.mkdir(parents=True)
        (self._proc / str(main.pid)).symlink_to(f"/proc/{main.pid}")
        self._programs: Path = container.exec_folder / "bin"
        self._programs.mkdir(exist_ok=True)
        for name in ("pgrep", "pkill"):
            if real := shutil.which(name, path=SYSTEM_PATH):
                (self._programs / name).write_text(f'#!/bin/sh\nexec {real} -g {main.pid} "$@"\n')
                (self._programs / name).chmod(0o755)

    async def run(self, processes: Processes, *, stdin: bool, tty: bool) -> Json:
        """Run the command to its end, or until its container ends or the client leaves; return the Status."""
        (their_in, our_in), (our_out, their_out), (our_err, their_err) = (os.pipe() for _ in range(3))
        try:
            process = processes.start(self._command(), their_out, their_out if tty else their_err, their_in)
        except (OSError, ValueError) as problem:
            for descriptor in (our_in, our_out, our_err):
                os.close(descriptor)
            return _not_started(self._words[0], problem)
        finally:
            for descriptor in (their_in, their_out, their_err):
                os.close(descriptor)

        def kill(_ended: object = None) -> None:
            process.signal(signal.SIGKILL)

        self._main.exited.add_done_callback(kill)
        feeding = asyncio.create_task(self._feed(our_in, kill, is_open=stdin))
        streams = ((_STDOUT, our_out), (_STDERR, our_err))
        outputs = [asyncio.create_task(self._send_output(*stream)) for stream in streams]
        code = await process.exited
        _done, late = await asyncio.wait(outputs, timeout=_LATE_OUTPUT_SECONDS)
        for task in (*late, feeding):
            task.cancel()
        await asyncio.gather(*outputs, feeding, return_exceptions=True)
        self._main.exited.remove_done_callback(kill)
        return _exit_status(code, self._words)

    def _command(self) -> Command:
        environment = dict(self._main.command.environment)
        environment["PATH"] = f"{self._programs}:{environment['PATH']}"
        arguments = [self._rewrite(word) for word in self._words]
        if self._words[:3] == ["tar", "cf", "-"] and arguments != self._words:
            # kubectl cp: the members' names must begin with the path that it knows.
            path, known = (re.escape(words[3].strip("/")) for words in (arguments, self._words))
            arguments.insert(3, f"--transform=s,^{path},{known},S")
        return Command(arguments, environment, self._main.command.folder)

    def _rewrite(self, text: str) -> str:
        """Replace mount paths, and patterns of /proc with a folder that has only the main process."""
        return _PROC.sub(str(self._proc), self._mounts.rewrite(text))

    async def _feed(self, stdin: int, kill: Callable[[], None], *, is_open: bool) -> None:
        """Write what the client sends into stdin; end the process when the client leaves."""
        loop = asyncio.get_running_loop()
        pipe, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(stdin, "wb"))
        try:
            if not is_open:
                pipe.close()
            async for message in self._socket:
                data = message.data if message.type == WSMsgType.BINARY else str(message.data).encode()
                if data == bytes([_CLOSE, _STDIN]):
                    pipe.close()
                elif data[:1] == bytes([_STDIN]) and not pipe.is_closing():
                    text = data[1:].decode(errors="surrogateescape")  # it may end within a character
                    # A shell without arguments reads its commands from stdin: paths in them count too.
                    text = self._rewrite(text) if len(self._words) == 1 else text
                    pipe.write(text.encode(errors="surrogateescape"))
            kill()
        finally:
            pipe.abort()

    async def _send_output(self, channel: int, output: int) -> None:
        """Send what comes out of a pipe until it is closed."""
        reader = asyncio.StreamReader(limit=_CHUNK)
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb")
        )
        try:
            while data := await reader.read(_CHUNK):
                if not self._socket.closed:
                    await self._socket.send_bytes(bytes([channel]) + data)
        finally:
            pipe.close()


def _exit_status(code: int, words: list[str]) -> Json:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    why = f"error executing command [{' '.join(words)}], exit code {code}"
    message = f"command terminated with non-zero exit code: {why}"
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return ApiError(500, "NonZeroExitCode", message, {"causes": causes}).body


def _not_started(word: str, problem: OSError | ValueError) -> Json:
    why = f'error executing command in container: exec: "{word}": {start_problem(problem)}'
    return ApiError(
        500, "InternalError", f"Internal error occurred: {why}", {"causes": [{"message": why}]}
    ).body
