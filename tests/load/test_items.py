"""A million items take little of Airflow and Redis, and the pages of their run stay fast."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from cpu.keys import ItemsKeys
from scripts.bench.cpu_time import roots
from scripts.bench.memory import memory_of, peak_memory
from scripts.bench.sets import AIRFLOW
from scripts.local.items import OVER, Report, name_of
from scripts.pictures import browser
from scripts.waiting import wait_until
from tests.browser.ui import Ui
from tests.support.stack import Stack

ITEMS = 1_000_000
PATIENCE_SECONDS = 1500
PAGE_SECONDS = 2
MOST_TASK_INSTANCES = 1010
MOST_MEMORY = 100e6
MOST_IN_REDIS = 1e6


@pytest.fixture
def ui(stack: Stack, tmp_path: Path) -> Iterator[Ui]:
    with browser.chromium(tmp_path / "profile", width=1400, height=1000) as window:
        ui = Ui(window, stack.settings.ui_url, tmp_path)
        ui.log_in(stack)
        yield ui


def page_seconds(ui: Ui, path: str, css: str, text: str) -> float:
    """Return how long it takes to open a page and to see such an element."""
    began = time.monotonic()
    ui.go(path)
    ui.find(css, text)
    return time.monotonic() - began


def test_a_million_items_take_little_of_airflow_and_redis_and_their_pages_are_fast(
    stack: Stack, ui: Ui
) -> None:
    airflow = [pid for pid, name in roots(stack.settings).items() if name in AIRFLOW]
    with peak_memory(lambda: memory_of(airflow)) as memory:
        run = stack.api.trigger("items", {"total": ITEMS})
        run_id, name = run["dag_run_id"], name_of(run)
        assert wait_until(lambda: stack.api.run("items", run_id)["state"] in OVER, PATIENCE_SECONDS, 2)
    report = Report(stack.api.xcom("items", run_id, "report"))
    with stack.redis as client:
        in_redis = sum(client.memory_usage(key, samples=0) or 0 for key in ItemsKeys(name).all)
    tasks = len(stack.api.tasks("items", run_id))
    page = f"/dags/items/runs/{quote(run_id, safe='')}"
    pages = {
        "the DAG": page_seconds(ui, "/dags/items", "body", "Last Dag Run"),
        "the DAG run": page_seconds(ui, page, "body", "shard-7"),
        "a task's log": page_seconds(ui, f"{page}/tasks/shard-7", "body", "pods"),
        "a task's XComs": page_seconds(ui, f"{page}/tasks/shard-7/xcom", "body", "return_value"),
        "the wall": page_seconds(ui, f"/cpu-wall/?items={name}", "#report-count", f"{ITEMS} items"),
    }
    print("", *report.lines(), sep="\n")
    kept = f"{memory.above_idle / 1e6:.0f} MB above idle, {in_redis / 1e3:.0f} KB in Redis"
    print(f"{tasks} task instances, {kept}")
    print(*(f"{seconds:.2f} s for {shown}" for shown, seconds in pages.items()), sep="\n", flush=True)
    assert report.lines()[0] == f"{ITEMS} items: {ITEMS} done, 0 lost, 0 doubled, 0 failed"
    assert tasks <= MOST_TASK_INSTANCES
    assert memory.above_idle <= MOST_MEMORY
    assert in_redis <= MOST_IN_REDIS
    assert {shown for shown, seconds in pages.items() if seconds > PAGE_SECONDS} == set()
