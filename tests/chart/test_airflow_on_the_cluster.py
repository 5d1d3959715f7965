"""The whole job with Airflow in pods that launch pods: from the REST API to Slack."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from airflow_pods.operator import POD_EXECUTOR
from cpu import program as programs
from cpu import reference as solver
from scripts.airflow_api import JSON
from scripts.waiting import wait_until
from tests.chart.conftest import PATIENCE_SECONDS, Deployed
from tests.support.cluster import Cluster
from tests.support.programs import thirty_lines_with_faulting_swaps

EXAMPLE = ["Part 1: 5", "Part 2: 8 (line 8: jmp -4 → nop -4)"]


def run(deployed: Deployed, meanwhile: Callable[[], None] = lambda: None, **conf: object) -> list[str]:
    """Trigger cpu_start, wait until all its runs have ended, and return the answers in Slack, in order."""
    before = len(deployed.slack.posts)
    name = deployed.api.trigger("cpu_start", conf)["dag_run_id"]
    meanwhile()

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
    assert run(deployed) == EXAMPLE


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
    story = "9 instructions, 5 CPUs · Part 1: 5 · Part 2: 8, line 8: jmp -4 → nop -4"
    assert latest["note"] == f"`{story}`"
    assert (
        deployed.api.run("cpu", f"{start}.cpu-8.cycle-0")["note"] == "`CPU 8 loaded: line 8, jmp -4 → nop -4`"
    )


def addresses(cluster: Cluster) -> dict[str, str]:
    """Return the name of each scheduler's pod, by its address."""
    found = cluster.kubectl("get", "pods", "-n", "airflow", "-l", "component=scheduler", "-o", "json")
    return {pod["status"].get("podIP", ""): pod["metadata"]["name"] for pod in json.loads(found)["items"]}


def cycles(deployed: Deployed, *states: str) -> list[JSON]:
    """Return the tasks in these states that PodExecutor runs or has run."""
    tasks = deployed.api.tasks("cpu", state=list(states), executor=[POD_EXECUTOR])
    return [one for one in tasks if one["hostname"]]


def test_a_cycle_needs_no_worker_and_the_ui_shows_its_log(cluster: Cluster, deployed: Deployed) -> None:
    run(deployed)
    schedulers = addresses(cluster)
    done = [one for one in cycles(deployed, "success") if one["hostname"] in schedulers]
    # The execute of cycle 0 has no pod: load follows it.
    task = next(one for one in done if one["task_id"] == "execute" and one["dag_run_id"].endswith("cycle-1"))
    log = "\n".join(deployed.api.log("cpu", task["dag_run_id"], "execute", task["try_number"]))
    assert "in namespace cpu-jobs" in log
    assert '"cycle": ' in log
    assert "The next task is " in log


def kill(pod: str) -> None:
    """Kill all processes of a pod; the node is this machine."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("HOSTNAME") == pod:
                process.kill()


def delete(cluster: Cluster, pod: str) -> None:
    cluster.kubectl("delete", "pod", pod, "-n", "airflow", "--wait=false")


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "stopped"])
def test_a_scheduler_that_dies_loses_no_cycle(cluster: Cluster, deployed: Deployed, is_killed: bool) -> None:
    """Another scheduler adopts its tasks; their pods have gone on meanwhile."""
    lost: list[tuple[str, str]] = []

    def end_a_scheduler() -> None:
        assert wait_until(lambda: bool(cycles(deployed, "running")), PATIENCE_SECONDS)
        running = cycles(deployed, "running")
        busy = running[0]["hostname"]
        name = addresses(cluster)[busy]
        kill(name) if is_killed else delete(cluster, name)
        lost.extend((one["dag_run_id"], one["task_id"]) for one in running if one["hostname"] == busy)

    assert run(deployed, end_a_scheduler) == EXAMPLE
    ended = {(one["dag_run_id"], one["task_id"]) for one in deployed.api.tasks("cpu", state=["success"])}
    assert ended >= set(lost)


def test_pod_executor_can_be_switched_off_while_cpus_run(cluster: Cluster, deployed: Deployed) -> None:
    """The schedulers keep it for the tasks that are meant for it already."""

    def versions() -> int:
        return int(deployed.api.request("GET", "/dags/cpu/dagVersions")["total_entries"])

    def set_for_the_dag_processor(variable: str) -> None:
        cluster.kubectl("set", "env", "deployment/airflow-dag-processor", "-n", "airflow", variable)

    def switch_off() -> None:
        before = versions()
        assert wait_until(lambda: bool(cycles(deployed, "running")), PATIENCE_SECONDS)
        set_for_the_dag_processor("AIRFLOW__CORE__EXECUTOR=CeleryExecutor")
        assert wait_until(lambda: versions() > before, PATIENCE_SECONDS)

    try:
        assert run(deployed, switch_off) == EXAMPLE
        known = len(cycles(deployed, "success"))
        assert run(deployed) == EXAMPLE
        assert len(cycles(deployed, "success")) == known
    finally:
        set_for_the_dag_processor("AIRFLOW__CORE__EXECUTOR-")
