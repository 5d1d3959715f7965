"""A headless Chromium, logged in to a stack's Airflow. Screenshots go into --screenshots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from selenium import webdriver

from cpu.redis_client import connect
from scripts.pictures import browser
from tests.browser.ui import Ui
from tests.browser.wall_server import WallServer, wall_server
from tests.support import redis_server
from tests.support.slack.server import SlackServer
from tests.support.stack import Stack, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    state = tmp_path_factory.mktemp("browser") / "state"
    with SlackServer() as slack, running_stack(state, slack, []) as up:
        yield up


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    profile = tmp_path_factory.mktemp("chromium")
    still = ["--force-prefers-reduced-motion"]
    with browser.chromium(profile, width=1400, height=1000, arguments=still) as window:
        yield window


@pytest.fixture(scope="session")
def screenshots(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = pytestconfig.getoption("--screenshots")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def logged_in(chromium: webdriver.Chrome, stack: Stack, screenshots: Path) -> Ui:
    """The browser, logged in with the password that `make demo` prints."""
    ui = Ui(chromium, stack.settings.ui_url, screenshots)
    ui.log_in(stack)
    return ui


@pytest.fixture
def ui(logged_in: Ui) -> Iterator[Ui]:
    """The logged-in browser at Airflow's first page. An error in the console fails the test."""
    logged_in.go("/")
    logged_in.clear_console_errors()
    yield logged_in
    errors = logged_in.console_errors()
    assert errors == []


# For the wall by itself, without Airflow: a Redis, which is empty at first, and a server.


@pytest.fixture(scope="module")
def server() -> Iterator[redis_server.Server]:
    with redis_server.running(port=redis_server.free_port()) as running:
        yield running


@pytest.fixture
def client(server: redis_server.Server) -> Iterator[redis.Redis]:
    with connect(server.url) as client:
        assert isinstance(client, redis.Redis)
        client.flushall()
        yield client


@pytest.fixture(scope="module")
def module_wall(server: redis_server.Server) -> Iterator[WallServer]:
    with wall_server(server) as running:
        yield running


@pytest.fixture
def wall(module_wall: WallServer) -> WallServer:
    """A wall whose Airflow has run nothing."""
    module_wall.answers.starts.clear()
    module_wall.answers.items.clear()
    return module_wall


@pytest.fixture
def wall_ui(chromium: webdriver.Chrome, wall: WallServer, screenshots: Path) -> Iterator[Ui]:
    """The browser for that wall. An error in the console fails the test."""
    found = Ui(chromium, wall.url, screenshots)
    found.clear_console_errors()
    yield found
    assert found.console_errors() == []
    found.go("/cpu-wall/static/theme.js")  # so that no page polls between tests
