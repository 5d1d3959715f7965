"""Local processes, each the leader of a session and process group of its own.

`Processes.start` is the one place where a container becomes a process: started anew, or forked from its
image's warm parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.kube.images import Image
from scripts.kube.warm import WarmParent

_GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True)
class Command:
    """What to run: arguments, the whole environment, the working directory; and the image, where that is
    started as it starts all its containers.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    image: Image | None = None


class Process:
    """A running process group; `exited` becomes its leader's exit code, 128+n after signal n."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def signal(self, number: int) -> None:
        """Sends a signal to the whole group; nothing once its leader has ended."""
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


class Child(Process):
    """One that was started from here."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        super().__init__(popen.pid)
        self._popen = popen

    def reap(self) -> bool:
        """Notices the leader's end: the rest of its group goes with it, as in a container."""
        if not self._has_ended():
            return False
        self.signal(signal.SIGKILL)
        code = self._popen.wait()
        self.exited.set_result(code if code >= 0 else 128 - code)
        return True

    def _has_ended(self) -> bool:
        # Looked at before it is waited for, where that is possible: until then its id is nobody else's.
        if hasattr(os, "waitid"):
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self._popen.poll() is not None


class Forked(Process):
    """One that an image's warm parent has forked, and reaps."""

    def __init__(self, pid: int, parent: WarmParent) -> None:
        super().__init__(pid)
        self._parent = parent

    def ended(self, code: int) -> None:
        """The leader has ended; the rest of its group goes with it, before its id can be somebody else's."""
        self.signal(signal.SIGKILL)
        self._parent.reap(self.pid)
        self.exited.set_result(code)


class Processes:
    """All processes of this endpoint."""

    def __init__(self) -> None:
        self._running: dict[int, Process] = {}
        self._parents: dict[Path, WarmParent] = {}
        reader, self._to_guard = os.pipe()
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD)],
            stdin=reader,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(reader)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(
        self, command: Command, *, stdin: int = subprocess.DEVNULL, stdout: int, stderr: int
    ) -> Process:
        """Starts a process with these descriptors and no others; raises OSError when it cannot."""
        process: Process
        if command.image and command.image.warm and stdin == subprocess.DEVNULL:
            process = self._fork(command, command.image, stdout, stderr)
        else:
            popen = subprocess.Popen(
                command.arguments,
                env=command.environment,
                cwd=command.folder,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                umask=0o022,
            )
            process = Child(popen)
        self._tell_guard(process.pid)
        self._running[process.pid] = process
        return process

    async def stop(self, grace: float) -> None:
        """Ends every process: asked to first, killed when `grace` seconds are over."""
        waiting = [process.exited for process in self._running.values()]
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
            for process in list(self._running.values()):
                process.signal(number)
            if waiting:
                await asyncio.wait(waiting, timeout=patience)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        for parent in self._parents.values():
            parent.retire()
        os.close(self._to_guard)
        self._guard.wait()

    def _fork(self, command: Command, image: Image, stdout: int, stderr: int) -> Process:
        assert image.folder  # noqa: S101  (a warm image has code)
        parent = self._parents.get(image.folder)
        if parent is None or parent.is_stale:
            if parent:
                parent.retire()
            parent = self._parents[image.folder] = WarmParent(image, self._ended)
        arguments = command.arguments[len(image.entrypoint) :]
        pid = parent.fork(arguments, command.environment, command.folder, (stdout, stderr))
        return Forked(pid, parent)

    def _ended(self, pid: int, code: int) -> None:
        process = self._running.get(pid)
        if isinstance(process, Forked):
            process.ended(code)
            self._forget(process)

    def _reap(self) -> None:
        for process in list(self._running.values()):
            if isinstance(process, Child) and process.reap():
                self._forget(process)

    def _forget(self, process: Process) -> None:
        del self._running[process.pid]
        self._tell_guard(-process.pid)

    def _tell_guard(self, group: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._to_guard, b"%d\n" % group)
