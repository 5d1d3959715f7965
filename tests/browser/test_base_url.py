"""Airflow at an address with a path, as behind a reverse proxy: the links from and to the wall work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from selenium import webdriver

from scripts.local.demo import wall_url
from scripts.local.ports import free_ports
from scripts.waiting import wait_until
from tests.browser.ui import WALL, Ui
from tests.support.slack.server import SlackServer
from tests.support.solver import EXAMPLE
from tests.support.stack import Stack, running_stack

CPU_8 = "CPU 8: line 8"


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    [port] = free_ports(1)
    options = [f"--port={port}", f"--base-url=http://127.0.0.1:{port}/airflow"]
    with (
        SlackServer() as slack,
        running_stack(tmp_path_factory.mktemp("proxied") / "state", slack, options) as up,
    ):
        yield up


@pytest.fixture(scope="module")
def finished(proxied: Stack) -> tuple[str, str]:
    """The ids of a run of cpu_start and of its start run, which has ended."""
    run = proxied.start(program=EXAMPLE, stop_at_first_answer=False)
    return run, proxied.finish(run)[1]


@pytest.fixture(scope="module")
def logged_in(chromium: webdriver.Chrome, proxied: Stack, screenshots: Path) -> Ui:
    chromium.delete_all_cookies()
    ui = Ui(chromium, proxied.settings.ui_url, screenshots)
    ui.log_in(proxied)
    return ui


@pytest.fixture
def ui(logged_in: Ui) -> Iterator[Ui]:
    """The browser at Airflow's first page. An error in the console fails the test."""
    logged_in.go("/")
    logged_in.clear_console_errors()
    yield logged_in
    errors = logged_in.console_errors()
    assert errors == []


def is_at(ui: Ui, path: str) -> bool:
    return wait_until(lambda: unquote(ui.window.current_url) == f"{ui.url}{path}", 30)


def test_airflows_menu_leads_to_the_wall_and_the_wall_to_the_dag_runs(
    ui: Ui, finished: tuple[str, str]
) -> None:
    run, start = finished
    ui.click(WALL)
    ui.enter_frame()
    ui.choose_start(start)
    ui.click("#dag-run a")
    assert is_at(ui, f"/dags/cpu_start/runs/{run}")
    ui.leave_frame()
    ui.find("body", "9 instructions, 5 CPUs · Part 1: 5")

    ui.click(WALL)
    ui.enter_frame()
    ui.choose_start(start)
    ui.click(".tile[data-cpu='8']")
    ui.click("#runs td a", "cycle-2")
    assert is_at(ui, f"/dags/cpu/runs/{start}.cpu-8.cycle-2")
    ui.leave_frame()
    ui.find("body", "acc +1 → acc 1, pc 2")


def test_the_tab_of_a_dag_run_shows_its_cpu(ui: Ui, finished: tuple[str, str]) -> None:
    ui.go(f"/dags/cpu/runs/{finished[1]}.cpu-8.cycle-2")
    ui.click("a[href$='cpu-wall-of-run']")
    ui.enter_frame()
    ui.find("#cpu-name", CPU_8)


def test_reloading_the_framed_wall_shows_the_same_cpu(ui: Ui, finished: tuple[str, str]) -> None:
    ui.click(WALL)
    ui.enter_frame()
    ui.choose_start(finished[1])
    ui.click(".tile[data-cpu='8']")
    assert wait_until(lambda: "cpu=8" in ui.window.current_url, 30)
    ui.leave_frame()
    ui.window.refresh()
    ui.enter_frame()
    ui.find("#cpu-name", CPU_8)


def test_the_link_that_make_demo_prints_shows_its_start_run(ui: Ui, finished: tuple[str, str]) -> None:
    ui.window.get(wall_url(ui.url, finished[0]))
    ui.enter_frame()
    ui.find("#start option:checked", finished[1])


def test_a_link_in_slack_leads_to_the_dag_run(ui: Ui, proxied: Stack, finished: tuple[str, str]) -> None:
    answer = f"{ui.url}/dags/cpu/runs/{finished[1]}.cpu-8.cycle-6"
    assert any(answer in post.shown for post in proxied.posts(finished[1]))
    ui.window.get(answer)
    ui.find("body", "acc +6 → acc 8, pc 9, past the last instruction: end")


def test_the_wall_without_airflows_frame_has_its_picture_and_its_link_to_the_form(
    ui: Ui, finished: tuple[str, str]
) -> None:
    ui.open_wall(f"?start={finished[1]}")
    ui.click("#open-picture")
    width = "return document.querySelector('#picture-image').naturalWidth"
    assert wait_until(lambda: ui.run(width) > 300, 60)
    form = ui.run("return document.querySelector('#no-start-runs a').href")
    assert form == f"{ui.url}/dags/cpu_start"


def test_the_documentation_of_a_dag_links_to_the_other_dags(ui: Ui) -> None:
    ui.go("/dags/cpu_start")
    ui.click("button", "Dag Docs")
    other = ui.find("[role=dialog] a", "cpu_watch")
    assert other.get_attribute("href") == f"{ui.url}/dags/cpu_watch"
