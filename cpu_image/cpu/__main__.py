"""The process: `python -m cpu COMMAND`, one command and its exit code."""

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

MAX_ERROR_LENGTH = 1000  # characters
EXIT_CODE_INTERRUPTED = 130  # as shells have it for Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return the exit code."""
    try:
        options = parse(arguments)
        handler: Callable[..., int] = options.handler
        return handler(options)
    except CpuError as error:
        return print_error(str(error), error.exit_code)
    except Exception as error:  # its own text is left out: it might quote a password
        return print_error(f"unexpected {type(error).__name__} in {_where(error)}")


def print_error(message: str, exit_code: int = TemporaryError.exit_code) -> int:
    """Print the message to standard error as one line of printable ASCII, and return the exit code."""
    line = "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in message)
    print(f"cpu: {line[:MAX_ERROR_LENGTH]}", file=sys.stderr)
    return exit_code


def _where(error: Exception) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}" if trace else "nowhere"


def _interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
    error = TemporaryError(f"interrupted by {signal.Signals(signal_number).name}")
    if signal_number == signal.SIGINT:
        error.exit_code = EXIT_CODE_INTERRUPTED
    raise error


if __name__ == "__main__":
    # The first process of a container ignores signals for which it has no handler.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    gc.disable()  # it takes a tenth of the imports' time, and the process is too short to leave much garbage
    fast_imports.prepare(tls=os.environ.get("REDIS_URL", "").strip().startswith("rediss"))
    sys.exit(main())
