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
from tests.support.trial import Trial

TWO_ENDS = "acc +5\nnop +2\njmp +1\nacc +1"  # CPUs 2 and 3, both of which end
ENDLESS = "acc +1\njmp -1\njmp -2\n"  # CPUs 2 and 3, neither of which ends
REMEDY = r": start the program again, and give the CPUs a Redis that does not evict"


@pytest.fixture(autouse=True)
def stored(trial: Trial) -> None:
    trial.store()


@pytest.mark.parametrize("cycles", [1, 2, 100])
@pytest.mark.parametrize("cpu", [0, 3, 8])
def test_a_cpu_that_has_lost_its_visited_set_executes_nothing(trial: Trial, cpu: int, cycles: int) -> None:
    trial.load(cpu)
    trial.execute(cpu, 1, 3)
    trial.client.delete(Keys(trial.start, cpu).visited)
    before = trial.dump()
    message = f"Redis has lost the visited set of CPU {cpu} of start run {trial.start}{REMEDY}"
    with pytest.raises(LostError, match=message):
        trial.execute(cpu, 4, cycles)
    assert trial.dump() == before


@pytest.mark.parametrize("cycles", [1, 100])
def test_a_visited_set_that_is_lost_between_reading_and_committing_is_not_begun_anew(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, cycles: int
) -> None:
    trial.load(0)
    trial.execute(0, 1, 3)
    keys = Keys(trial.start, 0)
    commit = RedisCpu.commit

    def evicted(*arguments: object) -> object:
        trial.client.delete(keys.visited)
        return commit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RedisCpu, "commit", evicted)
    with pytest.raises(LostError, match="the visited set of CPU 0"):
        trial.execute(0, 4, cycles)
    assert not trial.client.exists(keys.visited)
    assert trial.client.hget(keys.registers, "cycle") == b"3"


@pytest.mark.parametrize(
    ("cpu", "status"), [(0, "loop"), (8, "end"), (1, "loop"), (2, "invalid"), (3, "stopped")]
)
def test_a_cpu_has_as_many_bits_as_cycles_also_when_it_has_stopped(
    trial: Trial, cpu: int, status: str
) -> None:
    if status == "stopped":
        trial.load(cpu)
        trial.execute(cpu, 1, 2)
        trial.run(8)
        stopped = trial.execute(cpu, 3)
    else:
        stopped = trial.run(cpu)
    assert stopped["status"] == status
    assert trial.client.bitcount(Keys(trial.start, cpu).visited) == stopped["cycle"]
    assert trial.read(cpu)["status"] == status


@pytest.mark.parametrize("stopped", [False, True])
def test_registers_that_are_lost_are_not_begun_anew_beside_a_visited_set(trial: Trial, stopped: bool) -> None:
    trial.load(8)
    trial.execute(8, 1, 100 if stopped else 3)
    trial.client.delete(Keys(trial.start, 8).registers)
    before = trial.dump()
    asked: list[Callable[[], object]] = [
        lambda: trial.load(8, once=True),
        lambda: trial.execute(8, 1),
        lambda: trial.execute(8, 4),
        lambda: trial.read(8),
    ]
    for command in asked:
        with pytest.raises(LostError, match=f"registers.* of CPU 8 of start run {trial.start}{REMEDY}"):
            command()
    assert trial.dump() == before


def test_a_cpu_that_is_lost_whole_comes_to_the_same_end_and_tells_the_same_verdict(trial: Trial) -> None:
    first = trial.run(8)
    trial.client.delete(*Keys(trial.start, 8).of_cpu)
    assert trial.load(8, once=True)["status"] == "ok"
    assert trial.execute(8, 1, 10**6) == first
    assert trial.read(8)["ended"] == 1


@pytest.mark.parametrize("field", ["pc", "acc", "cycle", "status", "first", "result"])
def test_registers_that_lack_a_field_are_refused(trial: Trial, field: str) -> None:
    trial.load(8)
    trial.execute(8, 1)
    trial.client.hdel(Keys(trial.start, 8).registers, field)
    asked: list[Callable[[], object]] = [lambda: trial.execute(8, 2), lambda: trial.read(8)]
    for command in asked:
        with pytest.raises(LostError, match="registers of CPU 8"):
            command()
    found = trial.survey()
    assert found.get("lost", []) == ([8] if field != "result" else [])
    assert {0, 1, 3, 5} <= {cpu for cpu, _, _ in found["due"]}, "the others are looked after all the same"


def lose(trial: Trial, part: str) -> None:
    keys = Keys(trial.start)
    trial.client.delete({"facts": keys.facts, "program": keys.program, "stops": keys.stops}[part])


@pytest.mark.parametrize("part", ["facts", "program", "stops"])
def test_no_command_goes_on_with_a_start_run_that_has_lost_a_part(trial: Trial, part: str) -> None:
    trial.load(0)
    trial.run(8)
    lose(trial, part)
    before = trial.dump()
    asked: list[Callable[[], object]] = [
        trial.store,
        lambda: trial.load(1, once=True),
        lambda: trial.execute(0, 1),
        lambda: trial.execute(0, 1, 100),
        lambda: trial.execute(8, 1),
        lambda: trial.read(8),
        trial.survey,
        lambda: take_snapshot(trial.client, trial.start),
    ]
    message = f"Redis has lost the {part} of start run {trial.start}{REMEDY}"
    for command in asked:
        with pytest.raises(LostError, match=message):
            command()
    assert trial.dump() == before


def test_an_evicted_instruction_is_not_taken_for_a_shorter_program(trial: Trial) -> None:
    trial.load(0)
    trial.client.ltrim(Keys(trial.start).program, 0, -2)
    for cycles in (1, 100):
        with pytest.raises(LostError, match="the program of start run"):
            trial.execute(0, 1, cycles)


@pytest.mark.parametrize(
    "fact", ["digest", "length", "cpus", "parts", "keep_going", "stored", "stopped", "ended"]
)
def test_facts_that_lack_a_field_are_refused(trial: Trial, fact: str) -> None:
    trial.load(0)
    trial.client.hdel(Keys(trial.start).facts, fact)
    asked: list[Callable[[], object]] = [
        lambda: trial.execute(0, 1),
        lambda: trial.read(0),
        trial.survey,
        trial.store,
        lambda: StartRun(trial.client, Keys(trial.start, 0), 60).stop(Status.LOOP, candidate=False),
    ]
    for command in asked:
        with pytest.raises(LostError, match="the facts of start run"):
            command()


def test_stops_that_are_lost_lead_to_no_second_answer(trial: Trial) -> None:
    trial = Trial(trial.client)
    trial.store(TWO_ENDS)
    assert trial.run(2)["verdict"] == "part2"
    lose(trial, "stops")
    for cpu in (2, 3):
        with pytest.raises(LostError, match="the stops of start run"):
            StartRun(trial.client, Keys(trial.start, cpu), 60).stop(Status.END, candidate=True)
    assert not trial.client.exists(Keys(trial.start).stops)


def test_stops_that_are_lost_lead_to_no_verdict_that_no_swap_ends_the_program(trial: Trial) -> None:
    trial = Trial(trial.client)
    trial.store(ENDLESS)
    for cpu in (2, 3):
        trial.load(cpu)
    trial.execute(2, 1, 100)
    lose(trial, "stops")
    with pytest.raises(LostError, match="the stops of start run"):
        trial.execute(2, 1)
    with pytest.raises(LostError, match="the stops of start run"):
        trial.execute(3, 1, 100)


def test_a_stop_that_counts_for_nothing_is_missed_as_well(trial: Trial) -> None:
    trial.run(0)
    lose(trial, "stops")
    with pytest.raises(LostError, match="the stops of start run"):
        trial.survey()


def test_a_start_run_that_has_lost_a_part_can_be_cancelled_and_is_over_then(trial: Trial) -> None:
    lose(trial, "program")
    trial.cancel()
    assert trial.survey()["status"] == "over"
    lose(trial, "facts")
    Trial(trial.client, trial.start).client.rpush(Keys(trial.start).program, "1:nop +0")
    with pytest.raises(LostError, match="the facts of start run"):
        trial.cancel()


def test_a_start_run_of_a_version_that_did_not_count_stops_goes_on(trial: Trial) -> None:
    trial.run(0)
    trial.client.hdel(Keys(trial.start).facts, "stops")
    assert trial.run(8)["verdict"] == "part2"
    assert trial.client.hget(Keys(trial.start).facts, "stops") == b"2"


def test_a_survey_names_the_cpu_whose_news_nobody_can_read_any_more(trial: Trial) -> None:
    trial.run(8)
    trial.client.delete(*Keys(trial.start, 8).of_cpu)
    found = trial.survey()
    assert (found["lost"], found["answers"]) == ([8], [])


def test_a_survey_takes_a_cpu_for_expired_when_its_news_are_as_old(trial: Trial) -> None:
    trial.run(8)
    trial.client.delete(*Keys(trial.start, 8).of_cpu)
    stops = Keys(trial.start).stops
    stop: Any = trial.client.hget(stops, "8")
    verdict, _, stopped_at = stop.decode().partition(":")
    trial.client.hset(stops, "8", f"{verdict}:{float(stopped_at) - trial.ttl + 1}")
    assert trial.survey()["answers"] == []


def test_the_wall_shows_no_number_of_a_cpu_whose_registers_are_gone(trial: Trial) -> None:
    for cpu in (0, 8):
        trial.run(cpu)
        trial.client.delete(*Keys(trial.start, cpu).of_cpu)
    found = take_snapshot(trial.client, trial.start)
    gone = [tile for tile in found.cpus if tile.cpu in (0, 8)]
    assert [(tile.state, tile.acc, tile.pc) for tile in gone] == [("gone", "?", "?")] * 2
    assert found.stopped == 2
    assert found.part1() == Answer(text=GONE, cpu=0)
    assert found.part2() == Answer(text=GONE, cpu=8)
    assert found.states == {"gone": 2, "waiting": 3}


@pytest.mark.parametrize("key", ["visited", "registers"])
def test_the_wall_lists_no_program_beside_a_visited_set_that_is_lost(trial: Trial, key: str) -> None:
    trial.load(3)
    trial.execute(3, 1, 4)
    program = take_snapshot(trial.client, trial.start).program
    trial.client.delete(getattr(Keys(trial.start, 3), key))
    with pytest.raises(LostError, match=f"CPU 3 of start run {trial.start}{REMEDY}"):
        read_listing(trial.client, trial.start, 3, program)


def test_on_redis_cluster_lost_keys_are_refused_too(redis_cluster: Client) -> None:
    trial = Trial(redis_cluster)
    trial.store()
    trial.load(0)
    trial.execute(0, 1, 3)
    trial.run(8)
    redis_cluster.delete(Keys(trial.start, 0).visited)
    with pytest.raises(LostError, match="the visited set of CPU 0"):
        trial.execute(0, 4)
    redis_cluster.delete(Keys(trial.start).stops)
    asked: list[Callable[[], object]] = [
        lambda: trial.load(1),
        lambda: trial.read(8),
        lambda: trial.execute(8, 1),
        trial.survey,
    ]
    for command in asked:
        with pytest.raises(LostError, match="the stops of start run"):
            command()


@pytest.mark.parametrize("cycles", [1, 2])
def test_all_of_it_is_checked_in_the_three_round_trips_of_a_pod(
    trial: Trial, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, cycles: int
) -> None:
    trial.load(8)
    trial.execute(8, 1)
    sent: list[object] = []
    send: Any = redis.connection.AbstractConnection.send_packed_command

    def count(self: Any, *arguments: Any, **options: Any) -> None:
        sent.append(arguments)
        send(self, *arguments, **options)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", count)
    trial.execute(8, 2, cycles)
    assert len(sent) == 3


@pytest.mark.parametrize("step", range(7))
@pytest.mark.parametrize("name", [*Keys("s", 0).of_cpu, *Keys("s").of_start])
def test_a_key_that_is_evicted_after_any_cycle_never_gives_a_wrong_answer(
    client: redis.Redis, name: str, step: int
) -> None:
    trial = Trial(client, "s")
    trial.store(parts="1")
    result = trial.load(0)
    with suppress(PreconditionError):
        while result["status"] == "ok":
            if result["cycle"] == step:
                client.delete(name)
            result = trial.execute(0, result["cycle"] + 1)
    assert result["status"] == "ok" or (result["status"], result["acc"]) == ("loop", "5")
