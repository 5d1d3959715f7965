"""What people do in Airflow's UI and on the wall, and what they see there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from scripts.local.passwords import passwords
from scripts.local.services.airflow import ADMIN
from scripts.waiting import wait_until
from tests.support.stack import Stack

PATIENCE_SECONDS = 30
WALL = "a[href$='/plugin/cpu-wall']"
"""In Airflow's menu."""
CONTRASTS = """
const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const colour = (text) => text.match(/[\\d.]+/g).map(Number);
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const found = colour(getComputedStyle(node).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found;
  }
  return [255, 255, 255];
};
const faint = [];
for (const node of document.body.querySelectorAll("*")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  if (!own || !node.checkVisibility()) continue;
  const lights = [light(colour(getComputedStyle(node).color)), light(ground(node))];
  if ((Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05) < 4.5) faint.push(node.textContent.trim());
}
return faint;
"""


@dataclass(frozen=True)
class Ui:
    """A browser's window, at an Airflow."""

    window: Chrome
    url: str
    screenshots: Path

    def log_in(self, stack: Stack) -> None:
        self.go("/")
        self.find("input[name=username]").send_keys(ADMIN)
        self.find("input[name=password]").send_keys(passwords(stack.settings.state).admin, Keys.ENTER)
        self.find(WALL)

    def go(self, path: str) -> None:
        self.window.switch_to.default_content()
        self.window.get(self.url + path)

    def all(self, css: str, text: str = "") -> list[WebElement]:
        """What is there right now and holds the text, or is called so."""
        found = self.window.find_elements(By.CSS_SELECTOR, css)
        if not text:  # asking each for its text takes long
            return found
        try:
            return [one for one in found if text in one.text or text == one.get_attribute("aria-label")]
        except StaleElementReferenceException:  # drawn anew in between
            return []

    def find(self, css: str, text: str = "", seconds: float = PATIENCE_SECONDS) -> WebElement:
        """The first of them, once it is there."""
        found: list[WebElement] = []

        def there() -> bool:
            found[:] = self.all(css, text)
            return bool(found)

        assert wait_until(there, seconds), (
            f"no {css} {text!r} on {self.window.current_url}: {self.text()[:2000]}"
        )
        return found[0]

    def click(self, css: str, text: str = "") -> None:
        """Click on it, once it can be: a page that is still being drawn may cover it."""

        def clicked() -> bool:
            try:
                self.find(css, text).click()
            except WebDriverException:
                return False
            return True

        assert wait_until(clicked, PATIENCE_SECONDS), f"{css} {text!r} cannot be clicked on"

    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script in the page returns."""
        return self.window.execute_script(script, *arguments)

    def picture(self, name: str) -> None:
        """Leave a screenshot."""
        assert self.window.save_screenshot(str(self.screenshots / f"{name}.png"))

    def complaints(self) -> list[str]:
        """What the wall's own pages have logged as errors.

        Left out is what has to do with the network's devices, as pods of a cluster on this machine make some
        come and go; and that a look takes too long on a busy machine, after which the wall looks again.
        """
        logged = self.window.get_log("browser")  # type: ignore[no-untyped-call]
        said = [
            one["message"] for one in logged if one["level"] == "SEVERE" and "/cpu-wall/" in one["message"]
        ]
        return [one for one in said if not re.search(r"net::ERR_NETWORK_CHANGED|status of 503", one)]

    def forget_complaints(self) -> None:
        self.window.get_log("browser")  # type: ignore[no-untyped-call]

    # ------------------------------------------------------------------ the form

    def open_form(self) -> None:
        self.go("/dags/cpu_start")
        self.click("button", "Trigger")
        self.find("#element_bundled")

    def paste(self, field: str, text: str) -> None:
        """Put the text into a field in place of what is there."""
        self.click(f"[name=element_{field}]")
        self.press(Keys.CONTROL, "a")
        self.window.execute_cdp_cmd("Input.insertText", {"text": text})

    def pick(self, field: str, choice: str) -> None:
        """Pick from a field's choices."""
        self.click(f"#element_{field}")
        self.click("[role=option]", choice)

    def press(self, *keys: str) -> None:
        """Press keys together, at what has the focus."""
        self.window.switch_to.active_element.send_keys(*keys)

    def trigger(self) -> str:
        """Send the form off; the new run's page is shown, and its id returned."""
        self.all("[role=dialog] button", "Trigger")[-1].click()
        assert wait_until(lambda: "/runs/" in self.window.current_url, PATIENCE_SECONDS)
        return self.window.current_url.split("/runs/")[1].split("?")[0]

    # ------------------------------------------------------------------ the wall

    def open_wall(self, query: str = "") -> None:
        """The wall by itself, without Airflow's frame around it."""
        self.go(f"/cpu-wall/{query}")
        self.find("#tiles .tile")

    def enter_frame(self) -> None:
        """From here on, what is in Airflow's frame."""
        self.window.switch_to.frame(self.find("iframe"))
        self.find("#tiles .tile")

    def leave_frame(self) -> None:
        self.window.switch_to.default_content()

    def choose_start(self, start: str) -> None:
        """Choose a start run in the wall's list."""
        self.find("#start").click()  # which looks for newer ones
        self.find(f"#start option[value='{start}']")

        def selected() -> bool:
            try:
                Select(self.find("#start")).select_by_value(start)
            except StaleElementReferenceException:  # the list was drawn anew in between
                return False
            return True

        assert wait_until(selected, PATIENCE_SECONDS)
        self.find(f"#start option[value='{start}']:checked")

    def contrasts(self) -> list[str]:
        """Texts that stand out too little from what is behind them: by less than 4.5 to 1, as WCAG 2 asks."""
        return list(self.run(CONTRASTS))

    def tiles(self) -> dict[int, list[str]]:
        """CPU → the lines of its tile, of the tiles that are shown."""
        shown = self.run(
            "return [...document.querySelectorAll('#tiles li:not([hidden]) .tile')]"
            ".map((tile) => [Number(tile.dataset.cpu),"
            "  [...tile.querySelectorAll('*')].map((part) => part.textContent)])"
        )
        return dict(shown)

    def fact(self, name: str) -> str:
        return self.find(f"#{name}").text
