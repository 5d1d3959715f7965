"""Airflow at an address with a path, as behind a reverse proxy: all links of the wall and to it work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from selenium import webdriver

from scripts.bench.stacks import free_ports
from scripts.local.demo import wall_url
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
    """The run of cpu_start, and the start run."""
    run = proxied.start(program=EXAMPLE, stop_at_first_answer=False)
    return run, proxied.finish(run)[1]


@pytest.fixture(scope="module")
def at_the_path(chromium: webdriver.Chrome, proxied: Stack, screenshots: Path) -> Ui:
    chromium.delete_all_cookies()
    ui = Ui(chromium, proxied.settings.ui_url, screenshots)
    ui.log_in(proxied)
    return ui


@pytest.fixture
def visitor(at_the_path: Ui) -> Iterator[Ui]:
    """Afterwards the browser has nothing to complain about."""
    at_the_path.go("/")
    at_the_path.forget_complaints()
    yield at_the_path
    complaints = at_the_path.complaints()
    assert complaints == []


def is_at(ui: Ui, path: str) -> bool:
    return wait_until(lambda: unquote(ui.window.current_url) == f"{ui.url}{path}", 30)


def test_the_menu_leads_to_the_wall_and_the_wall_to_the_dag_runs(
    visitor: Ui, finished: tuple[str, str]
) -> None:
    run, start = finished
    visitor.click(WALL)
    visitor.enter_frame()
    visitor.choose_start(start)
    visitor.click("#dag-run a")
    assert is_at(visitor, f"/dags/cpu_start/runs/{run}")
    visitor.leave_frame()
    visitor.find("body", "stored 9 instructions")

    visitor.click(WALL)
    visitor.enter_frame()
    visitor.choose_start(start)
    visitor.click(".tile[data-cpu='8']")
    visitor.click("#runs td a", "cycle-2")
    assert is_at(visitor, f"/dags/cpu/runs/{start}.cpu-8.cycle-2")
    visitor.leave_frame()
    visitor.find("body", "acc +1 → acc 1, pc 2")


def test_a_dag_run_s_tab_leads_to_its_cpu(visitor: Ui, finished: tuple[str, str]) -> None:
    visitor.go(f"/dags/cpu/runs/{finished[1]}.cpu-8.cycle-2")
    visitor.click("a[href$='cpu-wall-of-run']")
    visitor.enter_frame()
    visitor.find("#cpu-name", CPU_8)


def test_the_address_that_airflow_shows_for_the_wall_leads_to_the_same_cpu(
    visitor: Ui, finished: tuple[str, str]
) -> None:
    visitor.click(WALL)
    visitor.enter_frame()
    visitor.choose_start(finished[1])
    visitor.click(".tile[data-cpu='8']")
    assert wait_until(lambda: "cpu=8" in visitor.window.current_url, 30)
    visitor.leave_frame()
    visitor.window.refresh()
    visitor.enter_frame()
    visitor.find("#cpu-name", CPU_8)


def test_the_link_that_make_demo_prints_leads_to_the_wall(visitor: Ui, finished: tuple[str, str]) -> None:
    visitor.window.get(wall_url(visitor.url, finished[0]))
    visitor.enter_frame()
    visitor.find("#start option:checked", finished[1])


def test_a_link_in_slack_leads_to_the_dag_run(visitor: Ui, proxied: Stack, finished: tuple[str, str]) -> None:
    answer = f"{visitor.url}/dags/cpu/runs/{finished[1]}.cpu-8.cycle-6"
    assert any(answer in post.shown for post in proxied.posts(finished[1]))
    visitor.window.get(answer)
    visitor.find("body", "acc +6 → acc 8, pc 9, past the last instruction: end")


def test_the_wall_by_itself_has_its_picture_and_its_way_to_the_form(
    visitor: Ui, finished: tuple[str, str]
) -> None:
    visitor.open_wall(f"?start={finished[1]}")
    visitor.click("#open-picture")
    width = "return document.querySelector('#picture-image').naturalWidth"
    assert wait_until(lambda: visitor.run(width) > 300, 60)
    form = visitor.run("return document.querySelector('#no-start-runs a').href")
    assert form == f"{visitor.url}/dags/cpu_start"


def test_the_dag_s_documentation_leads_to_the_other_dags(visitor: Ui) -> None:
    visitor.go("/dags/cpu_start")
    visitor.click("button", "Dag Docs")
    other = visitor.find("[role=dialog] a", "cpu_watch")
    assert other.get_attribute("href") == f"{visitor.url}/dags/cpu_watch"
