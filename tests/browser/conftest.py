"""A headless Chromium, logged in to a stack's Airflow. Screenshots go into --screenshots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from scripts.pictures import browser
from tests.browser.ui import Ui
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
