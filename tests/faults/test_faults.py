"""Whatever fails while programs run, each answer is posted once and every CPU is correct."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TypeVar

import httpx
import pytest
import redis

from cpu import program as programs
from cpu import reference as solver
from cpu.program import Program
from scripts.airflow_api import AirflowError
from scripts.waiting import wait_until
from tests.faults.faults import AIRFLOW, FAULTS, NODE, SERVERS, Chaos, injectable, injecting
from tests.faults.proxy import SECOND, Proxy
from tests.faults.report import Report, longest_standstill
from tests.faults.second_scheduler import second_scheduler
from tests.support.programs import thirty_lines_with_faulting_swaps
from tests.support.stack import Stack, reference

PATIENCE_SECONDS = 900
STANDSTILL_SECONDS = 120
"""How long a CPU may stand still, unless PostgreSQL, Redis or Airflow's API were away as well."""
Answer = TypeVar("Answer")
AWAY = (AirflowError, httpx.TransportError, redis.RedisError, KeyError, OSError)

KINDS = {
    "components are killed": ([f"kill {name}" for name in (*AIRFLOW, *SERVERS)] * 4, (2, 9)),
    "components are paused": ([f"pause {name}" for name in (*AIRFLOW, *SERVERS, *NODE)] * 2, (5, 20)),
    "pods and workers are killed": (
        [
            *["kill a worker", "kill the pods", "kill the pods as they commit"] * 6,
            *["kill the pods after a commit", "delete a pod", "cut off Redis"] * 6,
        ],
        (0.5, 4),
    ),
    "Kubernetes fails": (
        [
            *["cut off Kubernetes", "Kubernetes: 500", "Kubernetes: 429", "pause kubernetes"] * 2,
            *["watches: 410", "watches: 500", "watches end", "watches repeat themselves"] * 3,
            *["delete the pods twice", "delete a pod that ended"] * 3,
        ],
        (1, 8),
    ),
    "one of two schedulers fails": (
        [
            *["kill the scheduler before a commit", "kill the scheduler at a commit"] * 3,
            *["kill the scheduler after a commit"] * 3,
            *["pause the scheduler before a commit", "kill any scheduler"] * 2,
        ],
        (2, 10),
    ),
    "everything at once": ([*FAULTS, *(name for name in FAULTS if name.startswith("Slack"))], (1, 6)),
}
"""Which faults are injected, and how many seconds apart."""
ONLY_KUBERNETES_AND_SCHEDULERS = ("Kubernetes fails", "one of two schedulers fails")


@pytest.mark.parametrize("kind", KINDS)
def test_each_answer_is_posted_once_and_every_cpu_is_correct_despite_the_fault(
    stack: Stack, proxy: Proxy, seed: int, report: Report, kind: str
) -> None:
    """Run programs one after another until all faults have been injected, then wait for the last one."""
    text = thirty_lines_with_faulting_swaps()
    program = programs.parse(text)
    names, gap = KINDS[kind]
    with ExitStack() as beside:
        chaos = Chaos(stack, random.Random(f"{seed} {kind}"), proxy)
        if "two schedulers" in kind:
            connection = proxy.connection(SECOND)
            chaos.second = beside.enter_context(second_scheduler(stack.settings, connection))
        with injecting(chaos, injectable(stack, names), gap) as injector:
            while injector.is_alive() or not chaos.starts:
                run_until_settled(chaos, text)
        assert sum(chaos.done.values()) == len(injectable(stack, names))
        for start, run in chaos.starts.items():
            # The last fault may have been injected after everything had ended.
            assert wait_until(lambda run=run: is_settled(stack, run, program), PATIENCE_SECONDS, 1)  # type: ignore[misc]
            assert_all_correct(stack, start, program)
            report.count(stack, start)
            standstill = longest_standstill(stack.runs(start))
            print(f"longest standstill of a CPU of {start}: {standstill:.0f} s", flush=True)
            if kind in ONLY_KUBERNETES_AND_SCHEDULERS:
                assert standstill < STANDSTILL_SECONDS
        report.faults += chaos.done


def run_until_settled(chaos: Chaos, text: str) -> None:
    stack = chaos.stack
    run = when_available(lambda: stack.start(program=text, stop_at_first_answer=False))
    start = when_available(lambda: stack.start_id(run))
    chaos.starts[start] = run
    settled = wait_until(lambda: is_settled(stack, run, programs.parse(text)), PATIENCE_SECONDS, 1)
    assert settled, f"start run {start} did not end within {PATIENCE_SECONDS} s; faults: {chaos.done}"


def when_available(what: Callable[[], Answer]) -> Answer:
    """Retry an action until the component that performs it is available again."""
    done: list[Answer] = []

    def try_it() -> bool:
        with suppress(*AWAY):
            done.append(what())
        return bool(done)

    assert wait_until(try_it, PATIENCE_SECONDS)
    return done[0]


def is_settled(stack: Stack, run: str, program: Program) -> bool:
    """Return whether every CPU has stopped, both answers are posted and no run is in progress."""
    with suppress(*AWAY):
        state, start = stack.api.run("cpu_start", run)["state"], stack.start_id(run)
        if state == "failed":
            raise AssertionError(f"run {run} of cpu_start has failed")
        posted = {line[:6] for line in stack.answers(start)}
        return (
            state == "success"
            and posted == {"Part 1", "Part 2"}
            and stack.count(start, "queued", "running") == 0
            and all(stack.registers(start, cpu).status != "ok" for cpu in [0, *program.candidates()])
        )
    return False


def assert_all_correct(stack: Stack, start: str, program: Program) -> None:
    """Assert that each answer was posted once, each CPU equals the machine in memory and none forked."""
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
