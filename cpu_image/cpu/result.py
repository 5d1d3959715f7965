"""What a command answers: the status vocabulary, the JSON line, and where a pod leaves it."""

import json
import sys
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from cpu.errors import TemporaryError

Result = dict[str, Any]
"""One JSON object; with a program of 10,000 instructions still under the 4,096 bytes of a pod's result.

`pc` and `acc` are decimal strings because they may exceed 64 bits: msgpack refuses such integers, and many
JSON readers are exact to 53 bits only. All other numbers are far below that.
"""


class Status(StrEnum):
    """What a CPU has come to."""

    OK = "ok"
    """It has a next cycle."""
    INVALID = "invalid"
    """Its instruction has nothing to swap: it runs no cycle."""
    END = "end"
    """The program counter is exactly one past the last instruction."""
    LOOP = "loop"
    """An instruction is about to run a second time."""
    FAULT = "fault"
    """The program counter is anywhere else outside the program."""
    STOPPED = "stopped"
    """It was told to stop: another CPU has the answer, or the start run is cancelled."""


def to_line(result: Result) -> str:
    """The result as one line of JSON, in ASCII, the same for the same result."""
    return json.dumps(result, separators=(",", ":"))


def say(line: str) -> None:
    """Print a line, at once. Raises TemporaryError where nobody reads it any more."""
    try:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # the terminal may have no →
        print(line, flush=True)
    except OSError as error:
        sys.stdout = None  # or Python complains once more, at exit
        raise TemporaryError(f"cannot print the result: {error.strerror}") from error


def remark(sentence: str) -> None:
    """Print a sentence for people on standard error, at once. Where that cannot be, nothing fails for it."""
    if not sentence or sys.stderr is None:
        return
    try:
        sentence.encode(sys.stderr.encoding or "utf-8")
    except UnicodeEncodeError:
        sentence = sentence.replace("→", "->")
    try:
        print(sentence, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        sys.stderr = None  # or Python fails once more, at exit


def deliver(line: str, path: Path) -> None:
    """Print the line and leave it in the file, without the line's end: in a pod, its termination message,
    which `kubectl get` can show in a column.

    A file that does not exist and cannot be made is left out: outside of a pod nobody reads it.
    Raises TemporaryError where the line cannot be printed or the file cannot be written.
    """
    say(line)
    try:
        if path.exists() or _can_make(path):
            path.write_text(line)
    except OSError as error:
        raise TemporaryError(f"cannot write the result to {path}: {error.strerror}") from error


def _can_make(path: Path) -> bool:
    try:
        path.touch()
    except OSError:
        return False
    return True
