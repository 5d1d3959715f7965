"""Redis evicts or loses a key: what is left gives no answer, and each command says what is missing."""

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
    start_run.store()


@pytest.mark.parametrize("cycles", [1, 2, 100])
@pytest.mark.parametrize("cpu", [0, 3, 8])
def test_a_cpu_that_has_lost_its_visited_set_executes_nothing(
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
def test_a_visited_set_that_is_lost_between_reading_and_committing_is_not_begun_anew(
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
def test_a_cpu_has_as_many_bits_as_cycles_also_when_it_has_stopped(
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
def test_registers_that_are_lost_are_not_begun_anew_beside_a_visited_set(
    start_run: StartRunClient, stopped: bool
) -> None:
    start_run.load(8)
    start_run.execute(8, 1, 100 if stopped else 3)
    start_run.client.delete(Keys(start_run.start, 8).registers)
    before = start_run.dump()
    asked: list[Callable[[], object]] = [
        lambda: start_run.load(8, once=True),
        lambda: start_run.execute(8, 1),
        lambda: start_run.execute(8, 4),
        lambda: start_run.read(8),
    ]
    for command in asked:
        with pytest.raises(LostError, match=f"registers.* of CPU 8 of start run {start_run.start}{REMEDY}"):
            command()
    assert start_run.dump() == before


def test_a_cpu_that_is_lost_whole_comes_to_the_same_end_and_tells_the_same_verdict(
    start_run: StartRunClient,
) -> None:
    first = start_run.run(8)
    start_run.client.delete(*Keys(start_run.start, 8).of_cpu)
    assert start_run.load(8, once=True)["status"] == "ok"
    assert start_run.execute(8, 1, 10**6) == first
    assert start_run.read(8)["ended"] == 1


@pytest.mark.parametrize("field", ["pc", "acc", "cycle", "status", "first", "result"])
def test_registers_that_lack_a_field_are_refused(start_run: StartRunClient, field: str) -> None:
    start_run.load(8)
    start_run.execute(8, 1)
    start_run.client.hdel(Keys(start_run.start, 8).registers, field)
    asked: list[Callable[[], object]] = [lambda: start_run.execute(8, 2), lambda: start_run.read(8)]
    for command in asked:
        with pytest.raises(LostError, match="registers of CPU 8"):
            command()
    found = start_run.survey()
    assert found.get("lost", []) == ([8] if field != "result" else [])
    assert {0, 1, 3, 5} <= {cpu for cpu, _, _ in found["due"]}, "the others are looked after all the same"


def lose(start_run: StartRunClient, part: str) -> None:
    keys = Keys(start_run.start)
    start_run.client.delete({"facts": keys.facts, "program": keys.program, "stops": keys.stops}[part])


@pytest.mark.parametrize("part", ["facts", "program", "stops"])
def test_no_command_goes_on_with_a_start_run_that_has_lost_a_part(
    start_run: StartRunClient, part: str
) -> None:
    start_run.load(0)
    start_run.run(8)
    lose(start_run, part)
    before = start_run.dump()
    asked: list[Callable[[], object]] = [
        start_run.store,
        lambda: start_run.load(1, once=True),
        lambda: start_run.execute(0, 1),
        lambda: start_run.execute(0, 1, 100),
        lambda: start_run.execute(8, 1),
        lambda: start_run.read(8),
        start_run.survey,
        lambda: take_snapshot(start_run.client, start_run.start),
    ]
    message = f"Redis has lost the {part} of start run {start_run.start}{REMEDY}"
    for command in asked:
        with pytest.raises(LostError, match=message):
            command()
    assert start_run.dump() == before


def test_an_evicted_instruction_is_not_taken_for_a_shorter_program(start_run: StartRunClient) -> None:
    start_run.load(0)
    start_run.client.ltrim(Keys(start_run.start).program, 0, -2)
    for cycles in (1, 100):
        with pytest.raises(LostError, match="the program of start run"):
            start_run.execute(0, 1, cycles)


@pytest.mark.parametrize(
    "fact", ["digest", "length", "cpus", "parts", "keep_going", "stored", "stopped", "ended"]
)
def test_facts_that_lack_a_field_are_refused(start_run: StartRunClient, fact: str) -> None:
    start_run.load(0)
    start_run.client.hdel(Keys(start_run.start).facts, fact)
    asked: list[Callable[[], object]] = [
        lambda: start_run.execute(0, 1),
        lambda: start_run.read(0),
        start_run.survey,
        start_run.store,
        lambda: StartRun(start_run.client, Keys(start_run.start, 0), 60).stop(Status.LOOP, candidate=False),
    ]
    for command in asked:
        with pytest.raises(LostError, match="the facts of start run"):
            command()


def test_stops_that_are_lost_lead_to_no_second_answer(start_run: StartRunClient) -> None:
    start_run = StartRunClient(start_run.client)
    start_run.store(TWO_ENDS)
    assert start_run.run(2)["verdict"] == "part2"
    lose(start_run, "stops")
    for cpu in (2, 3):
        with pytest.raises(LostError, match="the stops of start run"):
            StartRun(start_run.client, Keys(start_run.start, cpu), 60).stop(Status.END, candidate=True)
    assert not start_run.client.exists(Keys(start_run.start).stops)


def test_stops_that_are_lost_lead_to_no_verdict_that_no_swap_ends_the_program(
    start_run: StartRunClient,
) -> None:
    start_run = StartRunClient(start_run.client)
    start_run.store(ENDLESS)
    for cpu in (2, 3):
        start_run.load(cpu)
    start_run.execute(2, 1, 100)
    lose(start_run, "stops")
    with pytest.raises(LostError, match="the stops of start run"):
        start_run.execute(2, 1)
    with pytest.raises(LostError, match="the stops of start run"):
        start_run.execute(3, 1, 100)


def test_a_stop_that_counts_for_nothing_is_missed_as_well(start_run: StartRunClient) -> None:
    start_run.run(0)
    lose(start_run, "stops")
    with pytest.raises(LostError, match="the stops of start run"):
        start_run.survey()


def test_a_start_run_that_has_lost_a_part_can_be_cancelled_and_is_over_then(
    start_run: StartRunClient,
) -> None:
    lose(start_run, "program")
    start_run.cancel()
    assert start_run.survey()["status"] == "over"
    lose(start_run, "facts")
    StartRunClient(start_run.client, start_run.start).client.rpush(Keys(start_run.start).program, "1:nop +0")
    with pytest.raises(LostError, match="the facts of start run"):
        start_run.cancel()


def test_a_start_run_of_a_version_that_did_not_count_stops_goes_on(start_run: StartRunClient) -> None:
    start_run.run(0)
    start_run.client.hdel(Keys(start_run.start).facts, "stops")
    assert start_run.run(8)["verdict"] == "part2"
    assert start_run.client.hget(Keys(start_run.start).facts, "stops") == b"2"


def test_a_survey_names_the_cpu_whose_news_nobody_can_read_any_more(start_run: StartRunClient) -> None:
    start_run.run(8)
    start_run.client.delete(*Keys(start_run.start, 8).of_cpu)
    found = start_run.survey()
    assert (found["lost"], found["answers"]) == ([8], [])


def test_a_survey_takes_a_cpu_for_expired_when_its_news_are_as_old(start_run: StartRunClient) -> None:
    start_run.run(8)
    start_run.client.delete(*Keys(start_run.start, 8).of_cpu)
    stops = Keys(start_run.start).stops
    stop: Any = start_run.client.hget(stops, "8")
    verdict, _, stopped_at = stop.decode().partition(":")
    start_run.client.hset(stops, "8", f"{verdict}:{float(stopped_at) - start_run.ttl + 1}")
    assert start_run.survey()["answers"] == []


def test_the_wall_shows_no_number_of_a_cpu_whose_registers_are_gone(start_run: StartRunClient) -> None:
    for cpu in (0, 8):
        start_run.run(cpu)
        start_run.client.delete(*Keys(start_run.start, cpu).of_cpu)
    found = take_snapshot(start_run.client, start_run.start)
    gone = [tile for tile in found.cpus if tile.cpu in (0, 8)]
    assert [(tile.state, tile.acc, tile.pc) for tile in gone] == [("gone", "?", "?")] * 2
    assert found.stopped == 2
    assert found.part1() == Answer(text=GONE, cpu=0)
    assert found.part2() == Answer(text=GONE, cpu=8)
    assert found.states == {"gone": 2, "waiting": 3}


@pytest.mark.parametrize("key", ["visited", "registers"])
def test_the_wall_lists_no_program_beside_a_visited_set_that_is_lost(
    start_run: StartRunClient, key: str
) -> None:
    start_run.load(3)
    start_run.execute(3, 1, 4)
    program = take_snapshot(start_run.client, start_run.start).program
    start_run.client.delete(getattr(Keys(start_run.start, 3), key))
    with pytest.raises(LostError, match=f"CPU 3 of start run {start_run.start}{REMEDY}"):
        read_listing(start_run.client, start_run.start, 3, program)


def test_on_redis_cluster_lost_keys_are_refused_too(redis_cluster: Client) -> None:
    start_run = StartRunClient(redis_cluster)
    start_run.store()
    start_run.load(0)
    start_run.execute(0, 1, 3)
    start_run.run(8)
    redis_cluster.delete(Keys(start_run.start, 0).visited)
    with pytest.raises(LostError, match="the visited set of CPU 0"):
        start_run.execute(0, 4)
    redis_cluster.delete(Keys(start_run.start).stops)
    asked: list[Callable[[], object]] = [
        lambda: start_run.load(1),
        lambda: start_run.read(8),
        lambda: start_run.execute(8, 1),
        start_run.survey,
    ]
    for command in asked:
        with pytest.raises(LostError, match="the stops of start run"):
            command()


@pytest.mark.parametrize("cycles", [1, 2])
def test_all_of_it_is_checked_in_the_three_round_trips_of_a_pod(
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
def test_a_key_that_is_evicted_after_any_cycle_never_gives_a_wrong_answer(
    client: redis.Redis, name: str, step: int
) -> None:
    start_run = StartRunClient(client, "s")
    start_run.store(parts="1")
    result = start_run.load(0)
    with suppress(PreconditionError):
        while result["status"] == "ok":
            if result["cycle"] == step:
                client.delete(name)
            result = start_run.execute(0, result["cycle"] + 1)
    assert result["status"] == "ok" or (result["status"], result["acc"]) == ("loop", "5")
