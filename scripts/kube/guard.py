"""Ends the endpoint's containers when the endpoint itself was killed and could not.

It is told of every process group as it starts ("+123") and ends ("-123") through a pipe; when the pipe
closes, the endpoint is gone, and what is left is killed. Nothing but the standard library, so that it
starts in a moment; it works wherever there are process groups.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    """Reads until the endpoint is gone, then kills the groups that are left."""
    for unwelcome in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(unwelcome, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        if number > 0:
            groups.add(number)
        else:
            groups.discard(-number)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
