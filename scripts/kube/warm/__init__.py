"""Parents that have imported what an image's containers need, and fork them.

Starting Python and importing is most of what a short container costs. An image whose package has a module
``warm`` has its containers forked instead, from a process that has imported that module, where nothing in a
container's spec asks for another start. What they get is the same: arguments, environment, folder,
descriptors, a session of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scripts.kube.images import Image

_SCRIPT = Path(__file__).with_name("parent.py")
_PATIENCE = 30.0
_KILLED = 137


class WarmParent:
    """One image's parent."""

    def __init__(self, image: Image, ended: Callable[[int, int], None]) -> None:
        """`ended` is told of each child's end: its id and exit code. Raises OSError when it cannot start."""
        self._tell = ended
        self._born = time.time()
        self._folder = image.folder or Path()
        self._children: set[int] = set()
        self._is_gone = self._is_retired = False
        self._heard = b""
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(_PATIENCE)
        self._ends, told = os.pipe()
        os.set_blocking(self._ends, False)
        # The image's own interpreter and options, with another program.
        python = image.entrypoint[: image.entrypoint.index("-m")]
        with theirs:
            self._process = subprocess.Popen(
                [*python, str(_SCRIPT), image.warm, str(theirs.fileno()), str(told)],
                env=dict(image.environment),
                cwd=self._folder,
                pass_fds=(theirs.fileno(), told),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        os.close(told)
        asyncio.get_running_loop().add_reader(self._ends, self._hear)

    @property
    def is_stale(self) -> bool:
        """Whether another one is needed: it was killed, or the image's code has changed since."""
        return self._is_gone or any(file.stat().st_mtime > self._born for file in self._folder.glob("*/*.py"))

    def fork(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        output: tuple[int, int],
    ) -> int:
        """Fork a child with that standard output and error; its id. Raises OSError when it cannot."""
        request = {"arguments": arguments, "environment": environment, "folder": str(folder)}
        line = json.dumps(request, default=dict).encode() + b"\n"
        sent = socket.send_fds(self._socket, [line], list(output))
        self._socket.sendall(line[sent:])
        answer = b""
        while not answer.endswith(b"\n"):
            more = self._socket.recv(64)
            if not more:
                raise OSError(f"the parent of {self._folder}'s containers has ended")
            answer += more
        self._children.add(int(answer))
        return int(answer)

    def reap(self, pid: int) -> None:
        """Have the parent reap that child, whose id was nobody else's until now."""
        with contextlib.suppress(OSError):
            self._socket.sendall(b"%d\n" % pid)

    def retire(self) -> None:
        """Fork no more, and end with the last child."""
        self._is_retired = True
        if not self._children:
            asyncio.get_running_loop().remove_reader(self._ends)
            os.close(self._ends)
            self._socket.close()  # which is its word to end
            self._process.wait()

    def _hear(self) -> None:
        told = os.read(self._ends, 65_536)
        *lines, self._heard = (self._heard + told).split(b"\n")
        for line in lines:
            pid, code = map(int, line.split())
            self._end(pid, code)
        if not told:
            self._is_gone = True
            for pid in list(self._children):
                self._end(pid, _KILLED)
            asyncio.get_running_loop().remove_reader(self._ends)
        if self._is_retired and not self._children:
            self.retire()

    def _end(self, pid: int, code: int) -> None:
        self._children.discard(pid)
        self._tell(pid, code)
