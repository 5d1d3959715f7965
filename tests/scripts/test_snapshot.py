"""The read-only view of a start run in Redis."""

from __future__ import annotations

import pytest

from cpu.keys import Keys
from scripts.snapshot import (
    Answer,
    NotKeptError,
    Snapshot,
    count_visits,
    read_hot_lines,
    read_listing,
    take_snapshot,
)
from tests.support.numbers import BEYOND_64_BITS
from tests.support.start_run_client import StartRunClient

ENDLESS = "acc +1\njmp -1\njmp -2\n"
"""A program that no swap ends."""


def snapshot(start_run: StartRunClient) -> Snapshot:
    return take_snapshot(start_run.client, start_run.start)


def test_a_start_run_that_was_never_stored_raises_not_kept_error(start_run: StartRunClient) -> None:
    with pytest.raises(NotKeptError, match="never stored"):
        snapshot(start_run)


@pytest.mark.parametrize(("parts", "cpus"), [("1", [0]), ("2", [1, 3, 5, 8]), ("12", [0, 1, 3, 5, 8])])
def test_a_start_run_has_a_cpu_for_part_1_and_one_per_candidate_for_part_2(
    start_run: StartRunClient, parts: str, cpus: list[int]
) -> None:
    start_run.store_text(parts=parts)
    found = snapshot(start_run)
    assert [cpu.cpu for cpu in found.cpus] == cpus
    assert {cpu.state for cpu in found.cpus} == {"waiting"}
    assert (found.stopped, found.cycles, found.ended, found.expected) == (0, 0, None, None)


def test_a_cpu_has_its_registers_and_its_swap(start_run: StartRunClient) -> None:
    start_run.store_text()
    start_run.load(8)
    start_run.execute(8, 1, 3)
    cpu = snapshot(start_run).cpus[-1]
    assert (cpu.cpu, cpu.line, cpu.swap) == (8, 8, "jmp -4 → nop -4")
    assert (cpu.state, cpu.cycle, cpu.pc, cpu.acc) == ("running", 3, "6", "1")


def test_a_cpu_has_the_times_at_which_it_was_loaded_and_stopped(start_run: StartRunClient) -> None:
    start_run.store_text()
    start_run.run(8)
    start_run.load(0)
    found = snapshot(start_run)
    waiting, running, stopped = (next(one for one in found.cpus if one.cpu == cpu) for cpu in (1, 0, 8))
    assert (waiting.loaded, waiting.stopped, running.stopped) == (None, None, None)
    assert stopped.loaded is not None
    assert stopped.stopped is not None
    assert running.loaded is not None
    assert found.stored <= stopped.loaded <= stopped.stopped <= running.loaded <= found.now


def test_a_cpu_without_a_time_of_its_load_counts_as_loaded_when_the_program_was_stored(
    start_run: StartRunClient,
) -> None:
    start_run.store_text(parts="1")
    start_run.load(0)
    start_run.client.hdel(Keys(start_run.start, 0).registers, "loaded")
    found = snapshot(start_run)
    assert found.cpus[0].loaded == found.stored


def test_an_accumulator_of_64_bits_is_exact(start_run: StartRunClient) -> None:
    start_run.store_text(f"acc +{2**63 - 1}\njmp +0\n", parts="1")
    start_run.run(0)
    assert snapshot(start_run).cpus[0].acc == "9223372036854775807"


def test_registers_beyond_64_bits_are_exact(start_run: StartRunClient) -> None:
    start_run.store_text(f"{BEYOND_64_BITS}jmp +{2**63 - 1}\n")
    start_run.run(4)
    cpu = next(one for one in snapshot(start_run).cpus if one.cpu == 4)
    assert (cpu.acc, cpu.pc) == ("27670116110564327421", str(2**63 + 3))


def test_an_answer_is_none_until_a_cpu_has_found_it(start_run: StartRunClient) -> None:
    start_run.store_text()
    assert (snapshot(start_run).part1(), snapshot(start_run).part2()) == (None, None)
    start_run.run(0)
    assert (snapshot(start_run).part1(), snapshot(start_run).part2()) == (Answer(text="5", cpu=0), None)
    start_run.run(8)
    assert snapshot(start_run).part2() == Answer(text="8", cpu=8)
    found = snapshot(start_run)
    assert (found.stopped, found.ended) == (2, None)
    assert found.expected is not None
    assert found.expected == pytest.approx((found.now - found.stored) * 5 / 2)


def test_a_start_run_has_ended_when_its_last_cpu_has_stopped(start_run: StartRunClient) -> None:
    start_run.store_text()
    for cpu in (0, 8, 1, 3, 5):
        start_run.run(cpu)
    found = snapshot(start_run)
    assert found.stopped == 5
    assert found.ended is not None
    assert found.stored <= found.ended <= found.now
    assert found.expected == found.ended - found.stored
    assert [cpu.state for cpu in found.cpus] == ["loop", "stopped", "stopped", "stopped", "end"]


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("acc +3\nnop +0\n", "the program does not loop: it ends"),
        ("acc +3\njmp +7\n", "the program does not loop: it faults"),
    ],
)
def test_part_1_of_a_program_that_does_not_loop_is_a_sentence(
    start_run: StartRunClient, program: str, text: str
) -> None:
    start_run.store_text(program, parts="1")
    start_run.run(0)
    assert snapshot(start_run).part1() == Answer(text=text, cpu=0)


def test_part_2_is_that_no_swap_ends_the_program_once_all_candidates_have_stopped(
    start_run: StartRunClient,
) -> None:
    start_run.store_text(ENDLESS, parts="2")
    start_run.run(2)
    assert snapshot(start_run).part2() is None
    start_run.run(3)
    assert snapshot(start_run).part2() == Answer(text="no swap ends this program", cpu=None)


def test_a_cancelled_start_run_has_no_answers(start_run: StartRunClient) -> None:
    start_run.store_text()
    for cpu in (0, 8):
        start_run.load(cpu)
    start_run.cancel()
    for cpu in (0, 8):
        start_run.execute(cpu, 1)
    found = snapshot(start_run)
    assert found.facts.cancelled
    assert (found.part1(), found.part2()) == (None, None)


def test_the_listing_is_the_program_with_the_swap_and_the_visited_lines_of_its_cpu(
    start_run: StartRunClient,
) -> None:
    start_run.store_text()
    start_run.load(3)
    start_run.execute(3, 1, 4)
    found = read_listing(start_run.client, start_run.start, 3, snapshot(start_run).program)
    assert [line.line for line in found] == list(range(1, 10))
    assert [line.text for line in found][:4] == ["nop +0", "acc +1", "nop +4", "acc +3"]
    assert [line.swapped for line in found] == [address == 2 for address in range(9)]
    assert [line.visited for line in found] == [address < 4 for address in range(9)]


@pytest.mark.parametrize("cycles", [1, 2, 5])
def test_the_pods_of_a_start_run_are_counted_from_its_cycles(start_run: StartRunClient, cycles: int) -> None:
    start_run.store_text(cycles=cycles)
    pods = 1
    for cpu in (0, 8):
        result = start_run.load(cpu)
        pods += 1
        while result["status"] == "ok":
            result = start_run.execute(cpu, result["cycle"] + 1, cycles)
            pods += 1
        pods += 1  # each has an answer, which a pod reads
        assert "verdict" in result
        assert snapshot(start_run).pods == pods
    start_run.load(1)
    start_run.execute(1, 1, cycles)  # is told to stop, as CPU 8 has the answer
    assert snapshot(start_run).pods == pods + 2


def test_a_line_is_as_hot_as_many_cpus_have_executed_it(start_run: StartRunClient) -> None:
    start_run.store_text(keep_going=True)
    assert {line.cpus for line in read_hot_lines(start_run.client, start_run.start)} == {0}
    numbers = [cpu.cpu for cpu in snapshot(start_run).cpus]
    for number in numbers:
        start_run.run(number)
    program = snapshot(start_run).program
    listings = [read_listing(start_run.client, start_run.start, number, program) for number in numbers]
    hot = read_hot_lines(start_run.client, start_run.start)
    assert [line.cpus for line in hot] == [
        sum(listing[address].visited for listing in listings) for address in range(len(program))
    ]
    assert (hot[0].line, hot[0].text, hot[0].cpus) == (1, "nop +0", 5)


def test_visits_are_counted_whatever_the_lengths_of_the_bitmaps() -> None:
    assert count_visits([], 3) == [0, 0, 0]
    assert count_visits([None, b"", b"\x80", b"\xa0\x40", b"\x80"], 10) == [3, 0, 1, 0, 0, 0, 0, 0, 0, 1]


def test_reading_refreshes_no_ttl(start_run: StartRunClient) -> None:
    start_run.store_text()
    start_run.load(0)
    keys = list(start_run.client.scan_iter())
    for key in keys:
        start_run.client.expire(key, 30)
    read_listing(start_run.client, start_run.start, 0, snapshot(start_run).program)
    assert all(start_run.client.ttl(key) <= 30 for key in keys)
