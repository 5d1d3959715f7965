"""Redis evicts or loses keys: no command answers from what is left, and its error names what is lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis

from cpu.errors import LostError, PreconditionError
from cpu.keys import Keys
from cpu.redis_client import Client
from cpu.redis_cpu import RedisCpu
from cpu.result import Status
from cpu.start_run import StartRun
from scripts.snapshot import GONE, Answer, read_listing, take_snapshot
from tests.support.start_run_client import StartRunClient

TWO_ENDS = "acc +5\nnop +2\njmp +1\nacc +1"  # CPUs 2 and 3, both of which end
ENDLESS = "acc +1\njmp -1\njmp -2\n"  # CPUs 2 and 3, neither of which ends
REMEDY = r": start the program again, and give the CPUs a Redis that does not evict"


@pytest.fixture(autouse=True)
def stored(start_run: StartRunClient) -> None:
    start_run.store_text()


@pytest.mark.parametrize("cycles", [1, 2, 100])
@pytest.mark.parametrize("cpu", [0, 3, 8])
def test_exec_fails_without_the_visited_set_and_changes_nothing(
    start_run: StartRunClient, cpu: int, cycles: int
) -> None:
    start_run.load(cpu)
    start_run.execute(cpu, 1, 3)
    start_run.client.delete(Keys(start_run.start, cpu).visited)
    before = start_run.dump()
    message = f"Redis has lost the visited set of CPU {cpu} of start run {start_run.start}{REMEDY}"
    with pytest.raises(LostError, match=message):
        start_run.execute(cpu, 4, cycles)
    assert start_run.dump() == before


@pytest.mark.parametrize("cycles", [1, 100])
def test_a_visited_set_lost_between_read_and_commit_fails_the_commit(
    start_run: StartRunClient, monkeypatch: pytest.MonkeyPatch, cycles: int
) -> None:
    start_run.load(0)
    start_run.execute(0, 1, 3)
    keys = Keys(start_run.start, 0)
    commit = RedisCpu.commit

    def evicted(*arguments: object) -> object:
        start_run.client.delete(keys.visited)
        return commit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RedisCpu, "commit", evicted)
    with pytest.raises(LostError, match="the visited set of CPU 0"):
        start_run.execute(0, 4, cycles)
    assert not start_run.client.exists(keys.visited)
    assert start_run.client.hget(keys.registers, "cycle") == b"3"


@pytest.mark.parametrize(
    ("cpu", "status"), [(0, "loop"), (8, "end"), (1, "loop"), (2, "invalid"), (3, "stopped")]
)
def test_a_stopped_cpu_has_as_many_visited_bits_as_cycles(
    start_run: StartRunClient, cpu: int, status: str
) -> None:
    if status == "stopped":
        start_run.load(cpu)
        start_run.execute(cpu, 1, 2)
        start_run.run(8)
        stopped = start_run.execute(cpu, 3)
    else:
        stopped = start_run.run(cpu)
    assert stopped["status"] == status
    assert start_run.client.bitcount(Keys(start_run.start, cpu).visited) == stopped["cycle"]
    assert start_run.read(cpu)["status"] == status


@pytest.mark.parametrize("stopped", [False, True])
def test_commands_fail_if_a_visited_set_has_lost_its_registers(
    start_run: StartRunClient, stopped: bool
) -> None:
    start_run.load(8)
    start_run.execute(8, 1, 100 if stopped else 3)
    start_run.client.delete(Keys(start_run.start, 8).registers)
    before = start_run.dump()
    commands: list[Callable[[], object]] = [
        lambda: start_run.load(8, once=True),
        lambda: start_run.execute(8, 1),
        lambda: start_run.execute(8, 4),
        lambda: start_run.read(8),
    ]
    for command in commands:
        with pytest.raises(LostError, match=f"registers.* of CPU 8 of start run {start_run.start}{REMEDY}"):
            command()
    assert start_run.dump() == before


def test_a_cpu_that_has_lost_all_its_keys_runs_again_to_the_same_verdict(
    start_run: StartRunClient,
) -> None:
    first = start_run.run(8)
    start_run.client.delete(*Keys(start_run.start, 8).of_cpu)
    assert start_run.load(8, once=True)["status"] == "ok"
    assert start_run.execute(8, 1, 10**6) == first
    assert start_run.read(8)["ended"] == 1


@pytest.mark.parametrize("field", ["pc", "acc", "cycle", "status", "first", "result"])
def test_commands_fail_if_the_registers_lack_a_field(start_run: StartRunClient, field: str) -> None:
    start_run.load(8)
    start_run.execute(8, 1)
    start_run.client.hdel(Keys(start_run.start, 8).registers, field)
    commands: list[Callable[[], object]] = [lambda: start_run.execute(8, 2), lambda: start_run.read(8)]
    for command in commands:
        with pytest.raises(LostError, match="registers of CPU 8"):
            command()
    found = start_run.survey()
    assert found.get("lost", []) == ([8] if field != "result" else [])
    assert {0, 1, 3, 5} <= {cpu for cpu, _, _ in found["due"]}, "the other CPUs are still reported"


def lose(start_run: StartRunClient, part: str) -> None:
    keys = Keys(start_run.start)
    start_run.client.delete({"facts": keys.facts, "program": keys.program, "stops": keys.stops}[part])


@pytest.mark.parametrize("part", ["facts", "program", "stops"])
def test_commands_fail_and_change_nothing_if_the_start_run_has_lost_a_key(
    start_run: StartRunClient, part: str
) -> None:
    start_run.load(0)
    start_run.run(8)
    lose(start_run, part)
    before = start_run.dump()
    commands: list[Callable[[], object]] = [
        start_run.store_text,
        lambda: start_run.load(1, once=True),
        lambda: start_run.execute(0, 1),
        lambda: start_run.execute(0, 1, 100),
        lambda: start_run.execute(8, 1),
        lambda: start_run.read(8),
        start_run.survey,
        lambda: take_snapshot(start_run.client, start_run.start),
    ]
    message = f"Redis has lost the {part} of start run {start_run.start}{REMEDY}"
    for command in commands:
        with pytest.raises(LostError, match=message):
            command()
    assert start_run.dump() == before


def test_exec_fails_if_the_program_has_lost_an_instruction(start_run: StartRunClient) -> None:
    start_run.load(0)
    start_run.client.ltrim(Keys(start_run.start).program, 0, -2)
    for cycles in (1, 100):
        with pytest.raises(LostError, match="the program of start run"):
            start_run.execute(0, 1, cycles)


@pytest.mark.parametrize(
    "fact", ["digest", "length", "cpus", "parts", "keep_going", "stored", "stopped", "ended"]
)
def test_commands_fail_if_the_facts_lack_a_field(start_run: StartRunClient, fact: str) -> None:
    start_run.load(0)
    start_run.client.hdel(Keys(start_run.start).facts, fact)
    commands: list[Callable[[], object]] = [
        lambda: start_run.execute(0, 1),
        lambda: start_run.read(0),
        start_run.survey,
        start_run.store_text,
        lambda: StartRun(start_run.client, Keys(start_run.start, 0), 60).stop(Status.LOOP, candidate=False),
    ]
    for command in commands:
        with pytest.raises(LostError, match="the facts of start run"):
            command()


def test_lost_stops_lead_to_no_second_answer(start_run: StartRunClient) -> None:
    start_run = StartRunClient(start_run.client)
    start_run.store_text(TWO_ENDS)
    assert start_run.run(2)["verdict"] == "part2"
    lose(start_run, "stops")
    for cpu in (2, 3):
        with pytest.raises(LostError, match="the stops of start run"):
            StartRun(start_run.client, Keys(start_run.start, cpu), 60).stop(Status.END, candidate=True)
    assert not start_run.client.exists(Keys(start_run.start).stops)


def test_lost_stops_lead_to_no_verdict_that_no_swap_ends_the_program(
    start_run: StartRunClient,
) -> None:
    start_run = StartRunClient(start_run.client)
    start_run.store_text(ENDLESS)
    for cpu in (2, 3):
        start_run.load(cpu)
    start_run.execute(2, 1, 100)
    lose(start_run, "stops")
    with pytest.raises(LostError, match="the stops of start run"):
        start_run.execute(2, 1)
    with pytest.raises(LostError, match="the stops of start run"):
        start_run.execute(3, 1, 100)


def test_a_lost_stop_of_cpu_0_is_noticed(start_run: StartRunClient) -> None:
    start_run.run(0)
    lose(start_run, "stops")
    with pytest.raises(LostError, match="the stops of start run"):
        start_run.survey()


def test_a_start_run_that_has_lost_its_program_can_be_cancelled(
    start_run: StartRunClient,
) -> None:
    lose(start_run, "program")
    start_run.cancel()
    assert start_run.survey()["status"] == "over"
    lose(start_run, "facts")
    StartRunClient(start_run.client, start_run.start).client.rpush(Keys(start_run.start).program, "1:nop +0")
    with pytest.raises(LostError, match="the facts of start run"):
        start_run.cancel()


def test_a_start_run_of_an_older_version_without_the_number_of_stops_runs_on(
    start_run: StartRunClient,
) -> None:
    start_run.run(0)
    start_run.client.hdel(Keys(start_run.start).facts, "stops")
    assert start_run.run(8)["verdict"] == "part2"
    assert start_run.client.hget(Keys(start_run.start).facts, "stops") == b"2"


def test_a_survey_reports_a_cpu_whose_answer_is_lost(start_run: StartRunClient) -> None:
    start_run.run(8)
    start_run.client.delete(*Keys(start_run.start, 8).of_cpu)
    found = start_run.survey()
    assert (found["lost"], found["answers"]) == ([8], [])


def test_a_survey_ignores_a_lost_cpu_whose_answer_has_expired(start_run: StartRunClient) -> None:
    start_run.run(8)
    start_run.client.delete(*Keys(start_run.start, 8).of_cpu)
    stops = Keys(start_run.start).stops
    stop: Any = start_run.client.hget(stops, "8")
    verdict, _, stopped_at = stop.decode().partition(":")
    start_run.client.hset(stops, "8", f"{verdict}:{float(stopped_at) - start_run.ttl + 1}")
    assert start_run.survey()["answers"] == []


def test_a_snapshot_shows_question_marks_for_registers_that_are_gone(start_run: StartRunClient) -> None:
    for cpu in (0, 8):
        start_run.run(cpu)
        start_run.client.delete(*Keys(start_run.start, cpu).of_cpu)
    found = take_snapshot(start_run.client, start_run.start)
    gone = [cpu for cpu in found.cpus if cpu.cpu in (0, 8)]
    assert [(cpu.state, cpu.acc, cpu.pc) for cpu in gone] == [("gone", "?", "?")] * 2
    assert found.stopped == 2
    assert found.part1() == Answer(text=GONE, cpu=0)
    assert found.part2() == Answer(text=GONE, cpu=8)
    assert found.states == {"gone": 2, "waiting": 3}


@pytest.mark.parametrize("key", ["visited", "registers"])
def test_a_listing_fails_if_the_cpu_has_lost_a_key(start_run: StartRunClient, key: str) -> None:
    start_run.load(3)
    start_run.execute(3, 1, 4)
    program = take_snapshot(start_run.client, start_run.start).program
    start_run.client.delete(getattr(Keys(start_run.start, 3), key))
    with pytest.raises(LostError, match=f"CPU 3 of start run {start_run.start}{REMEDY}"):
        read_listing(start_run.client, start_run.start, 3, program)


def test_commands_fail_on_a_redis_cluster_that_has_lost_keys(redis_cluster: Client) -> None:
    start_run = StartRunClient(redis_cluster)
    start_run.store_text()
    start_run.load(0)
    start_run.execute(0, 1, 3)
    start_run.run(8)
    redis_cluster.delete(Keys(start_run.start, 0).visited)
    with pytest.raises(LostError, match="the visited set of CPU 0"):
        start_run.execute(0, 4)
    redis_cluster.delete(Keys(start_run.start).stops)
    commands: list[Callable[[], object]] = [
        lambda: start_run.load(1),
        lambda: start_run.read(8),
        lambda: start_run.execute(8, 1),
        start_run.survey,
    ]
    for command in commands:
        with pytest.raises(LostError, match="the stops of start run"):
            command()


@pytest.mark.parametrize("cycles", [1, 2])
def test_an_exec_with_all_its_checks_takes_three_round_trips(
    start_run: StartRunClient, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, cycles: int
) -> None:
    start_run.load(8)
    start_run.execute(8, 1)
    sent: list[object] = []
    send: Any = redis.connection.AbstractConnection.send_packed_command

    def count(self: Any, *arguments: Any, **options: Any) -> None:
        sent.append(arguments)
        send(self, *arguments, **options)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", count)
    start_run.execute(8, 2, cycles)
    assert len(sent) == 3


@pytest.mark.parametrize("step", range(7))
@pytest.mark.parametrize("name", [*Keys("s", 0).of_cpu, *Keys("s").of_start])
def test_an_eviction_after_any_cycle_never_leads_to_a_wrong_answer(
    client: redis.Redis, name: str, step: int
) -> None:
    start_run = StartRunClient(client, "s")
    start_run.store_text(parts="1")
    result = start_run.load(0)
    with suppress(PreconditionError):
        while result["status"] == "ok":
            if result["cycle"] == step:
                client.delete(name)
            result = start_run.execute(0, result["cycle"] + 1)
    assert result["status"] == "ok" or (result["status"], result["acc"]) == ("loop", "5")
