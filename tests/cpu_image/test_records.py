"""Decoding what Redis keeps."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from cpu.instructions import Registers
from cpu.keys import Keys
from cpu.program import parse
from cpu.records import (
    CPU_FIELDS,
    CpuRecord,
    Stop,
    cpus_of,
    decode_instruction,
    decode_visited,
    encode_instruction,
    seconds_of,
)
from cpu.result import Status
from tests.support.solver import EXAMPLE, Lines, programs, text_of
from tests.support.start_run_client import StartRunClient


@given(programs)
def test_an_encoded_instruction_decodes_to_itself(lines: Lines) -> None:
    for instruction in parse(text_of(lines)).instructions:
        assert decode_instruction(encode_instruction(instruction).encode()) == instruction


@pytest.mark.parametrize(
    ("parts", "cpus"), [("1", [0]), ("2", [1, 3, 5, 8]), ("12", [0, 1, 3, 5, 8]), ("", [])]
)
def test_a_start_run_has_cpu_0_for_part_1_and_the_candidates_for_part_2(parts: str, cpus: list[int]) -> None:
    assert cpus_of(parts, parse(EXAMPLE).instructions) == cpus


@pytest.mark.parametrize("bitmap", [None, b"", b"\0\0"])
def test_a_cpu_without_a_set_bit_has_visited_nothing(bitmap: bytes | None) -> None:
    assert decode_visited(bitmap) == frozenset()


@given(addresses=st.sets(st.integers(0, 100)))
def test_the_visited_bitmap_has_a_bit_for_each_address(
    session_client: redis.Redis, addresses: set[int]
) -> None:
    session_client.delete("bitmap")
    for address in addresses:
        session_client.setbit("bitmap", address, 1)
    bitmap = session_client.get("bitmap")
    session_client.delete("bitmap")
    assert bitmap is None or isinstance(bitmap, bytes)
    assert decode_visited(bitmap) == addresses


def test_a_cpu_and_its_stop_are_decoded_as_the_commands_keep_them(
    start_run: StartRunClient, client: redis.Redis
) -> None:
    start_run.store_text()
    start_run.load(8)
    start_run.execute(8, 1, 2)
    start_run.execute(8, 3, 10)
    keys = Keys(start_run.start, 8)
    fields: Any = client.hmget(keys.registers, CPU_FIELDS)
    record = CpuRecord.decode(fields)
    assert record is not None
    assert (record.registers, record.status, record.first) == (Registers(9, 8, 6), Status.END, 3)
    value: Any = client.hget(keys.stops, "8")
    stop = Stop.decode(value)
    assert stop.verdict == "part2"
    assert record.loaded is not None
    assert record.loaded < stop.time <= seconds_of(client.time())


@pytest.mark.parametrize("missing", CPU_FIELDS)
def test_a_cpu_that_lacks_a_field_has_no_record_but_the_time_of_loading_may_be_missing(
    start_run: StartRunClient, client: redis.Redis, missing: str
) -> None:
    start_run.store_text()
    start_run.load(8)
    registers = Keys(start_run.start, 8).registers
    client.hdel(registers, missing)
    fields: Any = client.hmget(registers, CPU_FIELDS)
    record = CpuRecord.decode(fields)
    assert (record is not None) == (missing == "loaded")


def test_a_key_names_its_start_run() -> None:
    keys = Keys("20261122-084725-a1b2c3", 8)
    assert {Keys.start_of(key.encode()) for key in [*keys.of_start, *keys.of_cpu]} == {keys.start}
