"""The actions of a person in Airflow's UI and on the wall, and what is shown there."""

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

PATIENCE_SECONDS = 60
WALL = "a[href$='/plugin/cpu-wall']"
"""The wall's entry in Airflow's menu."""
LOW_CONTRASTS = """
const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const channels = (text) => text.match(/[\\d.]+/g).map(Number);
const background = (node) => {
  for (; node; node = node.parentElement) {
    const found = channels(getComputedStyle(node).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found;
  }
  return [255, 255, 255];
};
const faint = [];
for (const node of document.body.querySelectorAll("*")) {
  const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  if (!hasText || !node.checkVisibility()) continue;
  const text = luminance(channels(getComputedStyle(node).color));
  const behind = luminance(background(node));
  const contrast = (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
  if (contrast < 4.5) faint.push(node.textContent.trim());
}
return faint;
"""


@dataclass(frozen=True)
class Ui:
    """A window of the browser, and the address of an Airflow."""

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
        """Return the elements that contain the text, or have it as their label; do not wait for any."""
        found = self.window.find_elements(By.CSS_SELECTOR, css)
        if not text:  # it takes long to ask each element for its text
            return found
        try:
            return [one for one in found if text in one.text or text == one.get_attribute("aria-label")]
        except StaleElementReferenceException:  # the page has replaced it in the meantime
            return []

    def find(self, css: str, text: str = "", seconds: float = PATIENCE_SECONDS) -> WebElement:
        """Wait for such an element, as `all` finds it, and return the first one."""
        found: list[WebElement] = []

        def exists() -> bool:
            found[:] = self.all(css, text)
            return bool(found)

        assert wait_until(exists, seconds), (
            f"no {css} {text!r} on {self.window.current_url}: {self.text()[:2000]}"
        )
        return found[0]

    def click(self, css: str, text: str = "") -> None:
        """Wait until the element can be clicked, as a page that is loading may cover it, and click it."""

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
        """Run a script in the page and return its result."""
        return self.window.execute_script(script, *arguments)

    def screenshot(self, name: str) -> None:
        assert self.window.save_screenshot(str(self.screenshots / f"{name}.png"))

    def console_errors(self) -> list[str]:
        """Return the errors that the wall has logged in the browser's console.

        Left out are those of network devices, which come and go with the pods of a cluster on this machine,
        and the status 503, which a busy machine may cause and after which the wall asks again.
        """
        logged = self.window.get_log("browser")  # type: ignore[no-untyped-call]
        errors = [
            one["message"] for one in logged if one["level"] == "SEVERE" and "/cpu-wall/" in one["message"]
        ]
        return [one for one in errors if not re.search(r"net::ERR_NETWORK_CHANGED|status of 503", one)]

    def clear_console_errors(self) -> None:
        self.window.get_log("browser")  # type: ignore[no-untyped-call]

    # ------------------------------------------------------------------ the form

    def open_form(self) -> None:
        self.go("/dags/cpu_start")
        self.click("button", "Trigger")
        self.find("#element_bundled")

    def paste(self, field: str, text: str) -> None:
        """Replace the text of a field."""
        self.click(f"[name=element_{field}]")
        self.press(Keys.CONTROL, "a")
        self.window.execute_cdp_cmd("Input.insertText", {"text": text})

    def pick(self, field: str, choice: str) -> None:
        """Choose an option of a field."""
        self.click(f"#element_{field}")
        self.click("[role=option]", choice)

    def press(self, *keys: str) -> None:
        """Press keys together, in the element that has the focus."""
        self.window.switch_to.active_element.send_keys(*keys)

    def trigger(self) -> str:
        """Submit the form, wait for the page of the new DAG run, and return its id."""
        self.all("[role=dialog] button", "Trigger")[-1].click()
        assert wait_until(lambda: "/runs/" in self.window.current_url, PATIENCE_SECONDS)
        return self.window.current_url.split("/runs/")[1].split("?")[0]

    # ------------------------------------------------------------------ the wall

    def open_wall(self, query: str = "") -> None:
        """Open the wall without Airflow's frame around it."""
        self.go(f"/cpu-wall/{query}")
        self.find("#tiles .tile")

    def enter_frame(self, shows: str = "#tiles .tile") -> None:
        """Use what is in Airflow's frame from now on, once it shows such an element."""
        self.window.switch_to.frame(self.find("iframe"))
        self.find(shows)

    def leave_frame(self) -> None:
        self.window.switch_to.default_content()

    def choose_start(self, start: str) -> None:
        """Choose a start run in the wall's list."""
        self.find("#start").click()  # which loads the newest ones
        self.find(f"#start option[value='{start}']")

        def selected() -> bool:
            try:
                Select(self.find("#start")).select_by_value(start)
            except StaleElementReferenceException:  # the list was loaded again in the meantime
                return False
            return True

        assert wait_until(selected, PATIENCE_SECONDS)
        self.find(f"#start option[value='{start}']:checked")

    def choose(self, css: str, value: str) -> None:
        """Choose an option of a list on the wall by its value."""
        Select(self.find(css)).select_by_value(value)

    def low_contrasts(self) -> list[str]:
        """Return the texts whose contrast is below the 4.5 to 1 that WCAG 2 asks for."""
        return list(self.run(LOW_CONTRASTS))

    def tiles(self) -> dict[int, list[str]]:
        """Return the texts of each tile that is shown, by CPU number."""
        shown = self.run(
            "return [...document.querySelectorAll('#tiles li:not([hidden]) .tile')]"
            ".map((tile) => [Number(tile.dataset.cpu),"
            "  [...tile.querySelectorAll('*')].map((part) => part.textContent)])"
        )
        return dict(shown)

    def fact(self, name: str) -> str:
        return self.find(f"#{name}").text
