"""Verdicts: which CPU of a start run gives which answer."""

import threading

import pytest
import redis

from cpu.errors import PreconditionError
from cpu.keys import Keys
from cpu.redis_client import connect
from cpu.result import Result, Status
from cpu.start_run import StartRun
from tests.support.redis_server import Server
from tests.support.start_run_client import StartRunClient

ENDLESS = "acc +1\njmp -1\njmp -2\njmp -3"  # CPUs 2, 3 and 4, none of which ends
TWO_ENDS = "acc +5\nnop +2\njmp +1\nacc +1"  # CPUs 2 and 3, both of which end


def test_cpu_0_answers_part_1(start_run: StartRunClient) -> None:
    start_run.store_text()
    assert start_run.run(0)["verdict"] == "part1"


@pytest.mark.parametrize("text", ["acc +1", "jmp -1"])
def test_cpu_0_answers_part_1_however_it_stops(start_run: StartRunClient, text: str) -> None:
    start_run.store_text(text)
    assert start_run.run(0)["verdict"] == "part1"


def test_the_candidate_that_ends_answers_part_2_and_the_others_give_no_verdict(
    start_run: StartRunClient,
) -> None:
    start_run.store_text()
    assert "verdict" not in start_run.run(1)
    assert start_run.run(8)["verdict"] == "part2"
    assert "verdict" not in start_run.run(3)


@pytest.mark.parametrize(("parts", "verdicts"), [("1", {0: "part1"}), ("2", {8: "part2"})])
def test_only_the_parts_to_solve_have_verdicts(
    start_run: StartRunClient, parts: str, verdicts: dict[int, str]
) -> None:
    start_run.store_text(parts=parts)
    assert {cpu: start_run.run(cpu).get("verdict") for cpu in (0, 8)} == {
        0: verdicts.get(0),
        8: verdicts.get(8),
    }


def test_the_other_candidates_stop_and_execute_nothing_once_part_2_is_answered(
    start_run: StartRunClient,
) -> None:
    start_run.store_text()
    start_run.load(3)
    before = start_run.execute(3, 1, 2)
    start_run.run(8)
    stopped = start_run.execute(3, 3, 7)
    nothing = {"status": "stopped", "first": 3, "instruction": None, "line": None}
    assert stopped == {**before, **nothing}
    assert start_run.execute(3, 3) == stopped
    assert start_run.read(3)["stopped"] == 2
    with pytest.raises(PreconditionError, match=r"CPU 3 has stopped \(stopped\) after cycle 2"):
        start_run.execute(3, 4)


def test_cpu_0_runs_on_when_part_2_is_answered(start_run: StartRunClient) -> None:
    start_run.store_text()
    start_run.run(8)
    assert start_run.run(0)["status"] == "loop"


def test_a_candidate_loaded_after_the_answer_stops_at_its_first_cycle(start_run: StartRunClient) -> None:
    start_run.store_text()
    start_run.run(8)
    assert (start_run.run(3)["status"], start_run.read(3)["cycle"]) == ("stopped", 0)


def test_with_keep_going_no_cpu_is_stopped_and_each_that_ends_answers_part_2(
    start_run: StartRunClient,
) -> None:
    start_run.store_text(TWO_ENDS, keep_going=True)
    results = [start_run.run(cpu) for cpu in (2, 3)]
    assert [(result["status"], result["acc"], result["verdict"]) for result in results] == [
        ("end", "6", "part2"),
        ("end", "6", "part2"),
    ]
    assert start_run.read(3)["ended"] == 2


def test_of_two_candidates_that_end_at_once_only_the_first_answers_part_2(
    start_run: StartRunClient, client: redis.Redis
) -> None:
    start_run.store_text(TWO_ENDS)
    stops = [StartRun(client, Keys(start_run.start, cpu), 60) for cpu in (3, 2)]
    verdicts = [stop.stop(Status.END, candidate=True) for stop in stops]
    assert [verdict for verdict, _ in verdicts] == ["part2", ""]


def test_the_last_candidate_to_stop_has_the_verdict_that_none_ended(start_run: StartRunClient) -> None:
    start_run.store_text(ENDLESS)
    assert [start_run.run(cpu).get("verdict") for cpu in (3, 4, 2)] == [None, None, "none"]


def test_invalid_cpus_and_cpu_0_do_not_count_as_candidates(start_run: StartRunClient) -> None:
    start_run.store_text(ENDLESS)
    assert [start_run.run(cpu).get("verdict") for cpu in (1, 9, 0, 4, 3)] == [None, None, "part1", None, None]
    assert start_run.run(2)["verdict"] == "none"
    assert start_run.run(10).get("verdict") is None
    assert start_run.read(2)["stopped"] == 3


def test_without_candidates_the_first_invalid_cpu_has_the_verdict_that_none_ended(
    start_run: StartRunClient,
) -> None:
    assert start_run.store_text("acc +1\nacc +2")["candidates"] == "0x0"
    assert [start_run.run(cpu).get("verdict") for cpu in (1, 2, 1)] == ["none", None, "none"]


def test_repeating_a_command_returns_its_first_verdict_whatever_has_happened_since(
    start_run: StartRunClient,
) -> None:
    start_run.store_text(ENDLESS)
    last = [start_run.run(cpu) for cpu in (3, 4, 2)]
    assert [start_run.execute(cpu, 1) for cpu in (3, 4, 2)] == last
    assert start_run.run(3) == last[0]
    assert start_run.read(2)["stopped"] == 3


def test_seconds_count_from_the_store_to_the_stop(start_run: StartRunClient, client: redis.Redis) -> None:
    start_run.store_text()
    start_run.load(3)
    running = [start_run.read(3)["seconds"] for _ in range(2)]
    assert 0 <= running[0] <= running[1] < 60
    start_run.run(3)
    stopped = start_run.read(3)["seconds"]
    client.ping()
    assert running[1] <= stopped == start_run.read(3)["seconds"]


def test_start_runs_do_not_affect_each_other(client: redis.Redis) -> None:
    one, other = StartRunClient(client), StartRunClient(client)
    one.store_text()
    other.store_text(ENDLESS)
    one.load(3)
    other.load(3)
    assert one.run(8)["verdict"] == "part2"
    assert other.execute(3, 1)["status"] == "ok"
    assert [other.run(cpu).get("verdict") for cpu in (2, 3, 4)] == [None, None, "none"]
    assert one.read(8)["stopped"] == 1


@pytest.mark.parametrize("round_", range(5))
def test_of_candidates_that_stop_at_once_exactly_one_is_the_last(
    start_run: StartRunClient, server: Server, round_: int
) -> None:
    start_run.store_text("acc +1\n" + "jmp -1\n" * 8)
    cpus = range(2, 10)
    for cpu in cpus:
        start_run.load(cpu)
    barrier = threading.Barrier(len(cpus))
    results: list[Result] = []

    def pod(cpu: int) -> None:
        with connect(server.url) as client:
            client.ping()
            barrier.wait(10)
            results.append(StartRunClient(client, start_run.start).execute(cpu, 1, 100))

    threads = [threading.Thread(target=pod, args=(cpu,)) for cpu in cpus]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(str(result.get("verdict")) for result in results) == ["None"] * 7 + ["none"]
