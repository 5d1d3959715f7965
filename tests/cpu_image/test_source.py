"""Decoding the text of a program."""

import base64
import zlib

import pytest

from cpu import source
from cpu.errors import PermanentError, ProgramError
from cpu.program import parse
from tests.support.solver import EXAMPLE


def encode(text: bytes) -> str:
    return base64.b64encode(zlib.compress(text)).decode()


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_chunks_joined_are_the_program(size: int) -> None:
    encoded = encode(EXAMPLE.encode())
    assert source.decode([encoded[at : at + size] for at in range(0, len(encoded), size)]) == EXAMPLE


@pytest.mark.parametrize("chunks", [["?"], ["é"], [""], ["AAAA"], [encode(b"acc +1")[:-8]], ["$(HOME)"]])
def test_chunks_that_are_not_base64_of_zlib_are_rejected(chunks: list[str]) -> None:
    with pytest.raises(PermanentError, match="--encoded is"):
        source.decode(chunks)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_utf_8_program_is_decoded_with_and_without_a_byte_order_mark(encoding: str) -> None:
    assert parse(source.text_of(EXAMPLE.encode(encoding))) == parse(EXAMPLE)


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        *((encoding, "UTF-16") for encoding in ("utf-16", "utf-16-le", "utf-16-be")),
        *((encoding, "UTF-32") for encoding in ("utf-32", "utf-32-le", "utf-32-be")),
    ],
)
@pytest.mark.parametrize("text", [EXAMPLE, "\r\nacc +1\r\n", "\ufeffacc +1"])
def test_a_utf_16_or_utf_32_program_is_rejected_with_its_encoding(
    encoding: str, name: str, text: str
) -> None:
    with pytest.raises(ProgramError, match=f"the program is encoded in {name}: save it as UTF-8"):
        source.text_of(text.encode(encoding))
    with pytest.raises(ProgramError, match=f"the program is encoded in {name}: save it as UTF-8"):
        source.decode([encode(text.encode(encoding))])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xe9", "line 1: byte 0xe9 is not UTF-8: save the program as UTF-8"),
        (b"acc +1\r\n\nacc \x961\n", "line 3: byte 0x96 is not UTF-8: save the program as UTF-8"),
        (b"acc +1\nacc +1\xe2\x88", "line 2: byte 0xe2 is not UTF-8: save the program as UTF-8"),
        (b"\x1f\x8b\x08\0", "line 1: byte 0x8b is not UTF-8: save the program as UTF-8"),
    ],
)
def test_bytes_that_are_not_utf_8_are_rejected_with_their_line(data: bytes, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        source.text_of(data)


@pytest.mark.parametrize("data", [b"\0acc +1", b"a\0cc +1", b"\0\0\0\0"])
def test_a_stray_zero_byte_is_rejected_with_its_line_and_not_as_utf_16(data: bytes) -> None:
    with pytest.raises(ProgramError, match=r"line 1: .*: expected one of acc, jmp, nop"):
        parse(source.text_of(data))


def test_a_program_that_inflates_beyond_16_mib_is_rejected() -> None:
    with pytest.raises(ProgramError, match="expected no more than 16 MiB"):
        source.decode([encode(b"\n" * 10**8)])
