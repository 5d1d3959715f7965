"""Stacks of a benchmark's own, and what their processes use."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from scripts.local import processes
from scripts.local import stack as stacks
from scripts.local.settings import REPOSITORY, Settings


@contextlib.contextmanager
def stack(*options: str) -> Iterator[Settings]:
    """A stack of the benchmark's own, brought up with these options and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="cpu-bench-") as folder:
        state = (Path(folder) / "state").resolve()
        port, redis_port, kube_port = free_ports(3)
        ports = [f"--port={port}", f"--redis-port={redis_port}", f"--kube-port={kube_port}"]
        try:
            command(state, "up", *ports, *options)
            yield stacks.remembered(state)
        finally:
            command(state, "down", "--purge")


def command(state: Path, *arguments: str) -> None:
    """Give the stack there a command."""
    own = {**os.environ, "STACK_DIR": str(state)}
    whole = [sys.executable, "-m", "scripts.local", *arguments]
    # On standard output is only what the benchmark has found.
    done = subprocess.run(whole, cwd=REPOSITORY, env=own, stdout=sys.stderr.fileno(), check=False)
    if done.returncode:
        sys.exit(done.returncode)  # it has said why


def free_ports(number: int) -> list[int]:
    """Ports on loopback that nobody listens on right now."""
    with contextlib.ExitStack() as sockets:
        found = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [one.getsockname()[1] for one in found]


def cpu_seconds(settings: Settings, names: Sequence[str]) -> dict[str, float]:
    """The CPU seconds that the processes of these components have used until now, ended ones included."""
    used: dict[str, float] = defaultdict(float)
    for process, name in processes.members(settings).items():
        with contextlib.suppress(psutil.Error):
            used[name] += sum(process.cpu_times()[:4])
    return {name: used[name] for name in names}


def until(predicate: Callable[[], bool], otherwise: str, seconds: float) -> None:
    """Look once a second until it is so, as looking costs as well; or, after that time, end the program."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            sys.exit(otherwise)
        time.sleep(1)
