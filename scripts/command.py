"""How every command ends: with its exit code, and without a traceback where that is nobody's fault."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper

FAILED = 1
INTERRUPTED = 130


def ended(main: Callable[[], int | None]) -> int:
    """Run a command; its exit code: 130 when it was interrupted, 1 when nobody reads its output any more."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the terminal may have no →
    try:
        code = main() or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes once more at exit, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code
