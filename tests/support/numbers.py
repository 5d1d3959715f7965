"""Numbers beyond 64 bits: a program that comes to one, and what its readers make of it."""

import json

from msgspec import msgpack

BEYOND_64_BITS = "acc +9223372036854775807\n" * 3 + "jmp -3\n"
"""It loops, and with its last line swapped it ends: both with an accumulator of 27670116110564327421."""


def assert_exact_for_all_readers(line: str) -> None:
    """Check that a JSON reader whose only numbers are floats, and msgpack, take the line without loss.

    JavaScript is such a reader; Airflow's triggerer and workers speak msgpack.
    """
    value = json.loads(line)
    assert json.loads(line, parse_int=float) == value
    assert msgpack.decode(msgpack.encode(value)) == value
