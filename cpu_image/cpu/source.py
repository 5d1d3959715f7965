"""Where a program's text comes from: a file, standard input, or a pod's own arguments."""

import base64
import binascii
import sys
import zlib
from pathlib import Path

from cpu.errors import PermanentError, ProgramError

MAX_BYTES = 16 * 2**20


def text_of(data: bytes) -> str:
    """The bytes as text. What is not UTF-8 becomes U+FFFD, which the parser refuses, naming the line.

    Raises ProgramError where they are too many.
    """
    if len(data) > MAX_BYTES:
        raise ProgramError(f"the program is too large: expected no more than {MAX_BYTES >> 20} MiB")
    return data.decode("utf-8", errors="replace")


def read_file(path: str) -> str:
    """The text of a file, of standard input for '-'. Raises PermanentError where it cannot be read."""
    try:
        with sys.stdin.buffer if path == "-" else Path(path).open("rb") as file:
            return text_of(file.read(MAX_BYTES + 1))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PermanentError(f"cannot read the program {path!a}: {reason}") from error


def decode(chunks: list[str]) -> str:
    """The text behind `--encoded`: the chunks joined are base64 of zlib of UTF-8 text.

    Raises PermanentError when they are not that.
    """
    try:
        packed = base64.b64decode("".join(chunks), validate=True)
        inflater = zlib.decompressobj()
        data = inflater.decompress(packed, MAX_BYTES + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise PermanentError("--encoded is not base64 of a zlib-compressed program") from error
    if len(data) <= MAX_BYTES and not inflater.eof:
        raise PermanentError("--encoded is incomplete: its zlib stream has no end, is a chunk missing?")
    return text_of(data)
