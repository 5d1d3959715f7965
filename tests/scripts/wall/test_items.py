"""The wall's view of an items run: from what Redis has and what its tasks say, and sentences without them."""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import redis
from fastapi import FastAPI

from airflow_pods.index_ledger import compressed
from airflow_pods.progress import Progress
from cpu.items_commands import ItemsCommands
from cpu.keys import ItemsKeys
from dags.item_shards import first_pod
from scripts.items_snapshot import take_items_snapshot
from scripts.wall.items import MOST_NAMED, ItemsDagRun, items_wall, parse_indices
from scripts.wall.models import ItemsRunItem, ItemsWall
from tests.support import redis_server as servers

with warnings.catch_warnings(action="ignore"):  # Airflow imports what Starlette deprecates
    from scripts.wall import airflow_database
    from scripts.wall import app as walls

NAME = "20261126-070809-000012"
PODS = 10_000
REPORT = {
    **{"status": "complete", "total": 50, "done": 50, "lost": 0, "doubled": 0, "failed": 0, "pods": 10},
    **{"seconds": 2.5, "items_per_second": 20.0, "pods_per_second": 4.0},
    "sentence": "50 items: 50 done, 0 lost, 0 doubled, 0 failed",
}


def dag_run(state: str = "running", **results: dict[str, Any]) -> ItemsDagRun:
    """Return a run of DAG items that is planned and whose tasks have these results."""
    return said(state, {(name.replace("_", "-"), "return_value"): value for name, value in results.items()})


def running(shards: dict[int, dict[str, Any]]) -> ItemsDagRun:
    """Return a run of DAG items of which these shards run, with these XComs."""
    return said("running", {(f"shard-{number}", "progress"): value for number, value in shards.items()})


def said(state: str, xcoms: dict[tuple[str, str], dict[str, Any]]) -> ItemsDagRun:
    states = {task: "running" for task, key in xcoms if key == "progress"}
    return ItemsDagRun("manual", state, states, {("plan", "return_value"): {"pods": PODS}, **xcoms})


def progress(running: int, failed: list[int]) -> dict[str, Any]:
    """Return a shard's XCom while it runs."""
    return Progress(
        count=1250,
        created=0,
        running=running,
        succeeded=0,
        failed=len(failed),
        remaining=0,
        failed_indices=compressed(failed),
        last_failure="",
        refusal="",
    ).to_json()


# ------------------------------------------------------------------ pods


@pytest.mark.parametrize("failed", [[], [3], [3, 17, 18, 19], list(range(0, 100_000, 2))])
def test_a_list_of_indices_is_read_as_it_is_written(failed: list[int]) -> None:
    ranges, more = parse_indices(compressed(failed))
    named = [index for first, last in ranges for index in range(first, last + 1)]
    assert named == failed[: len(named)]
    assert len(named) + more == len(failed)


@pytest.mark.parametrize("text", ["", "none", "1;2", "-3", "1-2-3", "9" * 40])
def test_a_text_that_is_no_list_of_indices_names_none(text: str) -> None:
    assert parse_indices(text) == ([], 0)


def test_running_pods_of_all_shards_are_added_and_failed_ones_have_their_number_in_the_run() -> None:
    run = running({0: progress(4, []), 3: progress(3, [0, 7, 8])})
    ended = {**run.xcoms, ("shard-5", "return_value"): {"failed": "2"}}
    pods = items_wall(NAME, replace(run, xcoms=ended), None).pods
    assert pods is not None
    third, fifth = first_pod(PODS, 3), first_pod(PODS, 5)
    assert (pods.running, pods.failed, pods.failed_more) == (7, 4, 0)
    assert pods.failed_pods == [str(third), f"{third + 7}-{third + 8}", str(fifth + 2)]


def test_a_shard_that_has_ended_has_no_running_pods_although_its_last_progress_had() -> None:
    ended = replace(running({0: progress(4, [5])}), states={"shard-0": "failed"})
    pods = items_wall(NAME, ended, None).pods
    assert pods is not None
    assert (pods.running, pods.failed_pods) == (0, ["5"])


def test_pods_are_unknown_if_no_task_says_anything() -> None:
    assert items_wall(NAME, dag_run(), None).pods is None


def test_the_list_of_failed_pods_is_bounded_and_the_rest_is_counted() -> None:
    failed = list(range(0, 1250, 2))
    run = running({number: progress(1, failed) for number in range(8)})
    wall = items_wall(NAME, run, None)
    pods = wall.pods
    assert pods is not None
    assert (len(pods.failed_pods), pods.failed) == (MOST_NAMED, 8 * len(failed))
    assert pods.failed_more == pods.failed - MOST_NAMED
    assert len(wall.model_dump_json()) < 1000


# ------------------------------------------------------------------ sentences


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (ItemsDagRun("manual", "running"), "is not planned yet"),
        (ItemsDagRun("manual", "queued"), "is not planned yet"),
        (ItemsDagRun("manual", "failed"), "was never planned"),
        (dag_run("success", report=REPORT), "no longer has items run"),
        (dag_run("running"), "no longer has items run"),
    ],
)
def test_a_run_of_which_redis_has_nothing_says_why(run: ItemsDagRun, sentence: str) -> None:
    wall = items_wall(NAME, run, None)
    assert sentence in wall.note
    assert wall.progress is None


def test_the_report_outlives_redis() -> None:
    report = items_wall(NAME, dag_run("success", report=REPORT), None).report
    assert report is not None
    assert (report.total, report.done, report.lost, report.doubled, report.failed) == (50, 50, 0, 0, 0)


def test_a_report_that_people_have_changed_is_no_report() -> None:
    assert items_wall(NAME, dag_run(report={"total": "many"}), None).report is None


# ------------------------------------------------------------------ the API


class Airflow:
    """What Airflow's database would answer."""

    def __init__(self) -> None:
        self.dag_run: ItemsDagRun | None = None


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    answers = Airflow()
    newest = [ItemsRunItem(items=NAME, run_id="manual", state="running", triggered=1.0)]
    monkeypatch.setattr(walls, "ask_database", lambda query: query(None))
    monkeypatch.setattr(airflow_database, "items_dag_run", lambda *_: answers.dag_run)
    monkeypatch.setattr(airflow_database, "newest_items_runs", lambda _: newest)
    return answers


@pytest.fixture
async def visitor(
    server: servers.Server, client: redis.Redis, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the wall on a real Redis, whose results are never kept."""
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_CPU", server.url)
    for access in (walls.MAY_SEE, walls.MAY_SEE_ITEMS):
        monkeypatch.setitem(walls.app.dependency_overrides, access, lambda: None)
    monkeypatch.setattr(walls.RESULTS, "_fresh_seconds", -1)
    monkeypatch.setattr(walls.RESULTS, "_wait_seconds", 60)
    airflow_app = FastAPI()
    airflow_app.mount("/cpu-wall", walls.app)
    transport = httpx.ASGITransport(airflow_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow/cpu-wall/api/") as visitor:
        yield visitor


@pytest.fixture
def commands(client: redis.Redis) -> ItemsCommands:
    """An items run of 10 pods with 5 items each."""
    commands = ItemsCommands(client, NAME, 60)
    commands.plan(5, 50, 5)
    return commands


async def ask(visitor: httpx.AsyncClient, query: str = "") -> ItemsWall:
    answer = await visitor.get(f"items/{NAME}{query}")
    assert answer.status_code == 200, answer.text
    return ItemsWall.model_validate_json(answer.content)


async def test_a_run_in_progress_shows_what_redis_has_counted(
    visitor: httpx.AsyncClient, airflow: Airflow, commands: ItemsCommands
) -> None:
    airflow.dag_run = running({0: progress(2, [])})
    for pod in range(3):
        commands.work(pod)
    wall = await ask(visitor)
    found, snapshot = wall.progress, take_items_snapshot(commands.client, NAME)
    assert found is not None
    assert (found.total, found.done, found.failed, found.pods, found.committed) == (50, 15, 0, 10, 3)
    assert (found.planned, found.ended) == (snapshot.planned, None)
    assert [(pods, items) for pods, items, _ in found.marks] == [(1, 5), (2, 10), (3, 15)]
    assert found.items_rate_since_plan == pytest.approx(15 / (found.now - found.planned))
    assert found.seconds_left is not None
    assert found.seconds_left > 0
    assert (wall.note, wall.state, wall.report) == ("", "running", None)
    assert wall.pods is not None
    assert wall.pods.running == 2


async def test_a_page_gets_only_the_marks_that_are_new(
    visitor: httpx.AsyncClient, commands: ItemsCommands
) -> None:
    commands.work(0)
    first = (await ask(visitor)).progress
    commands.work(1)
    second = (await ask(visitor, "?marks=1")).progress
    assert first is not None
    assert second is not None
    assert [len(first.marks), second.first_mark, len(second.marks)] == [1, 1, 1]
    assert second.marks[0][:2] == (2, 10)
    assert (await ask(visitor, "?marks=2")).progress.marks == []  # type: ignore[union-attr]


async def test_a_run_that_has_ended_shows_the_report(
    visitor: httpx.AsyncClient, airflow: Airflow, commands: ItemsCommands
) -> None:
    for pod in range(10):
        commands.work(pod)
    airflow.dag_run = dag_run("success", report=commands.report())
    wall = await ask(visitor)
    assert wall.report is not None
    assert wall.progress is not None
    assert (wall.report.done, wall.report.lost, wall.report.doubled, wall.report.failed) == (50, 0, 0, 0)
    assert (wall.progress.done, wall.progress.seconds_left) == (50, 0)
    assert wall.progress.ended is not None


async def test_a_run_by_hand_is_shown_without_airflow(
    visitor: httpx.AsyncClient, commands: ItemsCommands
) -> None:
    wall = await ask(visitor)
    assert (wall.run_id, wall.state, wall.pods) == (None, None, None)
    assert wall.progress is not None


async def test_a_run_that_neither_airflow_nor_redis_knows_is_404_with_a_sentence(
    visitor: httpx.AsyncClient,
) -> None:
    answer = await visitor.get("items/nobody")
    assert answer.status_code == 404
    assert "it was never planned, or it has expired" in answer.json()["detail"]


async def test_a_run_of_which_redis_has_lost_a_part_says_so(
    visitor: httpx.AsyncClient, airflow: Airflow, commands: ItemsCommands
) -> None:
    airflow.dag_run = dag_run()
    commands.work(0)
    commands.client.delete(ItemsKeys(NAME).pods)
    wall = await ask(visitor)
    assert "start another items run" in wall.note
    assert wall.progress is None


async def test_the_list_has_the_newest_items_runs(visitor: httpx.AsyncClient) -> None:
    assert [one["items"] for one in (await visitor.get("items")).json()] == [NAME]


async def test_an_answer_has_the_same_size_for_a_million_items(
    visitor: httpx.AsyncClient, airflow: Airflow, client: redis.Redis
) -> None:
    keys = ItemsKeys(NAME)
    ItemsCommands(client, NAME, 60).plan(1, 1_000_000, 100)
    client.hset(keys.facts, mapping={"committed": 9_000, "done": 900_000, "marks": 201})
    client.setrange(keys.pods, 0, b"\xff" * 1125)
    client.rpush(keys.progress, *(f"{45 * n}:{4500 * n}:{1e9 + n:.6f}" for n in range(201)))
    airflow.dag_run = running({number: progress(4, list(range(0, 1250, 2))) for number in range(8)})
    whole = await visitor.get(f"items/{NAME}")
    assert json.loads(whole.content)["progress"]["committed"] == 9_000
    assert len(whole.content) < 10_000
    assert len((await visitor.get(f"items/{NAME}?marks=201")).content) < 2_000


@pytest.mark.parametrize("path", ["items", f"items/{NAME}"])
async def test_who_may_not_see_the_runs_of_dag_items_sees_none(
    visitor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.delitem(walls.app.dependency_overrides, walls.MAY_SEE_ITEMS)
    assert (await visitor.get(path)).status_code in (401, 403)
