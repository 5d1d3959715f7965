"""Run a one-shot: a program that is run to its end during startup, such as ``initdb``."""

from __future__ import annotations

import subprocess
import sys

from scripts.local.errors import StackError
from scripts.local.services.component import environment
from scripts.local.settings import REPOSITORY
from scripts.local.stack import Stack
from scripts.local.starter import TIMEOUT_SECONDS
from scripts.waiting import wait_until


class OneShot:
    """A one-shot that starts at once and is killed at the end of the block if it is still running.

    Its output goes to its log, as any component's does.
    """

    def __init__(self, stack: Stack, name: str) -> None:
        self._name = name
        with (stack.settings.logs / f"{name}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scripts.local.launch", str(stack.settings.state), name],
                env=environment(stack.component(name), stack.settings),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> OneShot:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def wait(self) -> None:
        """Wait for its end; raise StackError if it fails or takes longer than TIMEOUT_SECONDS."""
        if not wait_until(lambda: self._process.poll() is not None, TIMEOUT_SECONDS):
            raise StackError(f"{self._name} is not done after {TIMEOUT_SECONDS:.0f} seconds", self._name)
        if self._process.returncode:
            raise StackError(f"{self._name} failed", self._name)
