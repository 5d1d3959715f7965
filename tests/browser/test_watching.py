"""A person runs a program and watches it: the form, the wall, the answer."""

from __future__ import annotations

import re
import time
from urllib.parse import quote

import pytest
from selenium.webdriver.common.keys import Keys

from cpu import program as programs
from cpu import reference as solver
from cpu.commands import Commands
from cpu.start_run import Settings
from scripts.local.demo import wall_url
from scripts.waiting import wait_until
from tests.browser.ui import WALL, Ui
from tests.support.numbers import BEYOND_64_BITS
from tests.support.solver import EXAMPLE
from tests.support.stack import Stack, reference

MINE = "nop +2\nacc +7\njmp +3\nacc -4\njmp -3\nacc +1\njmp -5\nacc +9\n"
SLOW = "nop +0\n" * 60 + "jmp -60\n"
"""Long enough for a person to do something while it runs."""
PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def finished(stack: Stack) -> str:
    """A start run of the example that has ended."""
    run = stack.start(program=EXAMPLE, stop_at_first_answer=False)
    return stack.finish(run)[1]


@pytest.fixture
def big(stack: Stack) -> tuple[str, programs.Program]:
    """A start run of two thousand CPUs in Redis, none of which runs, and its program."""
    program = programs.parse("nop +0\n" * 1999 + "jmp -1\n")
    start = f"big-{time.time_ns() % 10**9}"
    with stack.redis as client:
        commands = Commands(client, start, ttl=600)
        commands.store(program, Settings())
        for cpu in (0, *program.candidates()):
            commands.load(cpu, once=True)
    return start, program


def test_the_form_explains_its_fields(ui: Ui) -> None:
    ui.open_form()
    form = ui.text()
    for text in (
        "example: the puzzle's example (9 lines, 5 CPUs)",
        "If you enter a program here, it runs instead of the one chosen above",
        "each clock cycle is a pod of its own",
    ):
        assert text in form
    ui.screenshot("form")


def test_a_pasted_program_is_shown_on_the_wall_until_both_answers(ui: Ui, stack: Stack) -> None:
    ui.open_form()
    ui.paste("program", MINE)
    run = ui.trigger()
    ui.go("/")
    ui.click(WALL)
    ui.window.switch_to.frame(ui.find("iframe"))
    ui.choose_start(start_of(stack, run))
    ui.find("#tiles .running", seconds=PATIENCE_SECONDS)
    ui.screenshot("wall-at-work")
    program = programs.parse(MINE)
    [winner] = solver.ending_cpus(program)
    ui.find("#part1", solver.part1(program), PATIENCE_SECONDS)
    ui.find("#part2", str(reference(program, winner).acc), PATIENCE_SECONDS)
    ui.find("#part2-of", f"found by CPU {winner}")
    count = len(list(program.candidates())) + 1
    ui.find("#stopped", f"{count} of {count}", PATIENCE_SECONDS)
    assert stack.finish(run)[0] == "success"
    ui.screenshot("wall-in-airflow")


def start_of(stack: Stack, run: str) -> str:
    """Wait until the program is stored, and return the id of its start run."""

    def stored() -> bool:
        tasks = {task["task_id"]: task["state"] for task in stack.api.tasks("cpu_start", run)}
        return bool(tasks["store"] == "success")

    assert wait_until(stored, PATIENCE_SECONDS)
    return stack.start_id(run)


def test_the_wall_shows_the_registers_that_redis_has(ui: Ui, stack: Stack, finished: str) -> None:
    ui.open_wall(f"?start={finished}")
    program = programs.parse(EXAMPLE)
    tiles = ui.tiles()
    assert set(tiles) == {0, *program.candidates()}
    for cpu, lines in tiles.items():
        kept = stack.registers(finished, cpu)
        assert f"acc {kept.acc}  pc {kept.pc}" in lines
        assert f"{kept.cycle} cycle{'s' * (kept.cycle != 1)}" in lines
        assert any(kept.status in line for line in lines)
    cycles = sum(stack.registers(finished, cpu).cycle for cpu in tiles)
    assert ui.fact("cycles") == str(cycles)
    assert ui.fact("stopped") == f"{len(tiles)} of {len(tiles)}"


def test_tiles_are_filtered_by_state_and_by_text(ui: Ui, finished: str) -> None:
    ui.open_wall(f"?start={finished}")
    ui.click("#states input[value=loop]")
    assert set(ui.tiles()) == {8}
    ui.click("#states input[value=loop]")
    ui.find("#find").send_keys("jmp -3")
    assert set(ui.tiles()) == {5}
    assert ui.fact("shown") == "1 of 5 shown"


def test_a_cpu_can_be_opened_and_closed_by_keyboard_alone(ui: Ui, stack: Stack, finished: str) -> None:
    ui.open_wall(f"?start={finished}")
    ui.run("document.querySelector('.tile').focus()")
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER):
        ui.press(key)
    ui.find("#cpu-name", "CPU 8: line 8, jmp -4 → nop -4")
    kept = stack.registers(finished, 8)
    ui.find("#runs td a", f"cycle-{kept.cycle}")
    lines = ui.run("return [...document.querySelectorAll('#program li')].map((line) => line.className)")
    assert {at for at, names in enumerate(lines) if "visited" in names} == kept.visited
    assert [at for at, names in enumerate(lines) if "swapped" in names] == [7]
    label = str(ui.find("#chart").get_attribute("aria-label"))
    assert f"cycles 1 to {kept.cycle}, {kept.cycle} points" in label
    ui.screenshot("cpu")
    ui.press(Keys.ESCAPE)
    assert ui.run("return document.activeElement.dataset.cpu") == "8"


def test_registers_beyond_64_bits_are_shown_exactly(ui: Ui, stack: Stack) -> None:
    _, start = stack.finish(stack.start(program=BEYOND_64_BITS, parts="part 1"))
    ui.open_wall(f"?start={start}&cpu=0")
    ui.find("#history-range", "cycles 1 to 4: acc 9223372036854775807 to 27670116110564327421, pc 0 to 3")
    ui.find("#registers dd", "27670116110564327421")
    ui.find("#part1", "27670116110564327421")
    ui.find("#tiles .registers", "acc 27670116110564327421  pc 0")
    ui.find("#program .current", "acc +9223372036854775807")


def test_a_cpu_links_to_its_dag_runs_whose_notes_say_what_each_cycle_did(ui: Ui, finished: str) -> None:
    ui.go("/plugin/cpu-wall")
    ui.enter_frame()
    ui.choose_start(finished)
    ui.click(".tile[data-cpu='8']")
    ui.click("#runs td a", "cycle-2")
    assert wait_until(lambda: ui.window.current_url.endswith(f"/dags/cpu/runs/{finished}.cpu-8.cycle-2"), 30)
    ui.leave_frame()
    ui.find("body", "acc +1 → acc 1, pc 2")
    ui.screenshot("run")


def test_the_tab_of_a_dag_run_shows_its_cpu_on_the_wall(ui: Ui, finished: str) -> None:
    ui.go(f"/dags/cpu/runs/{finished}.cpu-8.cycle-2")
    ui.click("a[href$='cpu-wall-of-run']")
    ui.enter_frame()
    ui.find("#cpu-name", "CPU 8: line 8")


def test_an_items_run_is_watched_in_airflows_frame_and_in_the_tab_of_its_dag_run(
    ui: Ui, stack: Stack
) -> None:
    run = stack.api.trigger("items", {"total": 2000, "per_pod": 20})["dag_run_id"]
    ui.window.get(wall_url(ui.url, run))
    ui.enter_frame(shows="#items-run")
    report = "2000 items: 2000 done, 0 lost, 0 doubled, 0 failed"
    ui.find("#report-count", report, PATIENCE_SECONDS)
    assert (ui.fact("items-done"), ui.fact("pods-done")) == ("2,000", "100 of 100")
    ui.screenshot("items-in-airflow")
    ui.click("#dag-run a")
    assert wait_until(lambda: ui.window.current_url.endswith(f"/dags/items/runs/{quote(run, safe='')}"), 30)
    ui.leave_frame()
    ui.click("a[href$='cpu-wall-of-run']")
    ui.enter_frame(shows="#items-run")
    ui.find("#report-count", report)


def test_the_picture_of_a_start_run_is_shown(ui: Ui, finished: str) -> None:
    ui.open_wall(f"?start={finished}")
    ui.click("#open-picture")
    width = "return document.querySelector('#picture-image').naturalWidth"
    assert wait_until(lambda: ui.run(width) > 300, 60)
    ui.screenshot("picture")


def open_framed_wall(ui: Ui, run: str) -> None:
    """Open the wall in Airflow's frame for a run of cpu_start, and wait for a CPU that runs."""
    ui.go(f"/plugin/cpu-wall/cpu-wall/?run={quote(run, safe='')}")
    ui.enter_frame()
    ui.find("#tiles .running", seconds=PATIENCE_SECONDS)


def test_a_start_run_is_cancelled_from_the_wall_after_a_question(ui: Ui, stack: Stack) -> None:
    open_framed_wall(ui, stack.start(program=SLOW, parts="part 1"))
    ui.click("#open-cancel")
    ui.find("#cancel", "stop at their next cycle")
    ui.screenshot("cancel")
    ui.click("#cancel .close", "Let it run")
    assert stack.api.count_runs("cpu_cancel") == 0
    ui.click("#open-cancel")
    ui.click("#confirm-cancel")
    ui.find("#cancelled a", "DAG run of cpu_cancel")
    ui.find("#tiles .stopped", seconds=PATIENCE_SECONDS)
    ui.find("#part1", "cancelled")
    assert not ui.find("#open-cancel").is_displayed()
    assert stack.api.count_runs("cpu_cancel") == 1


def test_a_killed_pod_is_tried_again_and_its_cycle_counts_once(ui: Ui, stack: Stack) -> None:
    run = stack.start(program=SLOW, parts="part 1")
    open_framed_wall(ui, run)

    def killed() -> bool:
        """Shoot once; return whether the pod died before it had done its cycle."""
        ui.click(".shoot[data-shoot='0']")
        ui.find("#tiles .notice", "Pod killed in cycle")
        ui.screenshot("kill")
        assert wait_until(lambda: not re.search("cycle \\d+\\.$|runs it again", notice(ui)), PATIENCE_SECONDS)
        return "Too late" not in notice(ui)

    assert any(killed() for _ in range(5))
    told = re.fullmatch(
        r"Pod killed in cycle (\d+); try (\d) did it, and it counts once: (\d+) → (\d+)\.", notice(ui)
    )
    assert told, notice(ui)
    cycle, tries, before, after = map(int, told.groups())
    assert (before, after) == (cycle - 1, cycle)
    assert tries > 1
    ui.screenshot("kill-counted-once")
    start = stack.finish(run)[1]
    assert stack.registers(start, 0) == reference(programs.parse(SLOW), 0)
    executed = [
        one for one in stack.api.tasks("cpu", f"{start}.cpu-0.cycle-{cycle}") if one["task_id"] == "execute"
    ]
    assert [(one["state"], one["try_number"]) for one in executed] == [("success", tries)]
    assert stack.api.request("GET", "/eventLogs?event=shoot_pod")["total_entries"] >= 1


def notice(ui: Ui) -> str:
    return str(ui.run("return document.querySelector('.notice')?.textContent ?? ''"))


def test_a_program_with_a_wrong_line_is_refused_and_the_page_names_the_line(ui: Ui, stack: Stack) -> None:
    ui.open_form()
    ui.paste("program", "nop +0\njump 3\n")
    run = ui.trigger()
    assert wait_until(lambda: stack.api.run("cpu_start", run)["state"] == "failed", PATIENCE_SECONDS)
    ui.go(f"/dags/cpu_start/runs/{run}")
    ui.find("body", "line 2")
    ui.screenshot("refused")
    assert stack.api.count_runs("cpu", state=["queued", "running"]) == 0


def test_an_included_program_can_be_chosen_in_the_form_and_all_its_cpus_run(ui: Ui) -> None:
    ui.open_form()
    ui.pick("bundled", "61 lines, 25 CPUs")
    ui.paste("cycles", "10")
    ui.click("[id='switch:element_stop_at_first_answer']")
    run = ui.trigger()
    # As `make demo` prints it, before the program is stored.
    ui.go(f"/plugin/cpu-wall/cpu-wall/?run={quote(run, safe='')}")
    ui.window.switch_to.frame(ui.find("iframe"))
    assert wait_until(lambda: len(ui.all("#tiles .loop")) >= 5, PATIENCE_SECONDS)
    ui.screenshot("wall")
    ui.find("#part2", "645", PATIENCE_SECONDS)
    ui.find("#part2-of", "found by CPU 30")
    ui.find("#stopped", "25 of 25", PATIENCE_SECONDS)
    ui.find("#part1", "238")
    assert {line for lines in ui.tiles().values() for line in lines} >= {"↻ loop", "✔ end"}
    assert not ui.all("#tiles .stopped")


def test_the_wall_is_dark_when_airflow_is_and_its_text_has_enough_contrast(ui: Ui, finished: str) -> None:
    ui.run("localStorage.setItem('theme', 'dark')")
    try:
        ui.open_wall(f"?start={finished}")
        assert ui.run("return document.documentElement.dataset.theme") == "dark"
        ui.run("document.querySelector('#legend').open = true")
        assert ui.low_contrasts() == []
        ui.screenshot("wall-dark")
        ui.run("localStorage.setItem('theme', 'light')")
        ui.open_wall(f"?start={finished}")
        assert ui.run("return document.documentElement.dataset.theme") == "light"
        ui.run("document.querySelector('#legend').open = true")
        assert ui.low_contrasts() == []
        ui.screenshot("wall-legend")
    finally:
        ui.run("localStorage.removeItem('theme')")


def test_two_thousand_cpus_are_shown_and_can_be_searched(ui: Ui, big: tuple[str, programs.Program]) -> None:
    start, program = big
    ui.open_wall(f"?start={start}")
    assert len(ui.tiles()) == len(list(program.candidates())) + 1
    ui.find("#find").send_keys("line 1234,")
    assert set(ui.tiles()) == {1234}


def test_the_wall_shows_nothing_without_a_login(ui: Ui, finished: str) -> None:
    cookies = ui.window.get_cookies()
    ui.window.delete_all_cookies()
    try:
        ui.go(f"/cpu-wall/?start={finished}")
        ui.find("#error", "Log in to Airflow")
        assert ui.tiles() == {}
    finally:
        for cookie in cookies:
            ui.window.add_cookie(cookie)
        ui.clear_console_errors()  # of the refused requests
