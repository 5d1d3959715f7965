"""An item: the same program for the same seed and number, and its answers."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpu import items, tally
from cpu.program import MAX_INSTRUCTIONS, Program, parse
from cpu.result import Status
from tests.support.solver import Lines, candidates, programs, solve, text_of

SEED_1_ITEM_805 = "acc -34; jmp +3; acc -36; jmp -2; nop -1; jmp -3; nop -6; acc +8; nop -36; jmp +1"

numbers = st.integers(0, 10**6)


def lines_of(program: Program) -> Lines:
    return [(one.operation, one.argument) for one in program.instructions]


def by_trial(lines: Lines) -> items.Solution:
    """Solve both parts without the CPU's code: try every swap."""
    written = solve(lines)
    answers = [solve(lines, cpu) for cpu in candidates(lines)]
    ending = [answer for answer in answers if answer.status == "end"]
    part1 = Status(written.status)
    if not ending:
        return items.Solution(part1, written.acc, 0, None, written.cycles)
    return items.Solution(part1, written.acc, len(ending), ending[0].acc, written.cycles + ending[0].cycles)


def test_an_item_is_the_same_program_on_every_machine() -> None:
    assert "; ".join(map(str, items.make(1, 805).instructions)) == SEED_1_ITEM_805
    assert [one.line for one in items.make(1, 805).instructions] == [*range(1, 11)]


@given(numbers, numbers)
def test_an_item_follows_from_its_seed_and_number(seed: int, item: int) -> None:
    assert items.make(seed, item) == items.make(seed, item)
    assert items.make(seed, item) != items.make(seed + 1, item)
    assert items.make(seed, item) != items.make(seed, item + 1)


@settings(max_examples=200)
@given(numbers, numbers)
def test_the_solution_of_an_item_is_that_of_trying_every_swap(seed: int, item: int) -> None:
    program = items.make(seed, item)
    assert items.solve(program) == by_trial(lines_of(program))


@settings(max_examples=200)
@given(programs)
def test_the_solution_of_any_program_is_that_of_trying_every_swap(lines: Lines) -> None:
    assert items.solve(parse(text_of(lines))) == by_trial(lines)


def test_of_64_items_at_least_63_loop_and_have_exactly_one_swap_that_ends_them() -> None:
    count = 6400
    programs = [items.make(3, item) for item in range(count)]
    solutions = [items.solve(program) for program in programs]
    unusual = [one for one in solutions if one is None or (one.part1, one.ending) != (Status.LOOP, 1)]
    assert 1 / 128 < len(unusual) / count < 1.2 / 64
    found = tally.count(unusual)
    assert found["failed"] == 0
    assert set(tally.group(found, "part1")) == {"loop", "end", "fault"}
    assert set(tally.group(found, "part2")) == {"one", "several", "none"}
    lengths = [len(program) for program in programs]
    assert (min(lengths) >= 8, max(lengths) <= 60) == (True, True)
    assert sum(lengths) / count == pytest.approx(29, abs=1)


def test_the_swap_that_ends_an_item_is_a_jump_as_often_as_not() -> None:
    swapped: Counter[str] = Counter()
    for item in range(640):
        program = items.make(4, item)
        ending = [cpu for cpu in program.candidates() if solve(lines_of(program), cpu).status == "end"]
        if len(ending) == 1:
            swapped[program.instructions[ending[0] - 1].operation] += 1
    assert set(swapped) == {"jmp", "nop"}
    assert swapped["jmp"] == pytest.approx(swapped["nop"], rel=0.25)


def test_an_item_fails_if_the_machine_does_not_end_with_the_swap_that_should_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = parse("acc +1\njmp -1\njmp -2\nnop +0\n")
    assert items.solve(program)
    monkeypatch.setattr(items, "ending_cpus", lambda program: [2])
    monkeypatch.setattr(Program, "with_swap", lambda program, cpu: program)
    assert items.solve(program) is None


@given(st.lists(st.tuples(numbers, numbers), max_size=20))
def test_a_tally_counts_each_item_in_each_of_its_distributions_once(chosen: list[tuple[int, int]]) -> None:
    solutions = [items.solve(items.make(seed, item)) for seed, item in chosen]
    counted = tally.count([*solutions, None])
    assert (counted["done"], counted["failed"]) == (len(chosen), 1)
    assert set(counted) <= {*tally.COUNTERS}
    for name in ("part1", "part2", "cycles"):
        assert sum(tally.group(counted, name).values()) == len(chosen)
    with_answer = [one.acc2 for one in solutions if one and one.acc2 is not None]
    assert sum(tally.group(counted, "acc").values()) == len(with_answer)
    assert counted["acc2"] == sum(with_answer)
    assert counted["cycles"] == sum(one.cycles for one in solutions if one)


@pytest.mark.parametrize(
    ("acc", "bucket"),
    [
        (-(2**63), "-300"),
        (-301, "-300"),
        (-251, "-300"),
        (-250, "-250"),
        (0, "0"),
        (49, "0"),
        (50, "50"),
        (2**63, "500"),
    ],
)
def test_an_accumulator_is_in_the_bucket_with_the_next_lower_bound(acc: int, bucket: str) -> None:
    counted = tally.count([items.Solution(Status.LOOP, 0, 1, acc, 1)])
    assert tally.group(counted, "acc") == {bucket: 1}


@pytest.mark.parametrize(("cycles", "bucket"), [(1, "0"), (10, "10"), (99, "90"), (MAX_INSTRUCTIONS, "100")])
def test_cycles_are_in_the_bucket_with_the_next_lower_bound(cycles: int, bucket: str) -> None:
    counted = tally.count([items.Solution(Status.LOOP, 0, 0, None, cycles)])
    assert tally.group(counted, "cycles") == {bucket: 1}
