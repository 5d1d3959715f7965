"""Processes that a test starts: they react to Ctrl-C and do not outlive the test."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a process, and kill it at the end of the block if it is still running.

    If the tests run in the background of a script or of a CI runner, SIGINT is ignored, and processes inherit
    that. This one gets the default handler, as if it were started in a terminal.
    """
    with subprocess.Popen(command, preexec_fn=_default_sigint, **options) as process:
        try:
            yield process
        finally:
            process.kill()  # does nothing if it has ended


def _default_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
