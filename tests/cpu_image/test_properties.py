"""Random programs in random order: memory in Redis, memory in process and an independent solver agree."""

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpu import machine
from cpu.memory import InProcessMemory
from cpu.program import parse
from cpu.result import Result, to_line
from tests.support.solver import Answer, Lines, candidates, programs, solve, text_of
from tests.support.start_run_client import StartRunClient

redis_settings = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def in_process(lines: Lines, cpu: int) -> Answer:
    outcome = machine.run(InProcessMemory(parse(text_of(lines)).with_swap(cpu)))
    return Answer(outcome.status, *outcome.registers)


def answer_of(result: Result) -> Answer:
    return Answer(result["status"], int(result["pc"]), int(result["acc"]), result["cycle"])


@redis_settings
@given(lines=programs, batch=st.integers(1, 6))
def test_redis_memory_and_in_process_memory_agree_with_the_solver_on_every_swap(
    client: redis.Redis, lines: Lines, batch: int
) -> None:
    start_run = StartRunClient(client)
    start_run.store_text(text_of(lines), keep_going=True)
    verdicts = {}
    for cpu in [0, *candidates(lines)]:
        result = start_run.load(cpu)
        while result["status"] == "ok":
            result = start_run.execute(cpu, result["cycle"] + 1, batch)
        assert answer_of(result) == in_process(lines, cpu) == solve(lines, cpu)
        verdicts[cpu] = result.get("verdict")
    ended = [cpu for cpu in candidates(lines) if solve(lines, cpu).status == "end"]
    last = [] if ended else candidates(lines)[-1:]
    assert verdicts == {
        0: "part1",
        **{cpu: "part2" if cpu in ended else "none" if cpu in last else None for cpu in candidates(lines)},
    }


@redis_settings
@given(lines=programs, data=st.data())
def test_repeated_and_interleaved_commands_give_each_cpu_the_same_answer(
    client: redis.Redis, lines: Lines, data: st.DataObject
) -> None:
    start_run = StartRunClient(client)
    start_run.store_text(text_of(lines), keep_going=True)
    running: dict[int, Result] = {cpu: start_run.load(cpu) for cpu in [0, *candidates(lines)][:5]}
    stopped: dict[int, Result] = {}
    while running:
        cpu = data.draw(st.sampled_from(sorted(running)))
        last = running[cpu]
        what = data.draw(st.sampled_from(["next", "next", "next", "again", "load once", "load"]))
        if what == "next":
            running[cpu] = start_run.execute(cpu, last["cycle"] + 1, data.draw(st.integers(1, 4)))
        elif what == "again" and "first" in last:
            assert to_line(start_run.execute(cpu, last["first"], data.draw(st.integers(1, 4)))) == to_line(
                last
            )
        elif what == "load once":
            start_run.load(cpu, once=True)
        elif what == "load" and data.draw(st.integers(0, 5)) == 0:
            running[cpu] = start_run.load(cpu)
        if running[cpu]["status"] != "ok":
            stopped[cpu] = running.pop(cpu)
    for cpu, result in stopped.items():
        assert answer_of(result) == solve(lines, cpu)
        assert to_line(start_run.execute(cpu, result["first"])) == to_line(result)
