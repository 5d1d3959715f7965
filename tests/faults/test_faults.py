"""Whatever dies while a program runs: the answers come all the same, once, and every CPU is right."""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import suppress

import httpx
import pytest
import redis

from cpu import program as programs
from cpu import reference as solver
from cpu.program import Program
from scripts.local.api import AirflowError
from scripts.local.waiting import wait_until
from tests.airflow.stack import Stack, reference
from tests.faults.faults import COMPONENTS, FAULTS, inject_until
from tests.programs import thirty_lines_with_faulting_swaps

PATIENCE_SECONDS = 1200
AWAY = (AirflowError, httpx.TransportError, redis.RedisError, KeyError, OSError)

KINDS = {
    "processes are killed": [f"kill {name}" for name in COMPONENTS],
    "processes stand still": [f"pause {name}" for name in COMPONENTS],
    "pods and workers go": ["kill a worker", "kill a pod", "delete a pod", "cut off Redis"],
    "everything at once": list(FAULTS),
}


def is_settled(stack: Stack, run: str, program: Program) -> bool:
    """Whether every CPU has stopped, and nothing of the start run is under way any more."""
    with suppress(*AWAY):
        if stack.api.run("cpu_start", run)["state"] != "success":
            return False
        start = stack.start_id(run)
        statuses = {stack.registers(start, cpu).status for cpu in [0, *program.candidates()]}
        return (
            "ok" not in statuses and stack.count(start, "queued", "running") == 0 and told_all(stack, start)
        )
    return False


def told_all(stack: Stack, start: str) -> bool:
    return {line[:6] for line in stack.told(start)} == {"Part 1", "Part 2"}


def start_run(stack: Stack, **conf: object) -> str:
    """Trigger cpu_start, also while Airflow is away; its run's id."""
    runs: list[str] = []

    def is_started() -> bool:
        with suppress(*AWAY):
            runs.append(stack.start(**conf))
        return bool(runs)

    assert wait_until(is_started, PATIENCE_SECONDS)
    return runs[0]


@pytest.mark.parametrize("names", KINDS.values(), ids=KINDS)
def test_the_answers_come_once_and_every_cpu_is_right(stack: Stack, seed: int, names: list[str]) -> None:
    choice = random.Random(f"{seed} {names}")
    text = thirty_lines_with_faulting_swaps()
    program = programs.parse(text)
    over, done = threading.Event(), list[str]()
    run = start_run(stack, program=text, stop_at_first_answer=False)
    injector = threading.Thread(target=lambda: done.extend(inject_until(over, stack, choice, names, most=25)))
    injector.start()
    try:
        settled = wait_until(lambda: is_settled(stack, run, program), PATIENCE_SECONDS)
    finally:
        over.set()
        injector.join()
    # A fault may have come after all was settled.
    assert settled, f"not settled in {PATIENCE_SECONDS} s after {done}"
    assert wait_until(lambda: is_settled(stack, run, program), PATIENCE_SECONDS)

    start = stack.start_id(run)
    for cpu in [0, *program.candidates()]:
        assert stack.registers(start, cpu) == reference(program, cpu)
    assert sorted(stack.told(start)) == [
        f"Part 1: {solver.part1(program)}",
        f"Part 2: {solver.part2(program)}",
    ]
    states = Counter(one["state"] for one in stack.runs(start))
    tries = Counter(
        one["try_number"] for one in stack.api.tasks("cpu") if one["dag_run_id"].startswith(start)
    )
    print(
        f"{len(done)} faults; runs: {dict(states)}; tasks by tries: {dict(tries)}; told: {stack.told(start)}"
    )
    assert done
