"""The command line: `python -m cpu --help`."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from cpu import fast_imports
from cpu.cli import parse
from cpu.errors import CpuError, TemporaryError

LONGEST_COMPLAINT = 1000
INTERRUPTED = 130  # as shells have it for Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments ask for; returns the exit code."""
    try:
        options = parse(arguments)
        answer: Callable[..., int] = options.answer
        return answer(options)
    except CpuError as error:
        return complain(str(error), error.exit_code)
    except Exception as error:  # one line here too, and not the error's own: it might quote a password
        return complain(f"unexpected {type(error).__name__} in {_where(error)}")


def complain(message: str, exit_code: int = TemporaryError.exit_code) -> int:
    """One line on standard error, whatever is in the message."""
    line = "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in message)
    print(f"cpu: {line[:LONGEST_COMPLAINT]}", file=sys.stderr)
    return exit_code


def _where(error: Exception) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}" if trace else "nowhere"


def _interrupted(signal_number: int, frame: FrameType | None) -> NoReturn:
    error = TemporaryError(f"interrupted by {signal.Signals(signal_number).name}")
    if signal_number == signal.SIGINT:
        error.exit_code = INTERRUPTED
    raise error


if __name__ == "__main__":
    # The first process of a container has no default way to end at a signal.
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGINT, _interrupted)
    gc.disable()  # a tenth of the imports' time, in a process that is too short to leave much
    fast_imports.prepare(tls=os.environ.get("REDIS_URL", "").strip().startswith("rediss"))
    sys.exit(main())
