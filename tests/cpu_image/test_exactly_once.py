"""The guard of a cycle: the next one, the kept one, and no other."""

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
from tests.support.trial import Trial

SWAP_8 = {"line": 8, "before": "jmp -4", "after": "nop -4"}


@pytest.fixture(autouse=True)
def stored(trial: Trial) -> None:
    trial.store()


def test_load_gives_a_cpu_at_cycle_zero(trial: Trial) -> None:
    zero = {"status": "ok", "start": trial.start, "cpu": 8, "cycle": 0, "pc": "0", "acc": "0", "swap": SWAP_8}
    assert trial.load(8) == zero
    assert trial.load(0) == {**zero, "cpu": 0, "swap": None}


def test_exec_tells_what_it_executed_and_the_registers_after_it(trial: Trial) -> None:
    trial.load(8)
    trial.execute(8, 1)
    assert trial.execute(8, 2) == {
        "status": "ok",
        "start": trial.start,
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
def test_cycles_one_by_one_and_in_batches_come_to_the_same(
    trial: Trial, cpu: int, status: str, acc: str, cycles: int
) -> None:
    result = trial.load(cpu)
    while result["status"] == "ok":
        result = trial.execute(cpu, result["cycle"] + 1, cycles)
    assert (result["status"], result["acc"]) == (status, acc)


def test_a_swapped_instruction_is_executed_as_swapped_and_told_so(trial: Trial) -> None:
    trial.load(1)
    assert trial.execute(1, 1)["instruction"] == "jmp +0"


@pytest.mark.parametrize("again", [1, 2, 1000])
def test_a_cycle_asked_for_again_gives_the_same_bytes_and_changes_nothing(trial: Trial, again: int) -> None:
    trial.load(8)
    for first, cycles in ((1, 1), (2, 2), (4, 100)):
        line = to_line(trial.execute(8, first, cycles))
        before = trial.dump()
        assert to_line(trial.execute(8, first, again)) == line
        assert trial.dump() == before


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
def test_a_cycle_of_the_past_or_the_future_is_refused_and_changes_nothing(
    trial: Trial, cycle: int, message: str
) -> None:
    trial.load(8)
    trial.execute(8, 1)
    trial.execute(8, 2, 2)
    before = trial.dump()
    with pytest.raises(PreconditionError, match=message):
        trial.execute(8, cycle)
    assert trial.dump() == before


def test_a_cpu_that_has_stopped_takes_no_cycle_more(trial: Trial) -> None:
    trial.run(8)
    before = trial.dump()
    with pytest.raises(
        PreconditionError, match=r"CPU 8 has stopped \(end\) after cycle 6: it has no cycle 7"
    ):
        trial.execute(8, 7)
    assert trial.dump() == before


def test_a_cpu_that_was_not_loaded_is_refused(trial: Trial) -> None:
    message = f"CPU 8 of start run {trial.start} is not loaded"
    with pytest.raises(PreconditionError, match=message):
        trial.execute(8, 1)
    with pytest.raises(PreconditionError, match=message):
        trial.read(8)


def test_a_cpu_of_a_start_run_that_was_not_stored_is_refused_and_nothing_is_kept(client: redis.Redis) -> None:
    client.flushall()
    with pytest.raises(PreconditionError, match="start run nowhere is not stored, or has expired"):
        Trial(client, "nowhere").load(1)
    assert client.dbsize() == 0


@pytest.mark.parametrize("cpu", [2, 9, 10, 10_000])
def test_a_cpu_with_nothing_to_swap_is_invalid_and_takes_no_cycle(trial: Trial, cpu: int) -> None:
    result = trial.load(cpu)
    assert (result["status"], result["swap"]) == ("invalid", None)
    assert "verdict" not in result
    with pytest.raises(PreconditionError, match=r"has stopped \(invalid\) after cycle 0"):
        trial.execute(cpu, 1)


def test_loading_again_replaces_the_cpu_whole(trial: Trial) -> None:
    loaded = trial.load(3)
    before = trial.dump()
    first = trial.execute(3, 1, 3)
    assert trial.load(3) == loaded
    assert trial.dump() == before
    assert trial.execute(3, 1, 3) == first


def test_the_cpu_with_the_answer_can_be_loaded_and_run_again(trial: Trial) -> None:
    assert trial.run(8) == trial.run(8)


def test_loading_once_never_sets_a_cpu_back(trial: Trial) -> None:
    loaded = trial.load(8, once=True)
    executed = trial.execute(8, 1, 3)
    before = trial.dump()
    assert trial.load(8, once=True) == loaded
    assert trial.dump() == before
    assert trial.execute(8, 1) == executed


def test_read_gives_the_last_result_and_the_account(trial: Trial) -> None:
    trial.load(8)
    read = trial.read(8)
    assert read.pop("seconds") >= 0
    assert read == {**trial.load(8), "cpus": 4, "stopped": 0, "ended": 0}
    last = trial.run(8)
    before = trial.dump()
    read = trial.read(8)
    assert read == {**last, "seconds": read["seconds"], "cpus": 4, "stopped": 1, "ended": 1}
    assert trial.read(8) == read
    assert trial.dump() == before


def test_a_program_counter_of_minus_one_never_fetches_the_last_instruction(
    trial: Trial, client: redis.Redis
) -> None:
    trial.load(0)
    client.hset(Keys(trial.start, 0).registers, "pc", "-1")
    before = trial.dump()
    for cycles in (1, 2):
        with pytest.raises(IndexError):
            trial.execute(0, 1, cycles)
    assert trial.dump() == before


def test_numbers_past_53_bits_stay_exact(client: redis.Redis) -> None:
    trial = Trial(client)
    trial.store(f"acc +{2**53 + 1}\nacc +{2**63 - 1}\njmp -{2**63}")
    result = trial.load(0)
    while result["status"] == "ok":
        result = trial.execute(0, result["cycle"] + 1)
    assert (result["status"], result["acc"], result["pc"]) == ("fault", str(2**53 + 2**63), str(2 - 2**63))
    assert trial.read(0)["acc"] == str(2**53 + 2**63)


@pytest.mark.parametrize("cycles", [1, 2, 100])
def test_numbers_past_64_bits_stay_exact_for_every_reader_of_a_result(
    client: redis.Redis, cycles: int
) -> None:
    trial = Trial(client)
    results = [trial.store(BEYOND_64_BITS, keep_going=True)]
    for cpu, status in [(0, "loop"), (4, "end")]:
        result = trial.load(cpu)
        while result["status"] == "ok":
            result = trial.execute(cpu, result["cycle"] + 1, cycles)
            results.append(result)
        assert (result["status"], result["acc"]) == (status, "27670116110564327421")
        assert trial.execute(cpu, result["first"], cycles) == result
        results += [trial.read(cpu), trial.survey()]
    for result in results:
        assert_exact_for_all_readers(to_line(result))


def test_a_program_counter_past_64_bits_stays_exact(client: redis.Redis) -> None:
    trial = Trial(client)
    trial.store(f"nop +0\njmp +{2**63 - 1}\n")
    result = trial.run(0)
    assert (result["status"], result["pc"], trial.read(0)["pc"]) == ("fault", str(2**63), str(2**63))
    assert_exact_for_all_readers(to_line(result))


def test_a_result_that_an_older_version_kept_with_integers_is_told_with_strings(
    trial: Trial, client: redis.Redis
) -> None:
    trial.load(8)
    result = trial.execute(8, 1, 2)
    older = to_line(result | {"pc": int(result["pc"]), "acc": int(result["acc"])})
    client.hset(Keys(trial.start, 8).registers, "result", older)
    assert trial.execute(8, 1, 2) == result
    read = trial.read(8)
    assert {name: read[name] for name in result} == result


def test_ten_thousand_cycles_fit_one_exec(client: redis.Redis) -> None:
    trial = Trial(client)
    trial.store("acc +1\n" * 9_999 + "jmp -9999")
    result = trial.run(0)
    assert (result["status"], result["cycle"], result["acc"]) == ("loop", 10_000, "9999")
    assert client.bitcount(Keys(trial.start, 0).visited) == 10_000
    assert client.strlen(Keys(trial.start, 0).visited) == 1_250


@pytest.mark.parametrize("batches", [(1, 1, 1, 1), (2, 2, 2, 2), (1, 2, 3, 50)])
def test_of_pods_at_the_same_cycle_at_once_one_executes_and_all_answer_the_same(
    trial: Trial, server: Server, batches: tuple[int, ...]
) -> None:
    trial.load(8)
    barrier = threading.Barrier(len(batches))
    lines: list[str] = []

    def pod(cycles: int) -> None:
        with connect(server.url) as client:
            client.ping()
            barrier.wait(10)
            lines.append(to_line(Trial(client, trial.start).execute(8, 1, cycles)))

    threads = [threading.Thread(target=pod, args=(cycles,)) for cycles in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(lines) == len(batches)
    assert len(set(lines)) == 1
    assert trial.read(8)["cycle"] == json.loads(lines[0])["cycle"]
