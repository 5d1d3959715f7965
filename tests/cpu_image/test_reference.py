"""Both answers in one process: the same as from trying each swap, in less time."""

import pytest
from hypothesis import example, given, settings

from cpu import reference
from cpu.program import MAX_INSTRUCTIONS, parse
from tests.support.solver import EXAMPLE, Lines, candidates, programs, solve, text_of

LONG = MAX_INSTRUCTIONS
HALF = LONG // 2


def test_the_example_has_the_answers_5_and_8() -> None:
    program = parse(EXAMPLE)
    assert reference.part1(program) == "5"
    assert reference.part2(program) == "8 (line 8: jmp -4 → nop -4)"


def test_the_line_of_the_answer_counts_blank_lines() -> None:
    assert reference.part2(parse("\n\nacc +1\n\njmp -1")) == "1 (line 5: jmp -1 → nop -1)"


def test_a_program_that_ends_by_itself_does_not_loop() -> None:
    program = parse("acc +8\nnop +0")
    assert reference.part1(program) == "the program does not loop: it ends with 8"


def test_a_program_that_faults_does_not_loop() -> None:
    program = parse("acc +8\n\njmp +16")
    assert reference.part1(program) == "the program does not loop: it faults at line 3 (pc 17)"


def test_part_2_has_no_answer_if_no_swap_ends_the_program() -> None:
    assert reference.part2(parse("acc +1\nacc +1\njmp -2\njmp -1")) is None
    assert reference.part2(parse("acc +1")) is None


def test_part_2_is_the_first_of_several_swaps_and_says_how_many_there_are() -> None:
    program = parse("jmp +0\njmp +2\nacc +1\nnop +0\nacc +5\njmp +1")
    assert reference.ending_cpus(program) == [1]
    program = parse("acc +1\nnop +2\njmp +1\nacc +5")
    assert reference.ending_cpus(program) == [2, 3]
    answer = "6 (line 2: nop +2 → jmp +2; the first of 2 swaps that end this program)"
    assert reference.part2(program) == answer


@settings(max_examples=500)
@given(programs)
@example([("nop", 1), ("jmp", 1), ("nop", 0), ("jmp", -2)])
def test_ending_cpus_are_those_that_end_when_each_candidate_is_tried(lines: Lines) -> None:
    ending = [cpu for cpu in candidates(lines) if solve(lines, cpu).status == "end"]
    assert reference.ending_cpus(parse(text_of(lines))) == ending


HARD: dict[str, Lines] = {
    # Each candidate walks thousands of instructions before it is known to loop; only the last ends.
    "only the last swap ends": [("nop", -1)] * (LONG - 1) + [("jmp", 1 - LONG)],
    "no swap ends": [("nop", 0)] * (LONG - 2) + [("jmp", -1), ("jmp", 2 - LONG)],
    "every swap ends": [("nop", 1)] * LONG,
    "jumps to and fro": [("jmp", LONG - 1 - 2 * i) for i in range(LONG)],
    "from the end backwards": [("jmp", LONG - 1)] + [("jmp", -1)] * (LONG - 1),
    "long detours": [("nop", HALF)] * HALF + [("jmp", 1)] * (HALF - 1) + [("jmp", -HALF)],
}


@pytest.mark.parametrize("lines", HARD.values(), ids=HARD)
@pytest.mark.timeout(10)
def test_programs_of_ten_thousand_lines_are_solved_within_seconds(lines: Lines) -> None:
    program = parse(text_of(lines))
    winners = reference.ending_cpus(program)
    checked = {1, 2, 3, HALF, LONG - 1, LONG, *winners[:3], *winners[-3:]}
    for cpu in checked.intersection(candidates(lines)):
        assert (cpu in winners) == (solve(lines, cpu).status == "end")
    assert reference.part1(program)
    answer = reference.part2(program)
    if answer is None:
        assert not winners
    else:
        assert answer.startswith(f"{solve(lines, winners[0]).acc} (line {winners[0]}: ")
