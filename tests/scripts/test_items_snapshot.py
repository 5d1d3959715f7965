"""The read-only view of an items run in Redis."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from cpu.errors import LostError
from cpu.items_commands import ItemsCommands
from cpu.items_records import Mark
from cpu.keys import ItemsKeys
from cpu.redis_client import Client
from scripts.items_snapshot import ItemsSnapshot, newest_items_run, take_items_snapshot
from scripts.snapshot import NotKeptError, newest_start
from tests.support.start_run_client import StartRunClient

KEYS = ItemsKeys("r")


@pytest.fixture
def run(client: redis.Redis) -> ItemsCommands:
    """An items run of 10 pods with 5 items each."""
    run = ItemsCommands(client, "r", 60)
    run.plan(5, 50, 5)
    return run


def at(
    snapshot: ItemsSnapshot, committed: int, seconds: float, *progress: tuple[int, float]
) -> ItemsSnapshot:
    """Return the snapshot as it would be with so many pods after so many seconds, and that progress."""
    marks = [Mark(pods, 5 * pods, snapshot.planned + when) for pods, when in progress]
    tally = snapshot.facts.tally.copy()
    tally["done"] = 5 * committed
    last = marks[-1].time if marks else None
    facts = snapshot.facts._replace(committed=committed, tally=tally, last=last)
    return replace(snapshot, facts=facts, now=snapshot.planned + seconds, progress=marks)


def test_an_items_run_that_was_never_planned_raises_not_kept_error(client: redis.Redis) -> None:
    with pytest.raises(NotKeptError, match="never planned"):
        take_items_snapshot(client, "r")


def test_a_run_without_commits_has_its_plan_and_no_rate(run: ItemsCommands) -> None:
    found = take_items_snapshot(run.client, "r")
    assert (found.total, found.facts.plan.pods, found.facts.plan.per_pod) == (50, 10, 5)
    assert (found.done, found.failed, found.committed, found.progress) == (0, 0, 0, [])
    assert (found.started, found.ended, found.seconds_left) == (None, None, None)
    assert found.items_per_second == 0
    assert found.missing(3) == [0, 1, 2]
    assert found.seconds == found.now - found.planned > 0


def test_a_run_in_progress_has_what_its_pods_have_counted(run: ItemsCommands) -> None:
    for pod in (7, 0, 1, 3):
        run.work(pod)
    found = take_items_snapshot(run.client, "r")
    assert (found.done, found.failed, found.committed) == (20, 0, 4)
    assert [(mark.pods, mark.items) for mark in found.progress] == [(1, 5), (2, 10), (3, 15), (4, 20)]
    assert found.missing(4) == [2, 4, 5, 6]
    assert found.started is not None
    assert found.planned < found.started <= found.progress[-1].time <= found.now
    assert found.ended is None


def test_a_run_has_ended_with_the_last_commit(run: ItemsCommands) -> None:
    for pod in range(10):
        run.work(pod)
    found = take_items_snapshot(run.client, "r")
    assert (found.done, found.missing(10), found.seconds_left) == (50, [], 0)
    assert found.ended == found.progress[-1].time
    assert found.seconds == found.ended - found.planned
    assert found.pods_per_second == pytest.approx(10 / found.seconds)
    assert found.items_per_second == pytest.approx(50 / found.seconds)
    assert found.items_per_second_since_plan == found.items_per_second
    assert found.pods_per_second_since_plan == found.pods_per_second


def test_rates_and_the_time_left_are_those_of_the_last_minute(run: ItemsCommands) -> None:
    empty = take_items_snapshot(run.client, "r")
    found = at(empty, 4, 110, (1, 20), (2, 50), (3, 60), (4, 100))
    assert found.pods_per_second == pytest.approx(2 / 60)
    assert found.items_per_second == pytest.approx(10 / 60)
    assert found.pods_per_second_since_plan == pytest.approx(4 / 110)
    assert found.items_per_second_since_plan == pytest.approx(20 / 110)
    assert found.seconds_left == pytest.approx(6 * 30)


def test_rates_of_the_first_minute_count_from_the_plan(run: ItemsCommands) -> None:
    found = at(take_items_snapshot(run.client, "r"), 2, 40, (1, 10), (2, 30))
    assert found.pods_per_second == pytest.approx(2 / 40)


def test_the_time_left_is_unknown_if_no_pod_has_committed_in_the_last_minute(run: ItemsCommands) -> None:
    found = at(take_items_snapshot(run.client, "r"), 2, 400, (1, 10), (2, 30))
    assert (found.pods_per_second, found.seconds_left) == (0, None)


def test_progress_that_is_newer_than_the_facts_does_not_make_a_rate_negative(run: ItemsCommands) -> None:
    found = at(take_items_snapshot(run.client, "r"), 1, 400, (1, 10), (2, 30))
    assert found.pods_per_second == 0


@pytest.mark.parametrize("key", [KEYS.facts, KEYS.pods, KEYS.progress])
def test_a_run_of_which_redis_has_lost_a_key_raises_lost_error(run: ItemsCommands, key: str) -> None:
    run.work(0)
    run.client.delete(key)
    with pytest.raises(LostError):
        take_items_snapshot(run.client, "r")


def test_the_newest_items_run_is_the_one_planned_last(client: redis.Redis) -> None:
    assert newest_items_run(client) is None
    for name in ("b", "a", "c-1"):
        ItemsCommands(client, name, 60).plan(1, 1, 1)
    assert newest_items_run(client) == "c-1"


def test_items_runs_and_start_runs_are_not_taken_for_each_other(start_run: StartRunClient) -> None:
    start_run.store_text()
    ItemsCommands(start_run.client, "r", 60).plan(1, 1, 1)
    assert newest_start(start_run.client) == start_run.start
    assert newest_items_run(start_run.client) == "r"


def test_a_snapshot_refreshes_no_ttl(run: ItemsCommands) -> None:
    run.work(0)
    for key in KEYS.all:
        run.client.expire(key, 30)
    take_items_snapshot(run.client, "r")
    assert all(run.client.ttl(key) <= 30 for key in KEYS.all)


def test_a_snapshot_works_on_a_redis_cluster(redis_cluster: Client) -> None:
    run = ItemsCommands(redis_cluster, "r", 60)
    run.plan(5, 10, 5)
    run.work(1)
    assert take_items_snapshot(redis_cluster, "r").missing(2) == [0]
    assert newest_items_run(redis_cluster) == "r"
