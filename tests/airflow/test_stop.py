"""A start run continues after a pause, cleared tasks, deleted pods, and a stopped or killed stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from kubernetes.client import ApiException

from airflow_pods.operator import POD_EXECUTOR
from scripts.airflow_api import AirflowError
from scripts.local import processes
from scripts.local.services import kubernetes
from scripts.waiting import wait_until
from tests.airflow.test_end_to_end import assert_every_cpu_is_right
from tests.airflow.test_watch import resume_now, runs_in_progress
from tests.support.programs import a_loop
from tests.support.stack import PATIENCE_SECONDS, Stack

LONG = a_loop(3000)
CPUS = (0, 3001)
ANSWERS = ["Part 1: 3000", "Part 2: 3000 (line 3001: jmp -3000 → nop -3000)"]
AT_WORK = ["queued", "running", "deferred", "restarting"]


@pytest.fixture
def under_way(stack: Stack) -> Iterator[tuple[str, str]]:
    """Start CPUs that have work for minutes, in single cycles; return the ids of DAG run and start run."""
    run = stack.start(program=LONG)
    start = stack.wait_until_started(run)
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
    """Pause DAG cpu, and wait until no task of the start run is at work."""

    def is_at_work() -> bool:
        at_work = stack.api.tasks("cpu", state=AT_WORK)
        return any(task["dag_run_id"].startswith(start) for task in at_work)

    def is_idle() -> bool:
        # Again and again: Airflow was seen to lose a pause in the moment in which cleared tasks ended.
        # And for 4 seconds: the scheduler may have been about to queue a task.
        stack.api.request("PATCH", "/dags/cpu", json={"is_paused": True})
        return not wait_until(is_at_work, seconds=4)

    assert wait_until(is_idle, PATIENCE_SECONDS)


def unpause(stack: Stack) -> None:
    stack.api.request("PATCH", "/dags/cpu", json={"is_paused": False})


def finish_quickly(stack: Stack, run: str, start: str) -> None:
    """Let the start run continue with many cycles per pod, and check its answers and CPUs at the end."""
    pause(stack, start)
    for one in runs_in_progress(stack, start):
        stack.api.request("PATCH", f"/dags/cpu/dagRuns/{one}", json={"state": "failed"})
    assert {stack.registers(start, cpu).status for cpu in CPUS} == {"ok"}
    unpause(stack)
    assert len(resume_now(stack, start, cycles=10_000)) == len(CPUS)
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
        # Airflow refuses while the scheduler has locked the same rows.
        with suppress(AirflowError):
            stack.api.request("POST", "/dags/cpu/clearTaskInstances", json=body)
            return True
        return False

    assert wait_until(is_cleared, PATIENCE_SECONDS)


@pytest.mark.core
def test_no_cycle_begins_while_the_dag_is_paused_and_cpus_continue_when_it_is_unpaused(
    stack: Stack, under_way: tuple[str, str]
) -> None:
    run, start = under_way
    pause(stack, start)
    then = cycles(stack, start)
    assert resume_now(stack, start, cycles=10_000) == []  # their runs are queued, not lost
    assert not wait_until(lambda: cycles(stack, start) != then, seconds=3)
    unpause(stack)
    wait_for_cycles(stack, start, then)
    assert all(one["state"] != "failed" for one in stack.runs(start))
    finish_quickly(stack, run, start)


def test_cleared_runs_repeat_no_cycle_and_no_message(stack: Stack, under_way: tuple[str, str]) -> None:
    run, start = under_way
    first = f"{start}.cpu-0.cycle-1"
    assert wait_until(lambda: stack.api.run("cpu", first)["state"] == "success", PATIENCE_SECONDS)
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
    for task in ("execute", "read", "notify"):
        clear(stack, last, task, downstream=False)
    clear(stack, f"{start}.cpu-0.cycle-0", "execute", downstream=True)
    clear(stack, first, "next_cycle", downstream=False)
    past = f"{start}.cpu-0.cycle-2"
    clear(stack, past, "execute", downstream=True)  # its pod refuses a cycle of the past
    assert wait_until(lambda: not runs_in_progress(stack, start), PATIENCE_SECONDS)
    assert tasks(stack, last)["notify"] == tasks(stack, first)["next_cycle"] == "success"
    assert tasks(stack, past)["execute"] == tasks(stack, past)["next_cycle"] == "success"
    assert {cpu: stack.registers(start, cpu) for cpu in CPUS} == registers
    assert {one["dag_run_id"] for one in stack.runs(start)} == runs
    assert sorted(stack.answers(start)) == ANSWERS


def tasks(stack: Stack, run: str) -> dict[str, str]:
    return {one["task_id"]: one["state"] for one in stack.api.tasks("cpu", run)}


def test_deleted_pods_cost_a_retry_and_nothing_else(stack: Stack, under_way: tuple[str, str]) -> None:
    run, start = under_way
    api, namespace = kubernetes.core_api(stack.settings), stack.settings.namespace
    deleted: set[str] = set()

    def are_deleted() -> bool:
        for pod in api.list_namespaced_pod(namespace, label_selector=f"start={start},command=exec").items:
            name, at_work = pod.metadata.name, pod.status.phase in ("Pending", "Running")
            # Not the pod of every try: the last one would fail the run.
            if at_work and pod.metadata.deletion_timestamp is None and name not in deleted:
                with suppress(ApiException):  # it has ended in between
                    api.delete_namespaced_pod(name, namespace)
                    deleted.add(name)
        return len(deleted) >= 4

    assert wait_until(are_deleted, PATIENCE_SECONDS)
    wait_for_cycles(stack, start, cycles(stack, start))
    assert all(one["state"] != "failed" for one in stack.runs(start))
    finish_quickly(stack, run, start)


def kill(stack: Stack) -> None:
    """Kill all processes, as a crash of the machine would; supervisord first, as it restarts others."""

    def is_gone() -> bool:
        members = processes.members(stack.settings)
        processes.kill(sorted(members, key=lambda process: members[process] != "supervisord"))
        return not members

    assert wait_until(is_gone, PATIENCE_SECONDS)


def test_start_run_continues_after_its_stack_was_stopped_or_killed(
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


def test_start_run_continues_without_pod_executor_and_with_it_again(
    stack: Stack, under_way: tuple[str, str]
) -> None:
    """Tasks that were meant for PodExecutor before still run."""
    run, start = under_way

    def has_executed(executor: str | None) -> bool:
        ended = stack.api.tasks("cpu", state=["success"], task_id="execute")
        return executor in [one["executor"] for one in ended if one["dag_run_id"].startswith(start)]

    assert wait_until(lambda: has_executed(POD_EXECUTOR), PATIENCE_SECONDS)
    assert not has_executed(None)
    stack.down()
    replace(stack, environment={**stack.environment, "POD_EXECUTOR": "false"}).up()
    assert wait_until(lambda: has_executed(None), PATIENCE_SECONDS)
    wait_for_cycles(stack, start, cycles(stack, start))
    assert all(one["state"] != "failed" for one in stack.runs(start))
    stack.down()
    stack.up()
    wait_for_cycles(stack, start, cycles(stack, start))
    finish_quickly(stack, run, start)
