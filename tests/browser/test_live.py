"""The wall's page by itself, while a test executes the cycles: movement, order, address, phone, load."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest
import redis
from fastapi import HTTPException
from selenium.webdriver.common.keys import Keys

from cpu.keys import Keys as RedisKeys
from scripts.waiting import wait_until
from scripts.wall import shooting
from tests.browser.ui import Ui
from tests.browser.wall_server import WallServer
from tests.support.solver import EXAMPLE
from tests.support.start_run_client import StartRunClient

PATIENCE_SECONDS = 30
LITTLE = {"large": 0.1, "small": 0.17}
"""The share of a core that the browser may need, by size of tiles: twice what it needed on two busy cores,
5.0 % for 300 large tiles and 8.5 % for 2,000 small ones."""


@pytest.fixture
def ui(wall_ui: Ui) -> Ui:
    return wall_ui


@pytest.fixture
def example(start_run: StartRunClient, wall: WallServer) -> StartRunClient:
    """A start run of the example, stored and nothing more."""
    start_run.store_text(keep_going=True)
    wall.answers.starts[:] = [start_run.start]
    return start_run


def lit(ui: Ui) -> set[int]:
    """Return the CPUs that have lit up since the page was opened, or since `watch_lights` was called."""
    return set(ui.run("return [...window.lit]"))


def watch_lights(ui: Ui) -> None:
    ui.run(
        "window.lit = new Set();"
        "new MutationObserver((changes) => changes.forEach(({ target }) => {"
        "  if (target.classList.contains('lit')) window.lit.add(Number(target.dataset.cpu));"
        "})).observe(document.querySelector('#tiles'), { subtree: true, attributeFilter: ['class'] })"
    )


def wait_for_polls(ui: Ui, count: int) -> None:
    """Wait until the page has polled so often. The page says when: asking it would cost the browser time."""
    ui.window.set_script_timeout(PATIENCE_SECONDS)
    ui.window.execute_async_script(
        "const [count, done] = arguments;"
        "const root = document.documentElement;"
        "const enough = Number(root.dataset.polls ?? 0) + count;"
        "const observer = new MutationObserver(() => {"
        "  if (Number(root.dataset.polls) < enough) return;"
        "  observer.disconnect();"
        "  done();"
        "});"
        "observer.observe(root, { attributeFilter: ['data-polls'] })",
        count,
    )


def order(ui: Ui) -> list[int]:
    """Return the CPU numbers of the tiles, in the order of the page."""
    return list(
        ui.run("return [...document.querySelectorAll('.tile')].map((one) => Number(one.dataset.cpu))")
    )


def query(ui: Ui) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(ui.window.current_url).query).items()}


# ------------------------------------------------------------------ movement


def test_a_cpu_lights_up_when_it_has_executed_and_goes_out_again(ui: Ui, example: StartRunClient) -> None:
    for cpu in (0, 1, 8):
        example.load(cpu)
    ui.open_wall(f"?start={example.start}")
    watch_lights(ui)
    wait_for_polls(ui, 2)
    assert lit(ui) == set()
    example.execute(8, 1, 1)
    assert wait_until(lambda: lit(ui) == {8}, PATIENCE_SECONDS)
    assert wait_until(lambda: not ui.all(".tile.lit"), PATIENCE_SECONDS)
    wait_for_polls(ui, 2)
    assert lit(ui) == {8}
    assert "1 cycle" in ui.tiles()[8]


def test_a_poll_gets_only_what_has_changed(ui: Ui, example: StartRunClient) -> None:
    for cpu in (0, 1, 8):
        example.load(cpu)
    ui.open_wall(f"?start={example.start}")
    ui.run(
        "const before = window.fetch; window.got = [];"
        "window.fetch = async (...request) => {"
        "  const response = await before(...request);"
        "  if (request[0].includes('?since='))"
        "    response.clone().json().then((wall) => window.got.push(wall.cpus.map((cpu) => cpu.cpu)));"
        "  return response;"
        "}"
    )
    assert wait_until(lambda: ui.run("return window.got.length >= 2"), PATIENCE_SECONDS)
    example.execute(0, 1, 2)
    assert wait_until(lambda: [0] in ui.run("return window.got"), PATIENCE_SECONDS)
    assert {number for cpus in ui.run("return window.got") for number in cpus} == {0}
    assert "2 cycles" in ui.tiles()[0]


def test_the_header_counts_hertz_and_pods_beside_the_articles_clock(ui: Ui, example: StartRunClient) -> None:
    example.load(0)
    ui.open_wall(f"?start={example.start}")
    wait_for_polls(ui, 2)
    assert ui.fact("hz") == "0.0 Hz"
    assert "0.1 Hz" in ui.find("#facts", "The article's clock").text
    assert ui.fact("pods-created") == "2"
    assert ui.fact("pods") == "3"
    example.execute(0, 1, 3)
    assert wait_until(lambda: ui.fact("hz") not in ("0.0 Hz", "–"), PATIENCE_SECONDS)
    assert ui.fact("cycles") == "3"
    hertz, times = ui.fact("hz-since-start").split(" Hz, ")
    assert float(hertz) > 0
    assert times.endswith("× the article's")


def test_an_answer_is_large_when_it_comes_and_can_be_copied(ui: Ui, example: StartRunClient) -> None:
    ui.open_wall(f"?start={example.start}")
    size = "return parseFloat(getComputedStyle(document.querySelector('#part2')).fontSize)"
    small = ui.run(size)
    assert ui.fact("part2") == "not known yet"
    assert not ui.find("#copy-part2").is_displayed()
    example.run(8)
    assert wait_until(lambda: ui.fact("part2") == "8", PATIENCE_SECONDS)
    assert ui.fact("part2-of") == "found by CPU 8"
    assert ui.run(size) > 2 * small
    assert copied(ui, "#copy-part2") == "8"


def test_the_strip_grows_while_cpus_are_loaded_and_stop(ui: Ui, example: StartRunClient) -> None:
    ui.open_wall(f"?start={example.start}")
    ui.find("#strip[aria-label$='now 5 waiting']")
    example.load(0)
    ui.find("#strip[aria-label$='now 1 ▶ running, 4 waiting']")
    assert ui.all("#strip .running")
    example.run(8)
    ui.find("#strip[aria-label$='now 1 ✔ end, 1 ▶ running, 3 waiting']")
    assert ui.run("return document.querySelector('#strip .answer-mark title').textContent").startswith(
        "Part 2: 8, after "
    )
    before = ui.run("return document.querySelector('#strip .end').getAttribute('d')")
    wait_for_polls(ui, 3)
    assert ui.run("return document.querySelector('#strip .end').getAttribute('d')") != before


# ------------------------------------------------------------------ order, tabs, address


def test_tiles_are_sorted_by_state_and_move_when_it_changes(ui: Ui, example: StartRunClient) -> None:
    example.load(3)
    example.run(5)
    ui.open_wall(f"?start={example.start}")
    assert order(ui) == [0, 1, 3, 5, 8]
    ui.choose("#sort", "state")
    assert wait_until(lambda: order(ui) == [3, 0, 1, 8, 5], PATIENCE_SECONDS)
    example.run(8)
    assert wait_until(lambda: order(ui) == [8, 3, 0, 1, 5], PATIENCE_SECONDS)
    example.load(0)
    assert wait_until(lambda: order(ui) == [8, 0, 3, 1, 5], PATIENCE_SECONDS)
    ui.choose("#sort", "number")
    assert wait_until(lambda: order(ui) == [0, 1, 3, 5, 8], PATIENCE_SECONDS)


def test_a_tile_keeps_the_focus_when_it_moves(ui: Ui, example: StartRunClient) -> None:
    ui.open_wall(f"?start={example.start}&sort=state")
    ui.run("document.querySelector('[data-cpu=\"8\"]').focus()")
    example.load(8)
    assert wait_until(lambda: order(ui)[0] == 8, PATIENCE_SECONDS)
    assert ui.run("return document.activeElement.dataset.cpu") == "8"


def test_a_reload_shows_the_same(ui: Ui, example: StartRunClient) -> None:
    example.run(5)
    ui.open_wall(f"?start={example.start}")
    ui.choose("#sort", "state")
    ui.choose("#size", "small")
    ui.click("#states input[value=loop]")
    ui.find("#find").send_keys("CPU")
    ui.click("#tab-program")
    ui.choose("#line-order", "hottest")
    wanted = {
        **{"start": example.start, "sort": "state", "tiles": "small", "hide": "loop", "find": "CPU"},
        **{"tab": "program", "lines": "hottest"},
    }
    assert wait_until(lambda: query(ui) == wanted, PATIENCE_SECONDS)
    ui.window.refresh()
    ui.find("#lines li")
    assert ui.find("#tab-program").get_attribute("aria-selected") == "true"
    ui.click("#tab-cpus")
    assert order(ui) == [0, 1, 3, 8, 5]
    assert 5 not in ui.tiles()
    assert ui.run("return document.querySelector('#tiles').dataset.size") == "small"
    ui.run("document.querySelector('[data-cpu=\"3\"]').click()")
    ui.find("#cpu-name", "CPU 3")
    del wanted["tab"]
    assert query(ui) == {**wanted, "cpu": "3"}
    ui.window.refresh()
    ui.find("#cpu-name", "CPU 3")


def test_every_tile_is_a_link_to_its_cpu(ui: Ui, example: StartRunClient) -> None:
    ui.open_wall(f"?start={example.start}")
    link = str(ui.find("[data-cpu='5']").get_attribute("href"))
    ui.window.get(link)
    ui.find("#cpu-name", "CPU 5: line 5, jmp -3 → nop -3")
    shared = copied(ui, "#copy-link")
    assert shared == f"{ui.url}/plugin/cpu-wall/cpu-wall/?start={example.start}&cpu=5"


def test_the_program_shows_its_hottest_lines_and_where_cpus_are(ui: Ui, example: StartRunClient) -> None:
    ui.open_wall(f"?start={example.start}&tab=program")
    ui.find("#hottest", "No line has been executed yet.")
    for cpu in (0, 1):
        example.load(cpu)
        example.execute(cpu, 1, 1)
    ui.find("#hottest", "Hottest: line 1, nop +0: 2 of 5 CPUs", 60)
    ui.find("#lines li:nth-child(2)", "▶ 1 here now")
    lines = [line.text for line in ui.all("#lines code")]
    assert copied(ui, "#copy-program") == "\n".join(lines) == EXAMPLE.strip()
    example.run(8)
    ui.choose("#line-order", "hottest")
    ui.find("#lines li:first-child", "3 CPUs", 60)
    numbers = [int(one.text) for one in ui.all("#lines .number")]
    assert numbers == [1, 2, 3, 7, 8, 9, 4, 5, 6]


def test_the_tabs_can_be_used_by_keyboard(ui: Ui, example: StartRunClient) -> None:
    ui.open_wall(f"?start={example.start}")
    ui.run("document.querySelector('#tab-cpus').focus()")
    ui.press(Keys.ARROW_RIGHT)
    ui.find("#lines li")
    assert query(ui)["tab"] == "program"


def copied(ui: Ui, button: str) -> str:
    """Click a copy button and return what it copies; wait until it says that it has."""
    ui.run(
        "window.copied = null;"
        "Object.defineProperty(navigator, 'clipboard',"
        "  { value: { writeText: async (text) => { window.copied = text; } }, configurable: true })"
    )
    ui.click(button)
    ui.find(f"{button}[data-copied=true]")
    return str(ui.run("return window.copied"))


def test_a_page_without_a_clipboard_copies_all_the_same(ui: Ui, example: StartRunClient) -> None:
    ui.open_wall(f"?start={example.start}&cpu=8")
    ui.run(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true });"
        "document.execCommand = (command) => {"
        "  window.copied = [command, document.activeElement.value];"
        "  return true;"
        "}"
    )
    ui.click("#copy-link")
    ui.find("#copy-link[data-copied=true]")
    command, text = ui.run("return window.copied")
    assert command == "copy"
    assert text.endswith("&cpu=8")
    assert not ui.all("textarea")


# ------------------------------------------------------------------ a killed pod


def test_the_tile_of_a_cpu_without_a_pod_says_so_below_its_state(
    ui: Ui, example: StartRunClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_pod(start: str, cpu: int) -> None:
        raise HTTPException(404, f"CPU {cpu} of {start} has no pod")

    monkeypatch.setattr(shooting, "kill_pod", kill_pod)
    example.load(8)
    ui.open_wall(f"?start={example.start}")
    ui.click(".shoot[data-shoot='8']")
    ui.find("#tiles .notice", f"CPU 8 of {example.start} has no pod")
    overlap = (
        "const [tile, notice, item] = ['.tile[data-cpu=\"8\"]', '.notice', 'li:has(.notice)']"
        "  .map((css) => document.querySelector(`#tiles ${css}`).getBoundingClientRect());"
        "return [tile.bottom <= notice.top + 1, notice.bottom <= item.bottom + 1]"
    )
    assert ui.run(overlap) == [True, True]
    ui.screenshot("notice")
    ui.clear_console_errors()  # of the refused request


# ------------------------------------------------------------------ phone, light and dark, many CPUs


@pytest.fixture
def phone(ui: Ui) -> Iterator[Ui]:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    ui.window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield ui
    ui.window.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_wall_fits_a_phone(phone: Ui, example: StartRunClient) -> None:
    for cpu in (0, 5, 8):
        example.run(cpu)
    too_wide = "return document.documentElement.scrollWidth > innerWidth"
    for page in ("", "&tab=program", "&cpu=8"):
        phone.open_wall(f"?start={example.start}{page}")
        wait_for_polls(phone, 1)
        assert not phone.run(too_wide), page
        phone.screenshot(f"phone{page.replace('&', '-').replace('=', '-')}")
    assert (
        phone.run(
            "return [...document.querySelectorAll('button, select, input[type=search]')]"
            ".filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 30)"
            ".map((one) => one.id)"
        )
        == []
    )


class Ticker:
    """Has CPUs execute a cycle again and again, as far as their registers say, in a thread of its own."""

    def __init__(self, client: redis.Redis, start: str, cpus: Sequence[int]) -> None:
        self._client, self._registers = client, [RedisKeys(start, cpu).registers for cpu in cpus]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._tick)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _tick(self) -> None:
        for cycle in itertools.count(1):
            pipeline = self._client.pipeline(transaction=False)
            for key in self._registers:
                pipeline.hset(key, mapping={"cycle": cycle, "pc": cycle, "acc": -cycle})
            pipeline.execute()
            if self._stopped.wait(0.9):
                return


def cpu_seconds(ui: Ui) -> float:
    """Return the CPU time of all processes of the browser so far."""
    service: Any = ui.window.service
    processes = psutil.Process(service.process.pid).children(recursive=True)
    times = [process.cpu_times() for process in processes if process.is_running()]
    return sum(one.user + one.system for one in times)


@pytest.fixture
def many(start_run: StartRunClient, wall: WallServer, request: pytest.FixtureRequest) -> StartRunClient:
    """A start run with many CPUs, all loaded."""
    count = request.param
    start_run.store_text("nop +0\n" * (count - 2) + "jmp -1\n", keep_going=True)
    wall.answers.starts[:] = [start_run.start]
    for cpu in range(count):
        start_run.load(cpu)
    return start_run


@pytest.mark.parametrize(("many", "tiles"), [(300, "large"), (2000, "small")], indirect=["many"])
def test_many_cpus_light_up_every_second_and_the_browser_has_little_to_do(
    ui: Ui, many: StartRunClient, client: redis.Redis, tiles: str
) -> None:
    cpus = range(300 if tiles == "large" else 2000)
    ui.open_wall(f"?start={many.start}&tiles={tiles}")
    wait_for_polls(ui, 2)
    ui.run(
        "window.longest = 0;"
        "new PerformanceObserver((list) => list.getEntries().forEach((task) => {"
        "  window.longest = Math.max(window.longest, task.duration);"
        "})).observe({ entryTypes: ['longtask'] })"
    )
    with Ticker(client, many.start, cpus):
        wait_for_polls(ui, 2)
        before, began = cpu_seconds(ui), time.monotonic()
        wait_for_polls(ui, 10)
        share = (cpu_seconds(ui) - before) / (time.monotonic() - began)
        watch_lights(ui)
        assert wait_until(lambda: lit(ui) == set(cpus), PATIENCE_SECONDS)
        ui.find(".tile.lit")
        ui.screenshot(f"wall-{len(cpus)}-moving")
    longest = ui.run("return window.longest")
    print(f"{len(cpus)} CPUs: {share:.1%} of a core in the browser, longest task {longest:.0f} ms")
    assert share < LITTLE[tiles]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("count", [5, 300, 2000])
def test_the_page_is_shown_with_few_and_many_cpus_in_light_and_dark(
    ui: Ui, start_run: StartRunClient, wall: WallServer, count: int, theme: str
) -> None:
    start_run.store_text("nop +0\n" * (count - 2) + "jmp -1\n", keep_going=True)
    wall.answers.starts[:] = [start_run.start]
    for cpu in range(count * 2 // 3):
        start_run.load(cpu)
        if cpu % 4 == 0:
            start_run.execute(cpu, 1, 10**6)
    ui.go("/cpu-wall/static/theme.js")
    ui.run("localStorage.setItem('theme', arguments[0])", theme)
    ui.open_wall(f"?start={start_run.start}&sort=state&tiles={'small' if count > 300 else 'large'}")
    wait_for_polls(ui, 1)
    assert len(ui.tiles()) == count
    assert ui.low_contrasts() == []
    ui.screenshot(f"wall-{count}-{theme}")
    ui.run("localStorage.removeItem('theme')")
