"""With hundreds of CPUs or several start runs at once, CPUs are correct and answers are posted once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from cpu import program as programs
from cpu import reference as solver
from tests.airflow.test_end_to_end import assert_every_cpu_is_right, assert_no_cycle_ran_twice
from tests.support.programs import random_program
from tests.support.stack import Stack

PATIENCE_SECONDS = 1500
# The first seed with 300 candidates of which exactly one ends. Finding it takes minutes.
THREE_HUNDRED = random_program(450, seed=39_666)


def programs_that_one_swap_ends(lines: int, candidates: int) -> Iterator[str]:
    """Yield random programs that loop and have that many candidates, of which exactly one ends."""
    for seed in range(100_000):
        program = programs.parse(text := random_program(lines, seed))
        if (
            len(list(program.candidates())) == candidates
            and solver.part1(program).isdigit()
            and len(solver.ending_cpus(program)) == 1
        ):
            yield text


def assert_all_is_right(stack: Stack, start: str, text: str) -> None:
    program = programs.parse(text)
    assert sorted(stack.answers(start)) == [
        f"Part 1: {solver.part1(program)}",
        f"Part 2: {solver.part2(program)}",
    ]
    assert_every_cpu_is_right(stack, start, text)
    assert_no_cycle_ran_twice(stack, start)


def seconds_of(stack: Stack, run: str, task: str) -> float:
    (one,) = [one for one in stack.api.tasks("cpu_start", run) if one["task_id"] == task]
    return float(one["duration"])


def report(stack: Stack, starts: list[str], seconds: float) -> str:
    """Return cycles, runs and tries in one line."""
    runs = [run for start in starts for run in stack.runs(start)]
    names = {run["dag_run_id"] for run in runs}
    began = min(datetime.fromisoformat(run["start_date"]) for run in runs)
    ended = max(datetime.fromisoformat(run["end_date"]) for run in runs)
    cycles = sum(
        stack.registers(start, cpu).cycle
        for start in starts
        for cpu in {run["conf"]["cpu"] for run in stack.runs(start)}
    )
    tries = Counter(task["try_number"] for task in stack.api.tasks("cpu") if task["dag_run_id"] in names)
    span = (ended - began).total_seconds()
    return (
        f"{len(runs)} runs and {cycles} cycles in {span:.0f} s ({len(runs) / span:.1f} runs/s, "
        f"{cycles / span:.1f} cycles/s), {seconds:.0f} s in all; tasks by tries: {dict(tries)}"
    )


def test_four_concurrent_start_runs_do_not_affect_one_another(stack: Stack) -> None:
    texts = list(islice(programs_that_one_swap_ends(lines=30, candidates=20), 4))
    assert len(set(texts)) == 4
    began = time.monotonic()
    runs = [stack.start(program=text, cycles=5, stop_at_first_answer=False) for text in texts]
    finished = [stack.finish(run, PATIENCE_SECONDS) for run in runs]
    assert {state for state, _ in finished} == {"success"}
    starts = [start for _, start in finished]
    print(f"\n{report(stack, starts, time.monotonic() - began)}")
    for start, text in zip(starts, texts, strict=True):
        assert_all_is_right(stack, start, text)


def test_three_hundred_concurrent_cpus_give_correct_results(stack: Stack) -> None:
    program = programs.parse(THREE_HUNDRED)
    assert len(list(program.candidates())) == 300
    began = time.monotonic()
    run = stack.start(program=THREE_HUNDRED, cycles=24, stop_at_first_answer=False)
    state, start = stack.finish(run, PATIENCE_SECONDS)
    print(f"\n{report(stack, [start], time.monotonic() - began)}")
    assert state == "success"
    to_start = seconds_of(stack, run, "start_cpus")
    print(f"start_cpus: {to_start:.1f} s")
    assert to_start < 60
    assert stack.api.xcom("cpu_start", run, "start_cpus") == {"cpus": 301, "triggered": 301}
    assert_all_is_right(stack, start, THREE_HUNDRED)
