"""Local processes, each the leader of a session and process group of its own.

`launcher.py` starts them: one launcher for programs, and one for each image that is forked.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from scripts.kube.environment import Command, Image

_LAUNCHER = Path(__file__).with_name("launcher.py")
_START_SECONDS = 30.0
"""How long a start may take; an image's first one waits for the launcher's imports."""


class Process:
    """A process group; `exited` becomes its leader's exit code, 128+n after signal n."""

    def __init__(self, pid: int, command: Command, launcher: _Launcher) -> None:
        self.pid = pid
        self.command = command
        self.launcher = launcher
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def signal(self, number: int) -> None:
        """Send a signal to the whole group, unless its leader has ended."""
        if not self.exited.done():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


class Processes:
    """All processes of this endpoint."""

    def __init__(self) -> None:
        self._running: dict[int, Process] = {}
        self._launchers: dict[Path | None, _Launcher] = {}
        self._nothing = os.open(os.devnull, os.O_RDONLY)
        self._launcher(None)

    def start(self, command: Command, stdout: int, stderr: int, stdin: int | None = None) -> Process:
        """Start a process with these descriptors and no others; raise OSError or ValueError if that fails."""
        launcher = self._launcher(command.image if command.image and command.image.preloads else None)
        pid = launcher.start(command, [self._nothing if stdin is None else stdin, stdout, stderr])
        process = self._running[pid] = Process(pid, command, launcher)
        return process

    async def stop(self, grace: float) -> None:
        """End every process: SIGTERM first, SIGKILL after `grace` seconds."""
        waiting = [process.exited for process in self._running.values()]
        for number, timeout in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
            for process in self._running.values():
                process.signal(number)
            if waiting:
                await asyncio.wait(waiting, timeout=timeout)
        for launcher in self._launchers.values():
            launcher.close()

    def _launcher(self, image: Image | None) -> _Launcher:
        """Return the launcher of programs or of an image: a new one if there is none or it is stale."""
        key = image.folder if image else None
        launcher = self._launchers.get(key)
        if launcher is None or launcher.is_stale:
            if launcher:
                launcher.retire()
            launcher = self._launchers[key] = _Launcher(image, self._running)
        return launcher


class _Launcher:
    """The client of one launcher; removes its ended processes from `running`, which all launchers share."""

    def __init__(self, image: Image | None, running: dict[int, Process]) -> None:
        self._image = image
        self._running = running
        self._started = time.time()
        self._connection, theirs = multiprocessing.Pipe()
        self._channel = socket.socket(fileno=os.dup(self._connection.fileno()))
        self._answers = select.poll()
        self._answers.register(self._connection.fileno(), select.POLLIN)
        python, package = [sys.executable, "-I", "-S"], list[str]()
        if image:  # -P: without this folder on the path
            python, package = [*image.python, "-P"], [image.package]
        with theirs:
            self._process = subprocess.Popen(
                [*python, str(_LAUNCHER), str(theirs.fileno()), *package],
                env=image.environment if image else None,
                cwd=image.folder if image else None,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self._receive_waiting)

    @property
    def is_stale(self) -> bool:
        """Whether the launcher has ended, or the image's code has changed since it started."""
        times = _times_of_modules(self._image.folder) if self._image else ()
        return self._connection.closed or any(time > self._started for time in times)

    def start(self, command: Command, descriptors: list[int]) -> int:
        """Return the id of a new process; raise OSError or ValueError when there is none."""
        arguments = command.arguments
        if self._image:
            arguments = arguments[len(self._image.entrypoint) :]
        self._connection.send((arguments, dict(command.environment), str(command.folder)))
        socket.send_fds(self._channel, [b"."], descriptors)
        answer = None
        while answer is None:
            if not self._answers.poll(_START_SECONDS * 1000):
                self._process.kill()
            answer = self._receive()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def retire(self) -> None:
        """Start no more: the launcher exits when its last process has ended."""
        with suppress(OSError):
            self._connection.send(None)

    def close(self) -> None:
        """End the launcher, which kills its processes."""
        if not self._connection.closed:
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._channel.close()
            self._connection.close()
            self._process.wait()

    def _receive_waiting(self) -> None:
        """Take a message if there is one: a start may have taken it since the event loop saw it."""
        if self._answers.poll(0):
            self._receive()

    def _receive(self) -> int | Exception | None:
        """Take one message; return the answer to a start, None if it is about another process."""
        try:
            message: int | Exception | tuple[int, int] = self._connection.recv()
        except (EOFError, ConnectionError):
            self.close()
            for process in [each for each in self._running.values() if each.launcher is self]:
                process.signal(signal.SIGKILL)
                self._running.pop(process.pid).exited.set_result(128 + signal.SIGKILL)
            return OSError(f"the launcher of {self._image.folder if self._image else 'programs'} has ended")
        if isinstance(message, tuple):
            pid, code = message
            self._running.pop(pid).exited.set_result(code)
            return None
        return message


def _times_of_modules(folder: Path) -> Iterator[float]:
    """Yield when each module of the folder's packages was changed; called before each start, so in haste."""
    for package in [entry.path for entry in os.scandir(folder) if entry.is_dir()]:
        for module in os.scandir(package):
            if module.name.endswith(".py"):
                yield module.stat().st_mtime
