"""A start run that is paused, cleared, bereft of its pods or taken down in the middle: nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from kubernetes.client import ApiException

from scripts.airflow_api import AirflowError
from scripts.local import processes
from scripts.local.services import kubernetes
from scripts.waiting import wait_until
from tests.airflow.test_end_to_end import assert_every_cpu_is_right
from tests.airflow.test_watch import LONG, look, runs_in_progress
from tests.support.stack import PATIENCE_SECONDS, Stack

CPUS = (0, 401)
ANSWERS = ["Part 1: 400", "Part 2: 400 (line 401: jmp -400 → nop -400)"]
AT_WORK = ["queued", "running", "deferred", "restarting"]


@pytest.fixture
def under_way(stack: Stack) -> Iterator[tuple[str, str]]:
    """A run of cpu_start whose CPUs are at work, one cycle per pod, for hours; and the start run's id."""
    run = stack.start(program=LONG)
    assert wait_until(lambda: stack.api.run("cpu_start", run)["state"] == "success", PATIENCE_SECONDS)
    start = stack.start_id(run)
    wait_for_cycles(stack, start, dict.fromkeys(CPUS, 0))
    yield run, start
    unpause(stack)
    stack.api.trigger("cpu_cancel", {"start": start})  # for a test that failed before the end


def cycles(stack: Stack, start: str) -> dict[int, int]:
    return {cpu: stack.registers(start, cpu).cycle for cpu in CPUS if stack.is_loaded(start, cpu)}


def wait_for_cycles(stack: Stack, start: str, beyond: dict[int, int]) -> None:
    """Wait until every CPU has executed a cycle beyond these."""

    def is_beyond() -> bool:
        now = cycles(stack, start)
        return all(now.get(cpu, 0) > cycle for cpu, cycle in beyond.items())

    assert wait_until(is_beyond, PATIENCE_SECONDS), f"{cycles(stack, start)} are not beyond {beyond}"


def pause(stack: Stack, start: str) -> None:
    """Pause DAG cpu, and let end what is under way."""
    stack.api.request("PATCH", "/dags/cpu", json={"is_paused": True})

    def is_at_work() -> bool:
        at_work = stack.api.tasks("cpu", state=AT_WORK)
        return any(task["dag_run_id"].startswith(start) for task in at_work)

    # For a while: the scheduler may just have been about to queue one, and be slow.
    assert wait_until(lambda: not wait_until(is_at_work, seconds=4), PATIENCE_SECONDS)


def unpause(stack: Stack) -> None:
    stack.api.request("PATCH", "/dags/cpu", json={"is_paused": False})


def finish_quickly(stack: Stack, run: str, start: str) -> None:
    """Have the start run go on with many cycles per pod, and see that it ends as it would have."""
    pause(stack, start)
    for one in runs_in_progress(stack, start):
        stack.api.request("PATCH", f"/dags/cpu/dagRuns/{one}", json={"state": "failed"})
    assert {stack.registers(start, cpu).status for cpu in CPUS} == {"ok"}
    unpause(stack)
    assert len(look(stack, start, cycles=1000)) == len(CPUS)
    assert stack.finish(run) == ("success", start)
    assert sorted(stack.answers(start)) == ANSWERS
    assert_every_cpu_is_right(stack, start, LONG)


def clear(stack: Stack, run: str, task: str, *, downstream: bool) -> None:
    body = {
        "dry_run": False,
        "dag_run_id": run,
        "task_ids": [task],
        "only_failed": False,
        "include_downstream": downstream,
    }

    def is_cleared() -> bool:
        # Refused while the scheduler is at the very same rows.
        with suppress(AirflowError):
            stack.api.request("POST", "/dags/cpu/clearTaskInstances", json=body)
            return True
        return False

    assert wait_until(is_cleared, PATIENCE_SECONDS)


@pytest.mark.core
def test_while_the_dag_is_paused_no_cycle_begins_and_then_it_goes_on(
    stack: Stack, under_way: tuple[str, str]
) -> None:
    run, start = under_way
    pause(stack, start)
    then = cycles(stack, start)
    assert look(stack, start, cycles=1000) == []  # they are waited for, not lost
    assert not wait_until(lambda: cycles(stack, start) != then, seconds=3)
    unpause(stack)
    wait_for_cycles(stack, start, then)
    assert all(one["state"] != "failed" for one in stack.runs(start))
    finish_quickly(stack, run, start)


def test_runs_that_are_cleared_at_work_and_after_repeat_nothing(
    stack: Stack, under_way: tuple[str, str]
) -> None:
    run, start = under_way
    for _ in range(2):
        then = cycles(stack, start)
        for one in runs_in_progress(stack, start):
            clear(stack, one, "execute", downstream=True)
        wait_for_cycles(stack, start, then)
    finish_quickly(stack, run, start)

    registers = {cpu: stack.registers(start, cpu) for cpu in CPUS}
    runs = {one["dag_run_id"] for one in stack.runs(start)}
    of_cpu = sorted(one for one in runs if f"{start}.cpu-0.cycle-" in one)
    last = next(one for one in of_cpu if tasks(stack, one)["notify"] == "success")
    first = f"{start}.cpu-0.cycle-1"
    for task in ("execute", "read", "notify"):
        clear(stack, last, task, downstream=False)
    clear(stack, f"{start}.cpu-0.cycle-0", "execute", downstream=True)
    clear(stack, first, "next_cycle", downstream=False)
    past = f"{start}.cpu-0.cycle-2"
    clear(stack, past, "execute", downstream=True)  # its pod refuses what has happened long ago
    assert wait_until(lambda: not runs_in_progress(stack, start), PATIENCE_SECONDS)
    assert tasks(stack, last)["notify"] == tasks(stack, first)["next_cycle"] == "success"
    assert tasks(stack, past)["execute"] == tasks(stack, past)["next_cycle"] == "success"
    assert {cpu: stack.registers(start, cpu) for cpu in CPUS} == registers
    assert {one["dag_run_id"] for one in stack.runs(start)} == runs
    assert sorted(stack.answers(start)) == ANSWERS


def tasks(stack: Stack, run: str) -> dict[str, str]:
    return {one["task_id"]: one["state"] for one in stack.api.tasks("cpu", run)}


def test_pods_that_are_deleted_at_work_cost_a_try_and_no_more(
    stack: Stack, under_way: tuple[str, str]
) -> None:
    run, start = under_way
    api, namespace = kubernetes.core_api(stack.settings), stack.settings.namespace
    deleted: set[str] = set()

    def are_deleted() -> bool:
        for pod in api.list_namespaced_pod(namespace, label_selector=f"start={start},command=exec").items:
            name, at_work = pod.metadata.name, pod.status.phase in ("Pending", "Running")
            # Not every try's: the last one would fail the run.
            if at_work and pod.metadata.deletion_timestamp is None and name not in deleted:
                with suppress(ApiException):  # gone by itself
                    api.delete_namespaced_pod(name, namespace)
                    deleted.add(name)
        return len(deleted) >= 4

    assert wait_until(are_deleted, PATIENCE_SECONDS)
    wait_for_cycles(stack, start, cycles(stack, start))
    assert all(one["state"] != "failed" for one in stack.runs(start))
    finish_quickly(stack, run, start)


def kill(stack: Stack) -> None:
    """Kill all its processes, as a machine's crash would; supervisord first, that it starts none anew."""

    def is_gone() -> bool:
        members = processes.members(stack.settings)
        processes.kill(sorted(members, key=lambda process: members[process] != "supervisord"))
        return not members

    assert wait_until(is_gone, PATIENCE_SECONDS)


def test_a_stack_that_was_taken_down_or_killed_goes_on_when_it_is_up_again(
    stack: Stack, under_way: tuple[str, str]
) -> None:
    run, start = under_way
    for stop in (Stack.down, kill):
        then = cycles(stack, start)
        stop(stack)
        assert not processes.members(stack.settings)
        stack.up()
        now = cycles(stack, start)
        assert all(now[cpu] >= then[cpu] for cpu in CPUS)
        wait_for_cycles(stack, start, now)
    finish_quickly(stack, run, start)
