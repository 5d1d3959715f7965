"""The command `answers`, and the one stop that ends a start run."""

from itertools import permutations

import pytest

from cpu.describe import sentence
from cpu.errors import LostError, PreconditionError
from cpu.keys import Keys
from cpu.program import parse
from cpu.reference import answers as reference_answers
from cpu.result import Result, to_line
from tests.support.solver import EXAMPLE
from tests.support.start_run_client import StartRunClient

ENDLESS = "acc +1\njmp -1\njmp -2\n"  # CPUs 2 and 3, neither of which ends
TWO_ENDS = "acc +5\nnop +2\njmp +1\nacc +1\n"  # CPUs 2 and 3, both of which end


def described(result: Result) -> tuple[str, str]:
    """Return a result's status and sentence."""
    return result["status"], sentence(result)


def ends(result: Result) -> bool:
    return bool(result.get("over", False))


def test_answers_are_the_facts_of_cpu_0_and_of_the_first_candidate_that_ended(
    start_run: StartRunClient,
) -> None:
    start_run.store_text()
    for cpu in (0, 3, 8):
        start_run.run(cpu)
    expected = reference_answers(parse(EXAMPLE))
    assert start_run.answers() == {
        "status": "answered",
        "start": start_run.start,
        "parts": [1, 2],
        "instructions": 9,
        "cpus": 5,
        "stopped": 3,
        "ended": 1,
        "part1": expected["part1"],
        "part2": expected["part2"],
    }


@pytest.mark.parametrize(
    ("text", "parts", "story"),
    [
        (EXAMPLE, "12", "9 instructions, 5 CPUs · Part 1: 5 · Part 2: 8, line 8: jmp -4 → nop -4"),
        (EXAMPLE, "1", "9 instructions, 1 CPU · Part 1: 5"),
        (ENDLESS, "2", "3 instructions, 2 CPUs · Part 2: no swap ends this program"),
        (
            "acc +7\n",
            "12",
            "1 instruction, 1 CPU · Part 1: the program does not loop: it ends with 7"
            " · Part 2: no swap ends this program",
        ),
        (
            "nop +1\njmp +5\n",
            "1",
            "2 instructions, 1 CPU · Part 1: the program does not loop: it faults at line 2 (pc 6)",
        ),
        (
            TWO_ENDS,
            "2",
            "4 instructions, 2 CPUs · Part 2: 6, line 2: nop +2 → jmp +2, the first of 2 swaps that end it",
        ),
    ],
)
def test_sentence_tells_the_story_of_an_answered_start_run(
    start_run: StartRunClient, text: str, parts: str, story: str
) -> None:
    start_run.store_text(text, parts, keep_going=True)
    for cpu, _, _ in start_run.survey()["due"]:
        start_run.run(cpu)
    assert described(start_run.answers()) == ("answered", story)


def test_start_run_without_cpus_is_answered_at_once(start_run: StartRunClient) -> None:
    start_run.store_text("acc +7\n", "2")
    assert described(start_run.answers()) == (
        "answered",
        "1 instruction, 0 CPUs · Part 2: no swap ends this program",
    )


def test_missing_answers_are_named_while_the_start_run_goes_on(start_run: StartRunClient) -> None:
    start_run.store_text()
    start_run.run(0)
    assert described(start_run.answers()) == (
        "running",
        f"start run {start_run.start} is not answered yet: "
        "9 instructions, 5 CPUs · Part 1: 5 · Part 2: none yet · 1 stopped",
    )


def test_cancelled_start_run_has_the_answers_that_came_before(start_run: StartRunClient) -> None:
    start_run.store_text()
    start_run.run(0)
    start_run.cancel()
    assert described(start_run.answers()) == (
        "cancelled",
        f"start run {start_run.start} was cancelled: 9 instructions, 5 CPUs · Part 1: 5 · Part 2: no answer",
    )


def test_start_run_that_is_cancelled_after_its_last_answer_is_answered(start_run: StartRunClient) -> None:
    start_run.store_text(parts="1")
    start_run.run(0)
    start_run.cancel()
    assert start_run.answers()["status"] == "answered"


def test_start_run_is_lost_when_every_cpu_that_still_runs_has_lost_registers(
    start_run: StartRunClient,
) -> None:
    start_run.store_text(ENDLESS)
    for cpu in (0, 2, 3):
        start_run.load(cpu)
    start_run.client.hdel(Keys(start_run.start, 3).registers, "pc")
    assert start_run.answers()["status"] == "running"
    for cpu in (0, 2):
        start_run.execute(cpu, 1, 10**6)
    assert described(start_run.answers()) == (
        "lost",
        f"start run {start_run.start} cannot be answered: 3 instructions, 3 CPUs · Part 1: 1"
        " · Part 2: no answer · Redis has lost registers of CPU 3",
    )


def test_answers_that_redis_no_longer_has_are_refused(start_run: StartRunClient) -> None:
    start_run.store_text(parts="1")
    start_run.run(0)
    start_run.client.hdel(Keys(start_run.start).registers, "acc")
    with pytest.raises(LostError):
        start_run.answers()
    start_run.client.delete(*Keys(start_run.start).of_start)
    with pytest.raises(PreconditionError, match="not stored, or has expired"):
        start_run.answers()


def test_answers_do_not_keep_a_start_run_from_expiring(start_run: StartRunClient) -> None:
    start_run.store_text()
    for key in Keys(start_run.start).of_start:
        start_run.client.expire(key, 5)
    start_run.answers()
    assert all(start_run.client.ttl(key) <= 5 for key in Keys(start_run.start).of_start)


@pytest.mark.parametrize("text", [EXAMPLE, ENDLESS, TWO_ENDS, "acc +7\n"])
@pytest.mark.parametrize("parts", ["1", "2", "12"])
@pytest.mark.parametrize("keep_going", [False, True])
def test_one_stop_ends_a_start_run_and_then_it_is_answered(
    start_run: StartRunClient, text: str, parts: str, keep_going: bool
) -> None:
    """In each order of the CPUs, up to 24 of them."""
    name = start_run.start
    start_run.store_text(text, parts, keep_going=keep_going)
    cpus = [cpu for cpu, _, _ in start_run.survey()["due"]]
    for number, order in enumerate(list(permutations(cpus))[:24]):
        start_run.start = f"{name}-{number}"
        start_run.store_text(text, parts, keep_going=keep_going)
        over: list[bool] = []
        for cpu in order:
            over.append(ends(start_run.run(cpu)))
            assert start_run.answers()["status"] == ("answered" if any(over) else "running"), order
        assert sum(over) == min(1, len(cpus)), order


def test_stop_that_ends_the_start_run_says_so_again_when_it_is_repeated(start_run: StartRunClient) -> None:
    start_run.store_text()
    part1 = start_run.run(0)
    part2 = start_run.run(8)
    assert (ends(part1), ends(part2)) == (False, True)
    assert to_line(start_run.execute(0, 1)) == to_line(part1)
    assert to_line(start_run.execute(8, 1)) == to_line(part2)


def test_last_cpu_that_stops_ends_a_cancelled_start_run(start_run: StartRunClient) -> None:
    start_run.store_text(ENDLESS)
    for cpu in (0, 2, 3):
        start_run.load(cpu)
    start_run.cancel()
    assert [ends(start_run.execute(cpu, 1)) for cpu in (2, 0, 3)] == [False, False, True]
