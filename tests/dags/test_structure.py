"""The graphs of the DAGs, and rules that the DAG files keep."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables import trigger
from airflow.timetables.base import TimeRestriction

from airflow_pods import PodOperator
from dags import cpu, cpu_answers, cpu_cancel, cpu_clean_up, cpu_start, cpu_watch, dag_runs, items, settings
from dags.dag_runs import Cycle, run_id

ROOT = Path(__file__).parents[2]


def edges(dag: Any) -> set[tuple[str, str]]:
    return {(task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids}


def test_run_of_cpu_is_one_cycle_followed_by_the_next_cycle_a_halt_or_an_answer() -> None:
    pods = {"load", "execute"}
    assert edges(cpu.dag) == {
        ("execute", "load"),
        *((pod, after) for pod in pods for after in ("next_cycle", "halt", "read")),
        ("read", "notify"),
    }


def test_cpu_start_stores_the_program_before_it_starts_cpus() -> None:
    assert edges(cpu_start.dag) == {
        *(("store", "start_cpus"), ("start_cpus", "notify"), ("start_cpus", "answers")),
        ("store", "announce"),  # beside the CPUs, which do not wait for Slack
    }


def test_cpu_watch_surveys_before_it_resumes_and_triggers_the_next_run_after() -> None:
    assert edges(cpu_watch.dag) == {("survey", "resume"), ("resume", "look_again")}


@pytest.mark.parametrize("hour", [3, 4, 5, 16])
def test_cpu_clean_up_runs_once_a_day_and_not_when_the_dag_is_first_parsed(
    hour: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 11, 26, hour, 10, tzinfo=UTC)
    monkeypatch.setattr(trigger, "utcnow", lambda: now)
    timetable = coerce_to_core_timetable(cpu_clean_up.dag.timetable)
    assert cpu_clean_up.dag.start_date is None
    no_run_yet = TimeRestriction(earliest=None, latest=None, catchup=False)
    first = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=no_run_yet)
    assert first is not None
    assert now < first.run_after <= now + timedelta(days=1)
    assert not cpu_clean_up.dag.catchup


def test_pods_are_kept_longer_than_redis_keeps_their_cpus() -> None:
    kept = timedelta(days=cpu_clean_up.dag.params["days"])
    assert kept >= timedelta(seconds=int(settings.POD["env_vars"]["CPU_TTL"])) + timedelta(days=1)


@pytest.mark.parametrize(
    ("result", "task_id"),
    [
        ({"status": "ok"}, "next_cycle"),
        ({"status": "loop"}, "halt"),
        ({"status": "loop", "verdict": "part1"}, "read"),
        ({"status": "end", "verdict": "part2"}, "read"),
        ({"status": "fault", "verdict": "none"}, "read"),
        ({"status": "stopped"}, "halt"),
        ({"status": "invalid"}, "halt"),
    ],
)
def test_branch_follows_the_status_in_the_result(
    result: dict[str, Any], task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    triggered: list[dict[str, Any]] = []
    monkeypatch.setattr(dag_runs, "trigger_next_cycle", triggered.append)
    assert dag_runs.follow_status(result) == task_id
    assert triggered == ([result] if task_id == "next_cycle" else [])


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize("verdict", [{}, {"verdict": "part2"}], ids=["stopped", "answered"])
def test_stop_that_ends_the_start_run_has_its_answers_collected(
    is_over: bool, verdict: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    triggered: list[tuple[str, str, dict[str, Any]]] = []
    monkeypatch.setattr(dag_runs, "trigger_run", lambda *run: triggered.append(run))
    result = {"status": "end", "start": "s", **verdict, **({"over": True} if is_over else {})}
    by_worker = dag_runs.follow_status(result)
    by_executor = dag_runs.next_step(result, {"start": "s", "cpu": 8, "cycles": 1})
    assert by_executor.task_id == by_worker
    run = by_executor.trigger
    assert triggered == ([(run.dag_id, run.run_id, run.conf)] if run else [])
    assert triggered == ([("cpu_answers", "s.answers", {"start": "s"})] if is_over else [])


def test_waiting_runs_of_cpu_start_leave_the_triggerer_room_for_all_pods() -> None:
    capacity_of_a_triggerer = 1000
    waiting = cpu_start.dag.max_active_runs
    assert waiting + int(settings.cpus_at_once("400")) < capacity_of_a_triggerer


def test_no_dag_that_a_start_run_needs_is_paused_at_first() -> None:
    needed = (cpu, cpu_answers, cpu_cancel, cpu_start, cpu_watch)
    assert {dag.dag.is_paused_upon_creation for dag in needed} == {False}
    assert cpu_clean_up.dag.is_paused_upon_creation is None  # it has a schedule: as Airflow is configured


@pytest.mark.parametrize("task_id", ["next_cycle", "halt", "read"])
def test_tasks_after_load_and_execute_need_only_one_of_them(task_id: str) -> None:
    assert cpu.dag.get_task(task_id).trigger_rule == "none_failed_min_one_success"


def test_pod_has_labels_for_its_start_run_cpu_cycle_and_command() -> None:
    for task_id, command in (("load", "load"), ("execute", "exec"), ("read", "read")):
        pod = cpu.dag.get_task(task_id)
        assert isinstance(pod, PodOperator)
        labels = pod.labels
        assert labels["command"] == command
        assert {"start", "cpu", "cycle"} <= labels.keys()


def test_pods_get_secrets_only_by_reference() -> None:
    for task in [
        task for dag in (cpu, cpu_answers, cpu_cancel, cpu_start, cpu_watch, items) for task in dag.dag.tasks
    ]:
        if isinstance(task, PodOperator):
            assert task.secret_env_vars == {"REDIS_URL": ("cpu-redis", "url")}
            assert task.env_vars.keys() == {"RESULT_FILE", "CPU_TTL"}


def test_cycle_s_first_run_id_names_its_start_run_cpu_and_cycle() -> None:
    cycle = Cycle(start="20261122-084725-a1b2c3", cpu=8, cycle=3, cycles=1)
    assert run_id(cycle) == "20261122-084725-a1b2c3.cpu-8.cycle-3"


def test_dag_files_import_nothing_heavy() -> None:
    heavy = ["kubernetes", "kubernetes_asyncio", "redis", "slack_sdk", "cpu"]
    files = "dags.cpu, dags.cpu_answers, dags.cpu_cancel, dags.cpu_start, dags.cpu_watch, dags.items"
    code = f"""import sys; sys.path.append("dags/pods")
import {files}; print([m for m in {heavy} if m in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
