"""Temporary stacks for benchmarks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.local.ports import free_ports
from scripts.local.settings import REPOSITORY, Settings, load_or_default
from scripts.waiting import wait_until


@contextlib.contextmanager
def temporary_stack(*options: str) -> Iterator[Settings]:
    """Bring up a stack with these options of `up`, and yield its settings; remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="cpu-bench-") as folder:
        state = (Path(folder) / "state").resolve()
        port, redis_port, kube_port = free_ports(3)
        ports = [f"--port={port}", f"--redis-port={redis_port}", f"--kube-port={kube_port}"]
        try:
            _run_command(state, "up", *ports, *options)
            yield load_or_default(state)
        finally:
            _run_command(state, "down", "--purge")


def _run_command(state: Path, *arguments: str) -> None:
    """Run a command of the stack; if it fails, exit the program with its code."""
    command = [sys.executable, "-m", "scripts.local", *arguments]
    environment = {**os.environ, "STACK_DIR": str(state)}
    # Its output goes to standard error: standard output is for the benchmark's findings only.
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=sys.stderr.fileno(), check=False)
    if done.returncode:
        sys.exit(done.returncode)  # the command has printed why


def wait_or_exit(predicate: Callable[[], bool], seconds: float, failure: str) -> None:
    """Wait until the predicate is true; after so many seconds, exit the program with this message.

    Polls once a second only, as each poll takes CPU time from what is measured.
    """
    if not wait_until(predicate, seconds, interval=1):
        sys.exit(failure)
