"""An items run: each item counts once, however often and by however many pods a share is solved."""

import json
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import redis

from cpu import items, tally
from cpu.describe import with_sentence
from cpu.errors import LostError, PreconditionError
from cpu.items_commands import ItemsCommands
from cpu.items_records import decode_mark
from cpu.keys import ItemsKeys
from cpu.program import Program
from cpu.redis_client import Client, connect
from cpu.result import Result, to_line
from tests.cpu_image.test_crash import PodLostError, failing_client
from tests.support.redis_server import Server

KEYS = ItemsKeys("r")


@pytest.fixture
def run(client: redis.Redis) -> ItemsCommands:
    return ItemsCommands(client, "r", 60)


def progress(client: redis.Redis) -> list[bytes]:
    entries: Any = client.lrange(KEYS.progress, 0, -1)
    return list(entries)


def dump(client: redis.Redis) -> dict[str, object]:
    """Return everything that Redis holds of the run, without times and without counts of repetitions."""
    facts = {name: value for name, value in client.hgetall(KEYS.facts).items() if name not in TIMES}
    entries = [(mark.pods, mark.items) for mark in map(decode_mark, progress(client))]
    return {"facts": facts, "bits": client.get(KEYS.bits), "pods": client.get(KEYS.pods), "progress": entries}


TIMES = (b"planned", b"last", b"microseconds", b"repeated")


def test_a_plan_divides_the_items_among_the_pods(run: ItemsCommands) -> None:
    assert run.plan(seed=5, total=250, per_pod=100) == {
        "status": "planned", "items": "r", "seed": 5, "total": 250, "per_pod": 100, "pods": 3,
    }  # fmt: skip


def test_a_plan_that_is_stored_again_changes_nothing(run: ItemsCommands, client: redis.Redis) -> None:
    run.plan(5, 250, 100)
    run.work(1)
    before, planned = dump(client), client.hget(KEYS.facts, "planned")
    run.plan(5, 250, 100)
    assert (dump(client), client.hget(KEYS.facts, "planned")) == (before, planned)


@pytest.mark.parametrize("other", [(6, 250, 100), (5, 251, 100), (5, 250, 99)])
def test_another_plan_of_the_same_name_is_refused(run: ItemsCommands, other: tuple[int, int, int]) -> None:
    run.plan(5, 250, 100)
    with pytest.raises(PreconditionError, match="items run r has another plan"):
        run.plan(*other)


def test_a_pod_solves_its_share_and_counts_it(run: ItemsCommands, client: redis.Redis) -> None:
    run.plan(5, 250, 100)
    solutions = [items.solve(items.make(5, item)) for item in range(200, 250)]
    expected = tally.count(solutions)
    assert run.work(2) == {
        "status": "solved",
        "items": "r",
        "pod": 2,
        "first_item": 200,
        "last_item": 249,
        "done": 50,
        "failed": 0,
        "cycles": expected["cycles"],
    }
    counters = {name: int(value) for name in tally.COUNTERS if (value := client.hget(KEYS.facts, name))}
    assert counters.pop("microseconds") > 0
    assert counters == {"failed": 0, **expected}
    assert [item for item in range(250) if client.getbit(KEYS.bits, item)] == [*range(200, 250)]


def test_a_pod_that_the_plan_does_not_have_is_refused_and_counts_nothing(
    run: ItemsCommands, client: redis.Redis
) -> None:
    run.plan(5, 250, 100)
    before = dump(client)
    with pytest.raises(PreconditionError, match="items run r has no pod 3: its plan has pods 0 to 2"):
        run.work(3)
    assert dump(client) == before


@pytest.mark.parametrize("command", [lambda run: run.work(0), lambda run: run.report()])
def test_a_run_that_is_not_planned_is_refused(
    run: ItemsCommands, command: Callable[[ItemsCommands], Result]
) -> None:
    with pytest.raises(PreconditionError, match="items run r is not planned, or has expired"):
        command(run)


def test_a_share_that_is_solved_again_gives_the_same_result_and_counts_once(
    run: ItemsCommands, client: redis.Redis
) -> None:
    run.plan(5, 250, 100)
    first = run.work(1)
    before = dump(client)
    assert run.work(1) == first
    assert dump(client) == before
    assert run.report()["repeated"] == 1


def test_of_concurrent_pods_for_the_same_shares_each_share_counts_once(
    run: ItemsCommands, server: Server
) -> None:
    run.plan(5, 60, 10)
    barrier = threading.Barrier(4)
    results: list[str] = []

    def pods() -> None:
        with connect(server.url) as client:
            own = ItemsCommands(client, "r", 60)
            for pod in range(6):
                barrier.wait(30)
                results.append(to_line(own.work(pod)))

    threads = [threading.Thread(target=pods) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(results), len(set(results))) == (24, 6)
    report = run.report()
    assert (report["status"], report["committed"], report["repeated"]) == ("complete", 6, 18)
    assert (report["done"], report["lost"], report["doubled"], report["failed"]) == (60, 0, 0, 0)


@pytest.mark.parametrize("command", ["plan", "work"])
def test_a_repeated_command_makes_up_for_a_pod_that_was_lost_after_any_of_its_steps(
    client: redis.Redis, server: Server, command: str
) -> None:
    def step(run: ItemsCommands) -> Result:
        return run.plan(5, 20, 10) if command == "plan" else run.work(1)

    def before() -> ItemsCommands:
        client.flushdb()
        client.script_flush()
        run = ItemsCommands(client, "r", 60)
        if command == "work":
            run.plan(5, 20, 10)
        return run

    expected = step(before())
    contents = dump(client)
    for replies in count(1):
        run = before()
        lost = False
        with failing_client(server, replies) as failing:
            try:
                step(ItemsCommands(failing, "r", 60))
            except PodLostError:
                lost = True
        assert step(run) == expected
        assert dump(client) == contents
        if not lost:
            break
    assert replies > 2


def test_a_report_has_the_tally_of_all_items(run: ItemsCommands) -> None:
    run.plan(5, 250, 100)
    for pod in (2, 0, 1):
        run.work(pod)
    report = run.report()
    expected = tally.count(items.solve(items.make(5, item)) for item in range(250))
    assert report["status"] == "complete"
    assert (report["seed"], report["total"], report["per_pod"], report["pods"]) == (5, 250, 100, 3)
    assert (report["done"], report["lost"], report["doubled"], report["failed"]) == (250, 0, 0, 0)
    assert (report["committed"], report["missing"]) == (3, [])
    assert (report["cycles"], report["acc1_sum"]) == (expected["cycles"], str(expected["acc1"]))
    assert report["acc2_sum"] == str(expected["acc2"])
    for field, name in {
        "part1": "part1",
        "part2": "part2",
        "acc": "acc",
        "cycles_of_items": "cycles",
    }.items():
        assert report[field] == tally.group(expected, name)
    assert report["seconds"] >= report["work_seconds"] >= 0
    assert report["solve_seconds"] > 0
    assert report["items_per_second"] > report["pods_per_second"] > 0


def test_a_report_names_the_pods_whose_shares_are_not_counted(run: ItemsCommands) -> None:
    run.plan(5, 20_000, 10)
    assert (run.report()["lost"], run.report()["seconds"]) == (20_000, 0)
    run.work(1)
    report = run.report()
    assert (report["status"], report["done"], report["lost"]) == ("incomplete", 10, 19_990)
    assert report["missing"] == [0, *range(2, 51)]
    assert with_sentence(report)["sentence"].startswith(
        "20000 items: 10 done, 19990 lost, 0 doubled, 0 failed; "
    )


def test_an_item_that_a_pod_cannot_solve_is_failed_and_not_done(
    run: ItemsCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    solve = items.solve
    wrong = items.make(5, 7)
    monkeypatch.setattr(items, "solve", lambda program: None if program == wrong else solve(program))
    run.plan(5, 20, 10)
    result = run.work(0)
    assert (result["done"], result["failed"], result["failed_items"]) == (9, 1, [7])
    run.work(1)
    report = run.report()
    assert (report["status"], report["done"], report["lost"], report["failed"]) == ("incomplete", 19, 0, 1)


def test_a_report_sees_an_item_that_the_tally_has_twice(run: ItemsCommands, client: redis.Redis) -> None:
    run.plan(5, 20, 10)
    run.work(0)
    run.work(1)
    client.hincrby(KEYS.facts, "done", 3)
    report = run.report()
    assert (report["status"], report["done"], report["doubled"]) == ("incomplete", 20, 3)


def test_a_report_sees_an_item_whose_bit_is_not_set(run: ItemsCommands, client: redis.Redis) -> None:
    run.plan(5, 20, 10)
    run.work(0)
    run.work(1)
    client.setbit(KEYS.bits, 3, 0)
    client.hincrby(KEYS.facts, "done", -1)
    report = run.report()
    assert (report["status"], report["done"], report["lost"]) == ("incomplete", 19, 1)


@pytest.mark.parametrize("key", KEYS.all)
@pytest.mark.parametrize("command", ["plan", "work", "report"])
def test_a_run_of_which_redis_has_lost_a_key_is_refused_and_not_changed(
    run: ItemsCommands, client: redis.Redis, key: str, command: str
) -> None:
    run.plan(5, 20, 10)
    run.work(0)
    client.delete(key)
    before = dump(client)
    commands = {"plan": lambda: run.plan(5, 20, 10), "work": lambda: run.work(1), "report": run.report}
    if (key, command) == (KEYS.facts, "work"):
        with pytest.raises(PreconditionError, match="not planned"):
            run.work(1)
    else:
        with pytest.raises(LostError, match=r"Redis has lost .* of items run r: start another items run"):
            commands[command]()
    assert dump(client) == before


def test_a_tally_that_has_lost_commits_of_its_bits_is_refused(
    run: ItemsCommands, client: redis.Redis
) -> None:
    run.plan(5, 20, 10)
    earlier: Any = client.dump(KEYS.facts)
    run.work(0)
    client.restore(KEYS.facts, 0, earlier, replace=True)  # as if one key came from an older backup
    with pytest.raises(LostError):
        run.report()
    with pytest.raises(LostError):
        run.work(1)


def test_a_share_of_a_run_that_was_planned_again_meanwhile_is_not_counted(
    run: ItemsCommands, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.plan(5, 20, 10)
    solve = items.solve

    def expire(program: Program) -> items.Solution | None:
        if client.hget(KEYS.facts, "seed") == b"5":
            client.flushdb()
            run.plan(6, 20, 10)
        return solve(program)

    monkeypatch.setattr(items, "solve", expire)
    with pytest.raises(PreconditionError, match="items run r has expired and was planned again"):
        run.work(0)
    assert run.report()["committed"] == 0


def test_the_keys_of_a_run_expire_together_and_a_report_does_not_keep_them(
    run: ItemsCommands, client: redis.Redis
) -> None:
    run.plan(5, 20, 10)
    run.work(0)
    assert {client.ttl(key) for key in KEYS.all} <= {59, 60}
    for key in KEYS.all:
        client.expire(key, 30)
    run.report()
    assert {client.ttl(key) for key in KEYS.all} <= {29, 30}


def test_the_progress_has_the_first_commit_and_at_most_two_hundred_more(
    run: ItemsCommands, client: redis.Redis
) -> None:
    run.plan(5, 300, 1)
    for pod in range(300):
        run.work(pod)
    marks = [decode_mark(entry) for entry in progress(client)]
    assert len(marks) == 201
    assert (marks[0].pods, marks[0].items) == (1, 1)
    assert (marks[-1].pods, marks[-1].items) == (300, 300)
    assert int(client.hget(KEYS.facts, "marks") or 0) == 201


def test_a_million_items_take_less_than_a_fifth_of_a_megabyte(client: redis.Redis) -> None:
    run = ItemsCommands(client, "r", 60)
    run.plan(5, 10**6, 100)
    for pod in (9_999, 0, 5_000):
        run.work(pod)
    client.rpush(KEYS.progress, *[b"10000:1000000:1796000000.123456"] * 200)
    assert sum(client.memory_usage(key, samples=0) or 0 for key in KEYS.all) < 200_000


def test_the_longest_report_fits_a_termination_message(run: ItemsCommands, client: redis.Redis) -> None:
    run.plan(10**9, 10**6, 1)
    for counter in tally.COUNTERS:
        client.hset(KEYS.facts, counter, 10**12)
    client.hset(KEYS.facts, "done", 0)
    assert len(to_line(with_sentence(run.report()))) < 3_000


def test_an_items_run_works_on_a_redis_cluster(redis_cluster: Client) -> None:
    run = ItemsCommands(redis_cluster, "r", 60)
    run.plan(5, 20, 10)
    run.work(0)
    run.work(1)
    assert json.loads(to_line(run.report()))["status"] == "complete"
