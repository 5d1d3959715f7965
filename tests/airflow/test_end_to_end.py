"""From the form to the answer in Slack, with every part real; the machine in memory is the reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpu import program as programs
from cpu import reference as solver
from dags.bundled import file_of
from tests.support.programs import thirty_lines_with_faulting_swaps
from tests.support.solver import EXAMPLE
from tests.support.stack import Stack, reference

NO_SWAP_HELPS = "acc +1\njmp -1\nacc +5\njmp -3\n"


def assert_every_cpu_is_right(stack: Stack, start: str, text: str) -> None:
    """Assert that each CPU is where the machine in memory stops, or on its way there if it was stopped."""
    program = programs.parse(text)
    for cpu in [0, *program.candidates()]:
        found, expected = stack.registers(start, cpu), reference(program, cpu)
        if found.status == "stopped":
            assert found.cycle <= expected.cycle
            assert found.visited <= expected.visited
            assert len(found.visited) == found.cycle
        else:
            assert found == expected


def assert_no_cycle_ran_twice(stack: Stack, start: str) -> None:
    """Assert that every run succeeded and that a CPU's cycles follow one another without gap or fork."""
    runs = stack.runs(start)
    assert {run["state"] for run in runs} == {"success"}
    cycles: dict[int, list[int]] = {}
    for run in runs:
        cycles.setdefault(run["conf"]["cpu"], []).append(run["conf"]["cycle"])
    for cpu, ran in cycles.items():
        kept, per_pod = stack.registers(start, cpu), runs[0]["conf"]["cycles"]
        # The run in which a CPU finds that it must stop executes nothing.
        told_to_stop = [kept.cycle + 1] if kept.status == "stopped" else []
        assert sorted(ran) == [0, *range(1, kept.cycle + 1, per_pod), *told_to_stop]


@pytest.mark.core
def test_the_article_s_example_gives_5_and_8(stack: Stack) -> None:
    state, start = stack.finish(stack.start())
    assert state == "success"
    assert sorted(stack.answers(start)) == ["Part 1: 5", "Part 2: 8 (line 8: jmp -4 → nop -4)"]
    assert_every_cpu_is_right(stack, start, EXAMPLE)
    assert_no_cycle_ran_twice(stack, start)


def test_a_message_has_the_cpu_its_cycles_the_duration_and_a_link_to_the_run(stack: Stack) -> None:
    _, start = stack.finish(stack.start(cycles=10, parts="part 2"))
    (post,) = [post for post in stack.posts(start) if post.is_answer]
    assert "CPU 8" in post.shown
    assert "6 cycles" in post.shown
    assert f"{stack.settings.api_url}/dags/cpu/runs/{start}.cpu-8.cycle-1" in post.shown


def test_each_run_s_xcoms_hold_what_its_cycle_did(stack: Stack) -> None:
    _, start = stack.finish(stack.start(parts="part 1"))
    story = [stack.api.xcom("cpu", f"{start}.cpu-0.cycle-{cycle}", "execute") for cycle in range(1, 8)]
    assert [one["instruction"] for one in story] == [
        "nop +0", "acc +1", "jmp +4", "acc +1", "jmp -4", "acc +3", "jmp -3",
    ]  # fmt: skip
    assert [one["acc"] for one in story] == ["0", "1", "1", "2", "2", "5", "5"]
    assert [one["status"] for one in story] == ["ok"] * 6 + ["loop"]


def test_a_program_whose_swaps_fault_gives_the_answers_of_the_reference(stack: Stack) -> None:
    text = thirty_lines_with_faulting_swaps()
    program = programs.parse(text)
    _, start = stack.finish(stack.start(program=text, cycles=5, stop_at_first_answer=False))
    assert sorted(stack.answers(start)) == [
        f"Part 1: {solver.part1(program)}",
        f"Part 2: {solver.part2(program)}",
    ]
    assert "stopped" not in {stack.registers(start, cpu).status for cpu in program.candidates()}
    assert_every_cpu_is_right(stack, start, text)
    assert_no_cycle_ran_twice(stack, start)


def test_bundled_programs_give_the_answers_of_the_reference(stack: Stack) -> None:
    names = ["fault", "endless", "several"]
    runs = [stack.start(bundled=name, cycles=3, stop_at_first_answer=False) for name in names]
    for name, run in zip(names, runs, strict=True):
        text = file_of(name).read_text()
        program = programs.parse(text)
        _, start = stack.finish(run)
        assert f"Part 1: {solver.part1(program)}" in stack.answers(start)
        part2 = {one for one in stack.answers(start) if one.startswith("Part 2: ")}
        assert len(part2) == max(1, len(solver.ending_cpus(program)))
        assert (part2 == {"Part 2: no swap ends this program"}) is (name == "endless")
        assert_every_cpu_is_right(stack, start, text)


def test_one_message_says_that_no_swap_ends_the_program(stack: Stack) -> None:
    _, start = stack.finish(stack.start(program=NO_SWAP_HELPS, cycles=3))
    assert sorted(stack.answers(start)) == ["Part 1: 1", "Part 2: no swap ends this program"]
    assert_every_cpu_is_right(stack, start, NO_SWAP_HELPS)


def test_a_program_with_nothing_to_swap_gets_a_message_too(stack: Stack) -> None:
    _, start = stack.finish(stack.start(program="acc +7\n"))
    assert sorted(stack.answers(start)) == [
        "Part 1: the program does not loop: it ends with 7",
        "Part 2: no swap ends this program",
    ]


def test_a_refused_program_fails_with_the_parser_s_message_and_stores_nothing(stack: Stack) -> None:
    before = set(stack.redis.scan_iter())
    run = stack.start(program="nop +0\nhop +1\n")
    state, _ = stack.finish(run)
    assert state == "failed"
    (task,) = [task for task in stack.api.tasks("cpu_start", run) if task["task_id"] == "store"]
    assert (task["state"], task["try_number"]) == ("failed", 1)  # another try would not help
    log = "\n".join(stack.api.log("cpu_start", run, "store", 1))
    assert "line 2: 'hop +1': expected one of acc, jmp, nop" in log
    assert set(stack.redis.scan_iter()) == before


def test_two_concurrent_start_runs_do_not_affect_one_another(stack: Stack) -> None:
    runs = [stack.start(cycles=2), stack.start(program=NO_SWAP_HELPS, cycles=2)]
    starts = [stack.finish(run)[1] for run in runs]
    assert sorted(stack.answers(starts[0])) == ["Part 1: 5", "Part 2: 8 (line 8: jmp -4 → nop -4)"]
    assert sorted(stack.answers(starts[1])) == ["Part 1: 1", "Part 2: no swap ends this program"]
    for start, text in zip(starts, (EXAMPLE, NO_SWAP_HELPS), strict=True):
        assert_every_cpu_is_right(stack, start, text)
        assert_no_cycle_ran_twice(stack, start)


@pytest.mark.parametrize(
    ("task", "cycle", "is_kept"),
    [
        ("load", 0, True),  # the CPU exists: the result of its load is returned again
        ("execute", 7, True),  # the last cycle: its result is returned again
        ("execute", 4, False),  # the pod refuses a past cycle; the next one was triggered
    ],
)
def test_clearing_a_task_repeats_no_cycle(stack: Stack, task: str, cycle: int, is_kept: bool) -> None:
    _, start = stack.finish(stack.start(parts="part 1"))
    run = f"{start}.cpu-0.cycle-{cycle}"
    registers, runs = stack.registers(start, 0), len(stack.runs(start))
    result = stack.api.xcom("cpu", run, task)
    assert stack.clear_task(run, task) == "success"
    assert stack.registers(start, 0) == registers
    assert len(stack.runs(start)) == runs
    if is_kept:
        assert stack.api.xcom("cpu", run, task) == result


def test_the_demo_prints_both_answers(stack: Stack, tmp_path: Path) -> None:
    program = tmp_path / "program.txt"
    program.write_text(EXAMPLE)
    done = stack.demo("--cycles", "3", program)
    assert done.stdout.splitlines()[:2] == ["Part 1: 5", "Part 2: 8 (line 8: jmp -4 → nop -4)"]
    assert done.returncode == 0
    assert stack.settings.api_url in done.stdout
    assert "make demo PROGRAM=medium" in done.stdout


def test_the_demo_prints_one_json_object_with_the_option_json(stack: Stack, tmp_path: Path) -> None:
    program = tmp_path / "program.txt"
    program.write_text(EXAMPLE)
    done = stack.demo("--json", "--cycles", "10", program)
    output = json.loads(done.stdout)
    assert (done.returncode, output["text"]) == (0, ["Part 1: 5", "Part 2: 8 (line 8: jmp -4 → nop -4)"])
    expected = solver.answers(programs.parse(EXAMPLE))
    assert {part: output[part] for part in ("part1", "part2")} == {
        part: expected[part] for part in ("part1", "part2")
    }
    assert output["airflow"]["url"] == stack.settings.api_url
    assert output["run"].startswith(f"{stack.settings.api_url}/dags/cpu_start/runs/")


def test_the_demo_exits_1_where_no_swap_ends_the_program(stack: Stack) -> None:
    done = stack.demo("--cycles", "3", "endless")
    assert done.stdout.splitlines()[:2] == ["Part 1: 4", "Part 2: no swap ends this program"]
    assert done.returncode == 1


def test_the_demo_exits_2_for_a_refused_program_and_starts_nothing(stack: Stack, tmp_path: Path) -> None:
    program = tmp_path / "program.txt"
    program.write_text("nop +0\nhop +1\n")
    before = stack.api.count_runs("cpu_start")
    done = stack.demo(program)
    assert done.returncode == 2
    assert f"{program}: line 2: 'hop +1'" in done.stderr
    assert stack.api.count_runs("cpu_start") == before
