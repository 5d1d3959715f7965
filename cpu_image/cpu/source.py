"""The text of a program: read from a file, standard input, or a pod's arguments."""

import base64
import binascii
import json
import sys
import zlib
from pathlib import Path

from cpu.errors import PermanentError, ProgramError

MAX_BYTES = 16 * 2**20


def text_of(data: bytes) -> str:
    """Decode a program's bytes. Raises ProgramError if they are too many or not UTF-8."""
    if len(data) > MAX_BYTES:
        raise ProgramError(f"the program is too large: expected no more than {MAX_BYTES >> 20} MiB")
    if encoding := _wide_encoding(data):
        remedy = "save it as UTF-8 (in PowerShell: Set-Content -Encoding utf8)"
        raise ProgramError(f"the program is encoded in {encoding}: {remedy}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line, byte = data.count(b"\n", 0, error.start) + 1, f"0x{data[error.start]:02x}"
        raise ProgramError(f"line {line}: byte {byte} is not UTF-8: save the program as UTF-8") from None


def _wide_encoding(data: bytes) -> str | None:
    """Return "UTF-16" or "UTF-32" if the bytes are so encoded, with or without a byte order mark, or None."""
    encoding = json.detect_encoding(data)  # looks at the mark, or at the zeros in the first four bytes
    if encoding.startswith("utf-8"):
        return None
    if encoding not in ("utf-16", "utf-32"):  # without a mark: binary data may have such zeros too
        beginning = data[:4].decode(encoding, errors="replace")
        if not beginning.isascii() or "\0" in beginning:
            return None
    return encoding[:6].upper()


def read_file(path: str) -> str:
    """Return the text of a file, or of standard input for "-". Raises PermanentError if it cannot be read."""
    try:
        with sys.stdin.buffer if path == "-" else Path(path).open("rb") as file:
            return text_of(file.read(MAX_BYTES + 1))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PermanentError(f"cannot read the program {path!a}: {reason}") from error


def decode(chunks: list[str]) -> str:
    """Return the text behind `--encoded`: the chunks, joined, are base64 of zlib-compressed UTF-8.

    Raises PermanentError if they are not.
    """
    try:
        packed = base64.b64decode("".join(chunks), validate=True)
        inflater = zlib.decompressobj()
        data = inflater.decompress(packed, MAX_BYTES + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise PermanentError("--encoded is not base64 of a zlib-compressed program") from error
    if len(data) <= MAX_BYTES and not inflater.eof:
        raise PermanentError(
            "--encoded is incomplete: its zlib stream has no end; check that no chunk is missing"
        )
    return text_of(data)
