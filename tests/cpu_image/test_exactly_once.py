"""A cycle happens once: exec takes the next cycle or repeats the last exec, and takes no other."""

import json
import threading

import pytest
import redis

from cpu.errors import PreconditionError
from cpu.keys import Keys
from cpu.redis_client import connect
from cpu.result import to_line
from tests.support.numbers import BEYOND_64_BITS, assert_exact_for_all_readers
from tests.support.redis_server import Server
from tests.support.start_run_client import StartRunClient

SWAP_8 = {"line": 8, "before": "jmp -4", "after": "nop -4"}


@pytest.fixture(autouse=True)
def stored(start_run: StartRunClient) -> None:
    start_run.store_text()


def test_load_creates_a_cpu_at_cycle_0(start_run: StartRunClient) -> None:
    zero = {
        "status": "ok",
        "start": start_run.start,
        "cpu": 8,
        "cycle": 0,
        "pc": "0",
        "acc": "0",
        "swap": SWAP_8,
    }
    assert start_run.load(8) == zero
    assert start_run.load(0) == {**zero, "cpu": 0, "swap": None}


def test_the_result_of_exec_has_the_instruction_and_the_registers_after_it(start_run: StartRunClient) -> None:
    start_run.load(8)
    start_run.execute(8, 1)
    assert start_run.execute(8, 2) == {
        "status": "ok",
        "start": start_run.start,
        "cpu": 8,
        "first": 2,
        "cycle": 2,
        "instruction": "acc +1",
        "line": 2,
        "pc": "2",
        "acc": "1",
        "swap": SWAP_8,
    }


@pytest.mark.parametrize("cycles", [1, 2, 3, 4, 100])
@pytest.mark.parametrize(("cpu", "status", "acc"), [(0, "loop", "5"), (8, "end", "8"), (1, "loop", "0")])
def test_cycles_executed_one_by_one_or_in_batches_give_the_same_answer(
    start_run: StartRunClient, cpu: int, status: str, acc: str, cycles: int
) -> None:
    result = start_run.load(cpu)
    while result["status"] == "ok":
        result = start_run.execute(cpu, result["cycle"] + 1, cycles)
    assert (result["status"], result["acc"]) == (status, acc)


def test_a_swapped_instruction_is_executed_and_reported_as_swapped(start_run: StartRunClient) -> None:
    start_run.load(1)
    assert start_run.execute(1, 1)["instruction"] == "jmp +0"


@pytest.mark.parametrize("again", [1, 2, 1000])
def test_a_repeated_exec_returns_the_same_bytes_and_changes_nothing(
    start_run: StartRunClient, again: int
) -> None:
    start_run.load(8)
    for first, cycles in ((1, 1), (2, 2), (4, 100)):
        line = to_line(start_run.execute(8, first, cycles))
        before = start_run.dump()
        assert to_line(start_run.execute(8, first, again)) == line
        assert start_run.dump() == before


@pytest.mark.parametrize(
    ("cycle", "message"),
    [
        (
            1,
            "cycle 1 of CPU 8 is past: only the last exec can be repeated, which began with cycle 2",
        ),
        (3, "cycle 3 of CPU 8 is past"),
        (5, "CPU 8 has not come to cycle 5: its next cycle is 4"),
        (10**12, "CPU 8 has not come to cycle 1000000000000: its next cycle is 4"),
    ],
)
def test_exec_of_a_past_or_future_cycle_fails_and_changes_nothing(
    start_run: StartRunClient, cycle: int, message: str
) -> None:
    start_run.load(8)
    start_run.execute(8, 1)
    start_run.execute(8, 2, 2)
    before = start_run.dump()
    with pytest.raises(PreconditionError, match=message):
        start_run.execute(8, cycle)
    assert start_run.dump() == before


def test_exec_on_a_stopped_cpu_fails_and_changes_nothing(start_run: StartRunClient) -> None:
    start_run.run(8)
    before = start_run.dump()
    with pytest.raises(
        PreconditionError, match=r"CPU 8 has stopped \(end\) after cycle 6: it has no cycle 7"
    ):
        start_run.execute(8, 7)
    assert start_run.dump() == before


def test_exec_and_read_of_a_cpu_that_is_not_loaded_fail(start_run: StartRunClient) -> None:
    message = f"CPU 8 of start run {start_run.start} is not loaded"
    with pytest.raises(PreconditionError, match=message):
        start_run.execute(8, 1)
    with pytest.raises(PreconditionError, match=message):
        start_run.read(8)


def test_load_for_an_unknown_start_run_fails_and_stores_nothing(client: redis.Redis) -> None:
    client.flushall()
    with pytest.raises(PreconditionError, match="start run nowhere is not stored, or has expired"):
        StartRunClient(client, "nowhere").load(1)
    assert client.dbsize() == 0


@pytest.mark.parametrize("cpu", [2, 9, 10, 10_000])
def test_a_cpu_with_nothing_to_swap_is_invalid_and_executes_no_cycle(
    start_run: StartRunClient, cpu: int
) -> None:
    result = start_run.load(cpu)
    assert (result["status"], result["swap"]) == ("invalid", None)
    assert "verdict" not in result
    with pytest.raises(PreconditionError, match=r"has stopped \(invalid\) after cycle 0"):
        start_run.execute(cpu, 1)


def test_loading_again_replaces_all_of_the_cpu(start_run: StartRunClient) -> None:
    loaded = start_run.load(3)
    before = start_run.dump()
    first = start_run.execute(3, 1, 3)
    assert start_run.load(3) == loaded
    assert start_run.dump() == before
    assert start_run.execute(3, 1, 3) == first


def test_the_cpu_with_the_answer_can_be_loaded_and_run_again(start_run: StartRunClient) -> None:
    assert start_run.run(8) == start_run.run(8)


def test_loading_with_once_never_resets_a_cpu(start_run: StartRunClient) -> None:
    loaded = start_run.load(8, once=True)
    executed = start_run.execute(8, 1, 3)
    before = start_run.dump()
    assert start_run.load(8, once=True) == loaded
    assert start_run.dump() == before
    assert start_run.execute(8, 1) == executed


def test_read_returns_the_last_result_and_the_account(start_run: StartRunClient) -> None:
    start_run.load(8)
    read = start_run.read(8)
    assert read.pop("seconds") >= 0
    assert read == {**start_run.load(8), "cpus": 4, "stopped": 0, "ended": 0}
    last = start_run.run(8)
    before = start_run.dump()
    read = start_run.read(8)
    assert read == {**last, "seconds": read["seconds"], "cpus": 4, "stopped": 1, "ended": 1}
    assert start_run.read(8) == read
    assert start_run.dump() == before


def test_a_program_counter_of_minus_one_never_fetches_the_last_instruction(
    start_run: StartRunClient, client: redis.Redis
) -> None:
    start_run.load(0)
    client.hset(Keys(start_run.start, 0).registers, "pc", "-1")
    before = start_run.dump()
    for cycles in (1, 2):
        with pytest.raises(IndexError):
            start_run.execute(0, 1, cycles)
    assert start_run.dump() == before


def test_numbers_past_53_bits_stay_exact(client: redis.Redis) -> None:
    start_run = StartRunClient(client)
    start_run.store_text(f"acc +{2**53 + 1}\nacc +{2**63 - 1}\njmp -{2**63}")
    result = start_run.load(0)
    while result["status"] == "ok":
        result = start_run.execute(0, result["cycle"] + 1)
    assert (result["status"], result["acc"], result["pc"]) == ("fault", str(2**53 + 2**63), str(2 - 2**63))
    assert start_run.read(0)["acc"] == str(2**53 + 2**63)


@pytest.mark.parametrize("cycles", [1, 2, 100])
def test_numbers_past_64_bits_stay_exact_for_all_readers_of_a_result(
    client: redis.Redis, cycles: int
) -> None:
    start_run = StartRunClient(client)
    results = [start_run.store_text(BEYOND_64_BITS, keep_going=True)]
    for cpu, status in [(0, "loop"), (4, "end")]:
        result = start_run.load(cpu)
        while result["status"] == "ok":
            result = start_run.execute(cpu, result["cycle"] + 1, cycles)
            results.append(result)
        assert (result["status"], result["acc"]) == (status, "27670116110564327421")
        assert start_run.execute(cpu, result["first"], cycles) == result
        results += [start_run.read(cpu), start_run.survey()]
    for result in results:
        assert_exact_for_all_readers(to_line(result))


def test_a_program_counter_past_64_bits_stays_exact(client: redis.Redis) -> None:
    start_run = StartRunClient(client)
    start_run.store_text(f"nop +0\njmp +{2**63 - 1}\n")
    result = start_run.run(0)
    assert (result["status"], result["pc"], start_run.read(0)["pc"]) == ("fault", str(2**63), str(2**63))
    assert_exact_for_all_readers(to_line(result))


def test_integers_in_a_result_of_an_older_version_are_returned_as_strings(
    start_run: StartRunClient, client: redis.Redis
) -> None:
    start_run.load(8)
    result = start_run.execute(8, 1, 2)
    older = to_line(result | {"pc": int(result["pc"]), "acc": int(result["acc"])})
    client.hset(Keys(start_run.start, 8).registers, "result", older)
    assert start_run.execute(8, 1, 2) == result
    read = start_run.read(8)
    assert {name: read[name] for name in result} == result


def test_ten_thousand_cycles_fit_one_exec(client: redis.Redis) -> None:
    start_run = StartRunClient(client)
    start_run.store_text("acc +1\n" * 9_999 + "jmp -9999")
    result = start_run.run(0)
    assert (result["status"], result["cycle"], result["acc"]) == ("loop", 10_000, "9999")
    assert client.bitcount(Keys(start_run.start, 0).visited) == 10_000
    assert client.strlen(Keys(start_run.start, 0).visited) == 1_250


@pytest.mark.parametrize("batches", [(1, 1, 1, 1), (2, 2, 2, 2), (1, 2, 3, 50)])
def test_of_concurrent_pods_for_one_cycle_one_executes_and_all_return_its_result(
    start_run: StartRunClient, server: Server, batches: tuple[int, ...]
) -> None:
    start_run.load(8)
    barrier = threading.Barrier(len(batches))
    lines: list[str] = []

    def pod(cycles: int) -> None:
        with connect(server.url) as client:
            client.ping()
            barrier.wait(10)
            lines.append(to_line(StartRunClient(client, start_run.start).execute(8, 1, cycles)))

    threads = [threading.Thread(target=pod, args=(cycles,)) for cycles in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(lines) == len(batches)
    assert len(set(lines)) == 1
    assert start_run.read(8)["cycle"] == json.loads(lines[0])["cycle"]
