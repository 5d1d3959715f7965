"""Local processes, each the leader of a session and process group of its own.

`Processes.start` is the only place where a command becomes a process: a new one, or a fork of the image's
fork server (see `fork_server.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.reduction import send_handle
from pathlib import Path

from scripts.kube.images import Image

_GUARD = Path(__file__).with_name("guard.py")
_FORK_SERVER = Path(__file__).with_name("fork_server.py")
_FORK_SECONDS = 30.0
"""How long a fork may take; the first one waits for the server's imports."""


@dataclass(frozen=True)
class Command:
    """What to run: the arguments, the whole environment, the working directory.

    `image` is set where the image's own entrypoint is run, which its fork server may do.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    image: Image | None = None


class Process:
    """A process group; `exited` becomes its leader's exit code, 128+n after signal n."""

    def __init__(self, pid: int, command: Command) -> None:
        self.pid = pid
        self.command = command
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def signal(self, number: int) -> None:
        """Send a signal to the whole group, unless its leader has ended."""
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


class Processes:
    """All processes of this endpoint."""

    def __init__(self) -> None:
        self._running: dict[int, Process] = {}
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._fork_servers: dict[Path, _ForkServer] = {}
        reader, self._to_guard = os.pipe()
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD)],
            stdin=reader,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(reader)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(self, command: Command, output: int) -> Process:
        """Start a process that writes to the descriptor `output`; raise OSError when that fails."""
        if command.image and command.image.preloads:
            pid = self._fork_server(command.image).fork(command, output)
            return self._add(Process(pid, command))
        return self.start_child(command, subprocess.DEVNULL, output, output)[0]

    def start_child(
        self, command: Command, stdin: int, stdout: int, stderr: int
    ) -> tuple[Process, subprocess.Popen[bytes]]:
        """Start a process with these descriptors, or pipes to it, and no others; raise OSError."""
        child = subprocess.Popen(
            command.arguments,
            bufsize=0,
            env=command.environment,
            cwd=command.folder,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            umask=0o022,
        )
        self._children[child.pid] = child
        return self._add(Process(child.pid, command)), child

    async def stop(self, grace: float) -> None:
        """End every process: SIGTERM first, SIGKILL after `grace` seconds."""
        waiting = [process.exited for process in self._running.values()]
        for number, timeout in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
            for process in list(self._running.values()):
                process.signal(number)
            if waiting:
                await asyncio.wait(waiting, timeout=timeout)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        for server in self._fork_servers.values():
            server.retire()
        os.close(self._to_guard)
        self._guard.wait()

    def _add(self, process: Process) -> Process:
        self._running[process.pid] = process
        self._notify_guard(process.pid)
        return process

    def _fork_server(self, image: Image) -> _ForkServer:
        """Return the image's fork server: a new one if there is none or it is stale."""
        server = self._fork_servers.get(image.folder)
        if server is None or server.is_stale:
            if server:
                server.retire()
            server = self._fork_servers[image.folder] = _ForkServer(image, self._ended)
        return server

    def _reap(self) -> None:
        for pid, child in list(self._children.items()):
            code = child.poll()
            if code is not None:
                del self._children[pid]
                self._ended(pid, code if code >= 0 else 128 - code)

    def _ended(self, pid: int, code: int) -> None:
        process = self._running.pop(pid)
        # The rest of the group ends with its leader, as in a container. As long as the group has a member,
        # the system gives its id to no other process, although the leader is already reaped.
        process.signal(signal.SIGKILL)
        process.exited.set_result(code)
        self._notify_guard(-pid)

    def _notify_guard(self, group: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._to_guard, b"%d\n" % group)


class _ForkServer:
    """The client of one image's fork server; calls `ended(pid, code)` when a forked process has ended."""

    def __init__(self, image: Image, ended: Callable[[int, int], None]) -> None:
        self._image = image
        self._ended = ended
        self._started = time.time()
        self._children: set[int] = set()
        self._connection, theirs = multiprocessing.Pipe()
        python = image.entrypoint[: image.entrypoint.index("-m")]
        with theirs:
            self._process = subprocess.Popen(
                [*python, "-P", str(_FORK_SERVER), image.package, str(theirs.fileno())],
                env=dict(image.environment),
                cwd=image.folder,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self._receive)

    @property
    def is_stale(self) -> bool:
        """Whether the server has ended, or the image's code has changed since it started."""
        return self._connection.closed or any(
            file.stat().st_mtime > self._started for file in self._image.folder.glob("*/*.py")
        )

    def fork(self, command: Command, output: int) -> int:
        """Return the id of a new process; raise OSError when the server cannot fork it."""
        arguments = command.arguments[len(self._image.entrypoint) :]
        self._connection.send((arguments, dict(command.environment), str(command.folder)))
        send_handle(self._connection, output, self._process.pid)
        forked = None
        while forked is None:
            if not self._connection.poll(_FORK_SECONDS):
                self._process.kill()
            forked = self._receive()
            if self._connection.closed:
                raise OSError(f"the fork server of {self._image.folder} has ended")
        return forked

    def retire(self) -> None:
        """Fork no more: the server exits when its last child has ended."""
        with contextlib.suppress(OSError):
            self._connection.send(None)

    def _receive(self) -> int | None:
        """Take one message; return the id of a newly forked process."""
        try:
            event, pid, code = self._connection.recv()
        except (EOFError, ConnectionError):
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._connection.close()
            self._process.wait()
            for child in self._children:
                self._ended(child, 128 + signal.SIGKILL)
            self._children.clear()
            return None
        if event == "forked":
            self._children.add(pid)
            return int(pid)
        self._children.remove(pid)
        self._ended(pid, code)
        return None
