"""The note of each DAG run on a whole stack: what its cycle did, or why it failed."""

from __future__ import annotations

from typing import Any

from scripts.waiting import wait_until
from tests.support.solver import EXAMPLE
from tests.support.stack import Stack

NOTES_OF_CPU_8 = [
    "`CPU 8 loaded: line 8, jmp -4 → nop -4`",
    "`CPU 8, cycle 1: nop +0 → acc 0, pc 1`",
    "`CPU 8, cycle 2: acc +1 → acc 1, pc 2`",
    "`CPU 8, cycle 3: jmp +4 → acc 1, pc 6`",
    "`CPU 8, cycle 4: acc +1 → acc 2, pc 7`",
    "`CPU 8, cycle 5: nop -4 → acc 2, pc 8`",
    "`CPU 8, cycle 6: acc +6 → acc 8, pc 9, past the last instruction: end; this answers part 2`",
]


def test_note_of_a_cycle_is_the_sentence_of_its_pods_result(stack: Stack) -> None:
    start = stack.finish(stack.start(program=EXAMPLE, parts="part 2"))[1]
    notes = [stack.api.run("cpu", f"{start}.cpu-8.cycle-{cycle}")["note"] for cycle in range(7)]
    assert notes == NOTES_OF_CPU_8


def test_note_of_a_run_whose_program_is_refused_names_the_line(stack: Stack) -> None:
    run = stack.start(program="nop +0\njump 3\n")
    assert stack.finish(run)[0] == "failed"
    note = stack.api.run("cpu_start", run)["note"]
    assert "line 2: 'jump 3'" in note


def test_note_that_a_person_has_written_is_not_overwritten(stack: Stack) -> None:
    run = stack.start(program="acc +1\n" * 3, parts="part 1")
    note: dict[str, Any] = {"note": "mine"}
    stack.api.request("PATCH", f"/dags/cpu_start/dagRuns/{run}", json=note)
    start = stack.finish(run)[1]
    assert stack.api.run("cpu_start", run)["note"] == "mine"
    first = f"{start}.cpu-0.cycle-1"
    stack.api.request("PATCH", f"/dags/cpu/dagRuns/{first}", json=note)
    stack.clear_task(first, "execute")
    assert wait_until(lambda: stack.api.run("cpu", first)["state"] == "success", 60)
    assert stack.api.run("cpu", first)["note"] == "mine"
