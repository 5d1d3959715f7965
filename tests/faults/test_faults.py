"""Whatever dies while programs run: the answers come by themselves, once, and every CPU is right."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
import redis

from cpu import program as programs
from cpu import reference as solver
from cpu.program import Program
from scripts.airflow_api import AirflowError
from scripts.waiting import wait_until
from tests.faults.faults import AIRFLOW, FAULTS, NODE, SERVERS, Chaos, injecting, there_are
from tests.faults.report import Report
from tests.support.programs import thirty_lines_with_faulting_swaps
from tests.support.stack import Stack, reference

PATIENCE_SECONDS = 900
AWAY = (AirflowError, httpx.TransportError, redis.RedisError, KeyError, OSError)

KINDS = {
    "components are killed": ([f"kill {name}" for name in (*AIRFLOW, *SERVERS)] * 4, (2, 9)),
    "components stand still": ([f"pause {name}" for name in (*AIRFLOW, *SERVERS, *NODE)] * 2, (5, 20)),
    "pods and workers go": (
        [
            *["kill a worker", "kill the pods", "kill the pods as they commit"] * 6,
            *["kill the pods after a commit", "delete a pod", "cut off Redis"] * 6,
        ],
        (0.5, 4),
    ),
    "everything at once": ([*FAULTS, *(name for name in FAULTS if name.startswith("Slack"))], (1, 6)),
}
"""Which faults, and how many seconds apart."""


@pytest.mark.parametrize("kind", KINDS)
def test_each_answer_is_posted_once_and_every_cpu_is_correct_despite_the_fault(
    stack: Stack, seed: int, report: Report, kind: str
) -> None:
    """Programs run one after another until all faults have been injected; then the last one ends too."""
    text = thirty_lines_with_faulting_swaps()
    program = programs.parse(text)
    names, gap = KINDS[kind]
    chaos = Chaos(stack, random.Random(f"{seed} {kind}"))
    with injecting(chaos, there_are(stack, names), gap) as injector:
        while injector.is_alive() or not chaos.starts:
            run_to_its_end(chaos, text)
    assert sum(chaos.done.values()) == len(there_are(stack, names))
    for start, run in chaos.starts.items():
        # The last fault may have come after all was settled.
        assert wait_until(lambda run=run: is_settled(stack, run, program), PATIENCE_SECONDS)  # type: ignore[misc]
        assert_all_is_right(stack, start, program)
        report.count(stack, start)
    report.faults += chaos.done


def run_to_its_end(chaos: Chaos, text: str) -> None:
    stack = chaos.stack
    run = when_there(lambda: stack.start(program=text, stop_at_first_answer=False))
    start = when_there(lambda: stack.start_id(run))
    chaos.starts[start] = run
    settled = wait_until(lambda: is_settled(stack, run, programs.parse(text)), PATIENCE_SECONDS)
    assert settled, f"start run {start} did not come to its end in {PATIENCE_SECONDS} s: {chaos.done}"


def when_there(what: Callable[[], str]) -> str:
    """Do something as soon as that which does it is there."""
    done: list[str] = []

    def try_it() -> bool:
        with suppress(*AWAY):
            done.append(what())
        return bool(done)

    assert wait_until(try_it, PATIENCE_SECONDS)
    return done[0]


def is_settled(stack: Stack, run: str, program: Program) -> bool:
    """Whether every CPU has stopped, both answers are told, and nothing is under way any more."""
    time.sleep(1)  # two cores have something better to do than to be asked
    with suppress(*AWAY):
        state, start = stack.api.run("cpu_start", run)["state"], stack.start_id(run)
        if state == "failed":
            raise AssertionError(f"run {run} of cpu_start has failed")
        told = {line[:6] for line in stack.answers(start)}
        return (
            state == "success"
            and told == {"Part 1", "Part 2"}
            and stack.count(start, "queued", "running") == 0
            and all(stack.registers(start, cpu).status != "ok" for cpu in [0, *program.candidates()])
        )
    return False


def assert_all_is_right(stack: Stack, start: str, program: Program) -> None:
    """The answers told once, each CPU where the machine in memory gets, and no run that has forked one."""
    assert sorted(stack.answers(start)) == [
        f"Part 1: {solver.part1(program)}",
        f"Part 2: {solver.part2(program)}",
    ]
    asked: dict[int, set[int]] = defaultdict(set)
    for run in stack.runs(start):
        assert run["state"] == "success", f"{run['dag_run_id']} has ended as {run['state']}"
        asked[run["conf"]["cpu"]].add(run["conf"]["cycle"])
    assert sorted(asked) == [0, *program.candidates()]
    for cpu, cycles in asked.items():
        found = stack.registers(start, cpu)
        assert found == reference(program, cpu)
        assert sorted(cycles) == [*range(found.cycle + 1)]
