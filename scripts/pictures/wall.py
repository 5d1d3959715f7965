"""The wall's page in Airflow's UI: screenshots of a run from its beginning to its end, and of one CPU."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from scripts.local.demo import wall_url
from scripts.local.demo_run import DemoRun
from scripts.pictures.animation import Frame, Unsuitable
from scripts.waiting import wait_until

PATIENCE_SECONDS = 60.0
RUN_SECONDS = 300.0
"""How long the run may take."""
FRAME_SECONDS = 0.5
"""The time between two screenshots."""
ASK_SECONDS = 2.0
"""The time between two questions to Airflow whether the run has ended."""


class WallPages:
    """The pages of a wall in a browser. Raises Unsuitable if one does not show what it should."""

    def __init__(self, window: Chrome, ui_url: str) -> None:
        self._window = window
        self._ui_url = ui_url

    def log_in(self, user: str, password: str) -> None:
        """Log in to Airflow."""
        self._window.get(self._ui_url)
        self._wait_for("input[name=username]", "Airflow's login")
        for name, text in (("username", user), ("password", password + Keys.ENTER)):
            self._window.find_element(By.CSS_SELECTOR, f"input[name={name}]").send_keys(text)
        self._wait_for("a[href$='/plugin/cpu-wall']", "the wall in Airflow's menu")

    def watch(self, run: DemoRun) -> list[Frame]:
        """Take screenshots of the wall until the run has ended."""
        self._open(wall_url(self._ui_url, run.run), "#tiles .tile")
        if not wait_until(run.is_stored, PATIENCE_SECONDS):
            raise Unsuitable("the program is not stored")
        frames, asked, has_ended = [], 0.0, False
        deadline = time.monotonic() + RUN_SECONDS
        while not has_ended:
            began = time.monotonic()
            if began > deadline:
                raise Unsuitable(f"the run has not ended within {RUN_SECONDS:.0f} seconds")
            frames.append(self._screenshot())
            if began - asked >= ASK_SECONDS:
                run.raise_if_failed()
                asked, has_ended = began, run.has_ended()
            time.sleep(max(0.0, began + FRAME_SECONDS - time.monotonic()))
        time.sleep(2 * ASK_SECONDS)  # the page asks once a second
        return [*frames, self._screenshot()]

    def open_cpu(self, start: str, cpu: int) -> Frame:
        """Take a screenshot of a CPU in detail."""
        path = urlsplit(self._ui_url).path
        query = f"?start={start}&cpu={cpu}"
        self._open(f"{self._ui_url}/plugin/cpu-wall{path}/cpu-wall/{query}", "dialog[open] td a")
        return self._screenshot()

    def _open(self, url: str, css: str) -> None:
        """Open a page of the wall and wait for something in it."""
        self._window.get(url)
        self._wait_for("iframe", "the wall's frame")
        self._window.switch_to.frame(self._window.find_element(By.CSS_SELECTOR, "iframe"))
        self._wait_for(css, f"{css} on the wall")
        self._window.switch_to.default_content()

    def _wait_for(self, css: str, what: str) -> None:
        def is_there() -> bool:
            try:
                return self._window.find_element(By.CSS_SELECTOR, css).is_displayed()
            except WebDriverException:
                return False

        if not wait_until(is_there, PATIENCE_SECONDS):
            raise Unsuitable(f"{what} does not appear within {PATIENCE_SECONDS:.0f} seconds")

    def _screenshot(self) -> Frame:
        taken = time.monotonic()
        return Frame(self._window.get_screenshot_as_png(), taken)
