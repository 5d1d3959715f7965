"""A program in a pod's arguments."""

import base64
import zlib

import pytest

from cpu import source
from cpu.errors import PermanentError, ProgramError
from tests.unit.solver import EXAMPLE


def encode(text: bytes) -> str:
    return base64.b64encode(zlib.compress(text)).decode()


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_chunks_joined_are_the_program(size: int) -> None:
    encoded = encode(EXAMPLE.encode())
    assert source.decode([encoded[at : at + size] for at in range(0, len(encoded), size)]) == EXAMPLE


@pytest.mark.parametrize("chunks", [["?"], ["é"], [""], ["AAAA"], [encode(b"acc +1")[:-8]], ["$(HOME)"]])
def test_what_is_not_base64_of_zlib_is_refused(chunks: list[str]) -> None:
    with pytest.raises(PermanentError, match="--encoded is"):
        source.decode(chunks)


def test_a_program_that_would_inflate_without_end_is_refused() -> None:
    with pytest.raises(ProgramError, match="expected no more than 16 MiB"):
        source.decode([encode(b"\n" * 10**8)])
