"""The whole job with Airflow in pods that launch pods: from the REST API to Slack."""

from __future__ import annotations

from cpu import program as programs
from cpu import reference as solver
from scripts.waiting import wait_until
from tests.chart.conftest import PATIENCE_SECONDS, Deployed
from tests.support.programs import thirty_lines_with_faulting_swaps


def run(deployed: Deployed, **conf: object) -> list[str]:
    """Trigger cpu_start, wait until all its runs have ended, and return the answers in Slack, in order."""
    before = len(deployed.slack.posts)
    name = deployed.api.trigger("cpu_start", conf)["dag_run_id"]

    def is_over() -> bool:
        here = deployed.api.run("cpu_start", name)["state"]
        return here not in ("queued", "running") and not deployed.api.count_runs(
            "cpu", state=["queued", "running"]
        )

    assert wait_until(is_over, PATIENCE_SECONDS)
    assert deployed.api.run("cpu_start", name)["state"] == "success"
    assert deployed.api.count_runs("cpu", state=["failed"]) == 0
    return sorted(post.shown.splitlines()[0] for post in deployed.slack.posts[before:] if post.is_answer)


def test_the_example_gives_5_and_8(deployed: Deployed) -> None:
    assert run(deployed) == ["Part 1: 5", "Part 2: 8 (line 8: jmp -4 → nop -4)"]


def test_a_thirty_line_program_gives_the_answers_of_the_machine_in_memory(deployed: Deployed) -> None:
    text = thirty_lines_with_faulting_swaps()
    program = programs.parse(text)
    expected = [f"Part 1: {solver.part1(program)}", f"Part 2: {solver.part2(program)}"]
    assert run(deployed, program=text, cycles=10) == expected


def test_the_ui_shows_the_log_of_a_task_that_ran_in_a_worker(deployed: Deployed) -> None:
    if not deployed.api.count_runs("cpu_start"):
        run(deployed)
    latest = deployed.api.runs("cpu_start", order_by="-run_after")[0]["dag_run_id"]
    log = "\n".join(deployed.api.log("cpu_start", latest, "store", 1))
    assert '"status": "stored"' in log


def test_the_wall_shows_the_cpus_and_each_run_has_its_note(deployed: Deployed) -> None:
    run(deployed, cycles=10)
    latest = deployed.api.runs("cpu_start", order_by="-run_after")[0]
    start = deployed.api.xcom("cpu_start", latest["dag_run_id"], "store")["start"]
    wall = deployed.api.request("GET", f"/api/starts/{start}", below="/cpu-wall")
    assert (wall["part1"]["text"], wall["part2"]["text"]) == ("5", "8")
    assert [tile["cpu"] for tile in wall["cpus"]] == [0, 1, 3, 5, 8]
    assert latest["note"].startswith("`stored 9 instructions for start run ")
    assert (
        deployed.api.run("cpu", f"{start}.cpu-8.cycle-0")["note"] == "`CPU 8 loaded: line 8, jmp -4 → nop -4`"
    )
