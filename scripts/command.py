"""Run a command line's main function: exit codes, and no traceback for an interruption or a closed pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper

FAILED = 1
INTERRUPTED = 130


def run_command(main: Callable[[], int | None]) -> int:
    """Run ``main`` and return the exit code: its own, 130 if interrupted, 1 if its output was closed."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the terminal's encoding may lack →
    try:
        code = main() or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output again at exit, which would fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code
