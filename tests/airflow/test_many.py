"""Many concurrent CPUs: PodExecutor runs their pods; without it, the triggerer waits for them."""

from __future__ import annotations

import pytest

from airflow_pods.operator import POD_EXECUTOR
from cpu import program as programs
from cpu import reference as solver
from scripts.waiting import wait_until
from tests.airflow.test_end_to_end import assert_every_cpu_is_right, assert_no_cycle_ran_twice
from tests.support.numbers import BEYOND_64_BITS
from tests.support.programs import random_program
from tests.support.stack import PATIENCE_SECONDS, Stack


def a_program_with_forty_candidates() -> str:
    """Return the first random program of 60 lines that loops and that exactly one swap ends."""
    for seed in range(100_000):
        program = programs.parse(text := random_program(60, seed))
        if solver.part1(program).isdigit() and len(solver.ending_cpus(program)) == 1:
            return text
    raise AssertionError("no such program among the seeds")


def test_the_tasks_of_forty_cpus_need_no_worker(stack: Stack) -> None:
    text = a_program_with_forty_candidates()
    program = programs.parse(text)
    _, start = stack.finish(stack.start(program=text, cycles=30))
    assert sorted(stack.answers(start)) == [
        f"Part 1: {solver.part1(program)}",
        f"Part 2: {solver.part2(program)}",
    ]
    assert_every_cpu_is_right(stack, start, text)
    assert_no_cycle_ran_twice(stack, start)
    ended = [
        (task["task_id"], task["state"], task["executor"])
        for run in stack.runs(start)
        for task in stack.api.tasks("cpu", run["dag_run_id"])
        if task["task_id"] in ("execute", "load", "read") and task["state"] != "skipped"
    ]
    # A task that is handed over to a worker loses its executor.
    assert {(state, executor) for _, state, executor in ended} == {("success", POD_EXECUTOR)}
    assert {task_id for task_id, _, _ in ended} == {"execute", "load", "read"}
    [collect] = stack.api.tasks("cpu_answers", f"{start}.answers")
    assert (collect["state"], collect["executor"]) == ("success", POD_EXECUTOR)


def test_without_pod_executor_the_pods_of_forty_concurrent_cpus_are_waited_for_in_the_triggerer(
    wide_stack: Stack, stack: Stack
) -> None:
    text = a_program_with_forty_candidates()
    program = programs.parse(text)
    run = wide_stack.start(program=text, cycles=30)
    assert wait_until(lambda: len(wide_stack.api.tasks("cpu", state="deferred")) > 1, PATIENCE_SECONDS)
    _, start = wide_stack.finish(run)
    assert sorted(wide_stack.answers(start)) == [
        f"Part 1: {solver.part1(program)}",
        f"Part 2: {solver.part2(program)}",
    ]
    assert_every_cpu_is_right(wide_stack, start, text)
    assert_no_cycle_ran_twice(wide_stack, start)
    # The other stack does not have this start run.
    assert stack.count(start, "success") == 0


@pytest.mark.parametrize("waiting", ["stack", "wide_stack"])
def test_numbers_beyond_64_bits_give_the_exact_answer_with_and_without_pod_executor(
    request: pytest.FixtureRequest, waiting: str
) -> None:
    stack: Stack = request.getfixturevalue(waiting)
    state, start = stack.finish(stack.start(program=BEYOND_64_BITS, cycles=2))
    assert state == "success"
    assert sorted(stack.answers(start)) == [
        "Part 1: 27670116110564327421",
        "Part 2: 27670116110564327421 (line 4: jmp -3 → nop -3)",
    ]
    last = f"{start}.cpu-0.cycle-3"
    assert stack.api.xcom("cpu", last, "read")["acc"] == "27670116110564327421"
    note = stack.api.run("cpu", last)["note"]
    assert note.startswith("`CPU 0, cycles 3 to 4: jmp -3 → acc 27670116110564327421, pc 0, ")
    assert_every_cpu_is_right(stack, start, BEYOND_64_BITS)
    assert_no_cycle_ran_twice(stack, start)


def test_an_unknown_conf_key_is_refused_when_pods_are_waited_for_in_the_triggerer(
    wide_stack: Stack,
) -> None:
    run = wide_stack.api.trigger("cpu", {"Cycle": 1})["dag_run_id"]
    assert wait_until(lambda: wide_stack.api.run("cpu", run)["state"] == "failed", PATIENCE_SECONDS)
    assert "no parameter 'Cycle' (did you mean 'cycle'?)" in wide_stack.api.run("cpu", run)["note"]
