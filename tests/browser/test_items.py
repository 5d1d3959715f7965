"""The wall's page of an items run, while a test executes its pods; and of runs that it cannot show."""

from __future__ import annotations

import pytest
import redis

from cpu.items_commands import ItemsCommands
from cpu.keys import ItemsKeys
from scripts.waiting import wait_until
from scripts.wall.items import ItemsDagRun
from tests.browser.ui import Ui
from tests.browser.wall_server import WallServer
from tests.support.start_run_client import StartRunClient

NAME = "20261126-070809-000012"
PLAN = ("plan", "return_value")
PATIENCE_SECONDS = 30


@pytest.fixture
def ui(wall_ui: Ui) -> Ui:
    return wall_ui


@pytest.fixture
def commands(client: redis.Redis, wall: WallServer) -> ItemsCommands:
    """An items run of 10 pods with 100 items each, which Airflow runs."""
    commands = ItemsCommands(client, NAME, 600)
    plan = commands.plan(5, 1000, 100)
    wall.answers.items[NAME] = ItemsDagRun("manual-1", "running", {}, {PLAN: plan})
    return commands


def says(wall: WallServer, *, running: int = 0, failed: str = "", **results: object) -> None:
    """Have the run's tasks report their pods."""
    before = wall.answers.items[NAME]
    shard = {"running": running, "failed_indices": failed}
    xcoms = {**before.xcoms, ("shard-1", "progress"): shard}
    xcoms |= {(task, "return_value"): dict(result) for task, result in results.items()}  # type: ignore[call-overload]
    state = "success" if "report" in results else before.state
    wall.answers.items[NAME] = ItemsDagRun(before.run_id, state, {"shard-1": "running"}, xcoms)


def text_is(ui: Ui, name: str, wanted: str) -> bool:
    return wait_until(lambda: ui.fact(name) == wanted, PATIENCE_SECONDS)


def test_a_run_is_watched_from_its_link_to_its_report(
    ui: Ui, wall: WallServer, commands: ItemsCommands
) -> None:
    says(wall, running=4)
    ui.go("/cpu-wall/?run=manual-1")
    ui.find("#start option:checked", NAME)
    assert text_is(ui, "items-done", "0")
    assert text_is(ui, "pods-running", "4")
    assert not ui.find("#tabs").is_displayed()
    for pod in range(3):
        commands.work(pod)
    assert text_is(ui, "items-done", "300")
    assert ui.fact("items-total") == "of 1,000, 30.0 %"
    assert ui.run("return document.querySelector('#items-progress').position") == pytest.approx(0.3)
    assert ui.fact("pods-done") == "3 of 10"
    for name in ("items-rate", "items-rate-since-plan", "pods-rate", "pods-rate-since-plan"):
        assert float(ui.fact(name).replace(",", "")) > 0
    assert ui.fact("items-left") != "–"
    ui.find("#items-strip[aria-label$=': 300 of 1,000']")
    assert not ui.find("#failed-pods").is_displayed()
    says(wall, running=3, failed="0,1-4 and 2000 more")
    assert text_is(ui, "failed-pods-list", "1, 2-5 and 2,000 more")
    assert ui.fact("pods-failed") == "2,005"
    ui.screenshot("items-at-work")
    for pod in range(3, 10):
        commands.work(pod)
    says(wall, report=commands.report())
    assert text_is(ui, "report-count", "1000 items: 1000 done, 0 lost, 0 doubled, 0 failed")
    assert "pods/s, 10 pods" in ui.fact("report-rates")
    assert (ui.fact("items-left"), ui.fact("pods-rate"), ui.fact("pods-failed")) == ("0 s", "–", "0")
    assert ui.fact("dag-run") == "DAG run of items: success"
    ui.screenshot("items-done")


def test_a_poll_gets_only_the_marks_that_are_new(ui: Ui, commands: ItemsCommands) -> None:
    commands.work(0)
    ui.go(f"/cpu-wall/?items={NAME}")
    assert text_is(ui, "items-done", "100")
    ui.run(
        "const before = window.fetch; window.got = [];"
        "window.fetch = async (...request) => {"
        "  const response = await before(...request);"
        "  if (request[0].includes('?marks='))"
        "    response.clone().json().then((run) => window.got.push(run.progress.marks.length));"
        "  return response;"
        "}"
    )
    assert wait_until(lambda: ui.run("return window.got.length >= 2"), PATIENCE_SECONDS)
    commands.work(1)
    assert text_is(ui, "items-done", "200")
    assert wait_until(lambda: ui.run("return window.got.at(-1) === 0"), PATIENCE_SECONDS)
    assert set(ui.run("return window.got")) == {0, 1}


def test_a_run_that_is_planned_again_is_shown_anew(ui: Ui, commands: ItemsCommands) -> None:
    commands.work(0)
    ui.go(f"/cpu-wall/?items={NAME}")
    assert text_is(ui, "items-done", "100")
    commands.client.delete(*ItemsKeys(NAME).all)
    commands.plan(5, 20, 10)
    commands.work(1)
    assert text_is(ui, "items-total", "of 20, 50.0 %")
    ui.find("#items-strip[aria-label$=': 10 of 20']")
    assert ui.run("return document.querySelector('.items-path').getAttribute('d').split('L').length") == 2


def test_people_choose_between_items_runs_and_start_runs(
    ui: Ui, wall: WallServer, commands: ItemsCommands, start_run: StartRunClient
) -> None:
    start_run.store_text()
    wall.answers.starts[:] = [start_run.start]
    ui.open_wall()
    assert not ui.find("#items-run").is_displayed()
    ui.choose_start(f"items:{NAME}")
    assert text_is(ui, "items-total", "of 1,000, 0.0 %")
    assert not ui.find("#tiles").is_displayed()
    assert f"items={NAME}" in ui.window.current_url
    assert "start=" not in ui.window.current_url
    ui.window.refresh()
    assert text_is(ui, "items-total", "of 1,000, 0.0 %")
    ui.choose_start(start_run.start)
    assert wait_until(lambda: ui.find("#tiles").is_displayed(), PATIENCE_SECONDS)
    assert not ui.find("#items-run").is_displayed()


@pytest.mark.parametrize(
    ("dag_run", "sentence"),
    [
        (ItemsDagRun("manual-1", "running"), f"Items run {NAME} is not planned yet."),
        (ItemsDagRun("manual-1", "failed"), "was never planned: its DAG run ended before"),
        (ItemsDagRun("manual-1", "success", {}, {PLAN: {"pods": 10}}), "it has expired"),
    ],
)
def test_a_run_of_which_redis_has_nothing_says_why(
    ui: Ui, wall: WallServer, client: redis.Redis, dag_run: ItemsDagRun, sentence: str
) -> None:
    wall.answers.items[NAME] = dag_run
    ui.go("/cpu-wall/?run=manual-1")
    ui.find("#items-note", sentence)
    assert ui.fact("items-done") == "–"


def test_a_run_that_nobody_knows_says_so(ui: Ui, client: redis.Redis) -> None:
    ui.go("/cpu-wall/?items=nobody")
    ui.find("#error", "items run nobody is not kept: it was never planned, or it has expired")
    ui.clear_console_errors()  # of the refused request


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_a_phone_and_has_enough_contrast(
    ui: Ui, wall: WallServer, commands: ItemsCommands, theme: str
) -> None:
    commands.work(0)
    says(wall, running=4, failed=",".join(str(2 * number) for number in range(60)), report=commands.report())
    ui.go("/cpu-wall/static/theme.js")
    ui.run("localStorage.setItem('theme', arguments[0])", theme)
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    ui.window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        ui.go(f"/cpu-wall/?items={NAME}")
        ui.find("#report-count", "1000 items: 100 done, 900 lost")
        assert not ui.run("return document.documentElement.scrollWidth > innerWidth")
        ui.screenshot(f"items-phone-{theme}")
    finally:
        ui.window.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert ui.low_contrasts() == []
    ui.screenshot(f"items-{theme}")
    ui.run("localStorage.removeItem('theme')")
