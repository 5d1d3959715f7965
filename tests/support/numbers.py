"""Numbers beyond 64 bits: a program that computes one, and a check that readers of results take it."""

import json

from msgspec import msgpack

BEYOND_64_BITS = "acc +9223372036854775807\n" * 3 + "jmp -3\n"
"""It loops, and with its last line swapped it ends: both with an accumulator of 27670116110564327421."""


def assert_exact_for_all_readers(line: str) -> None:
    """Assert that JSON readers with floats only, such as JavaScript, and msgpack read the line without loss.

    Airflow's triggerer and workers use msgpack.
    """
    value = json.loads(line)
    assert json.loads(line, parse_int=float) == value
    assert msgpack.decode(msgpack.encode(value)) == value
