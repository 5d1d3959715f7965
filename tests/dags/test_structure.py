"""The graphs people see, and the rules the DAG files keep."""

from __future__ import annotations

import base64
import subprocess
import sys
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError
from airflow.timetables.base import TimeRestriction
from airflow.timetables.trigger import CronTriggerTimetable

from cpu import program as programs
from cpu import reference
from dags import cpu, cpu_cancel, cpu_clean_up, cpu_start, cpu_watch, settings
from dags.dag_runs import Cycle, run_id
from dags.pods import PodOperator

ROOT = Path(__file__).parents[2]


def edges(dag: Any) -> set[tuple[str, str]]:
    return {(task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids}


def test_a_run_of_cpu_is_one_cycle_with_a_branch_to_go_on_halt_or_tell() -> None:
    pods = {"load", "execute"}
    assert edges(cpu.dag) == {
        ("execute", "load"),
        *((pod, after) for pod in pods for after in ("next_cycle", "halt", "read")),
        ("read", "notify"),
    }


def test_cpu_start_stores_the_program_before_it_starts_cpus() -> None:
    assert edges(cpu_start.dag) == {
        *(("store", "start_cpus"), ("start_cpus", "notify")),
        ("store", "announce"),  # beside the CPUs, which do not wait for Slack
    }


def test_cpu_watch_looks_before_it_resumes_and_looks_again_after() -> None:
    assert edges(cpu_watch.dag) == {("survey", "resume"), ("resume", "look_again")}


def test_old_pods_are_deleted_once_a_day_and_not_when_the_dag_is_first_seen() -> None:
    timetable = CronTriggerTimetable(str(cpu_clean_up.dag.schedule), timezone="UTC")
    assert cpu_clean_up.dag.start_date is None
    nothing_yet = TimeRestriction(earliest=None, latest=None, catchup=False)
    first = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=nothing_yet)
    assert first is not None
    now = datetime.now(UTC)
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
def test_the_branch_follows_the_status_in_the_result(
    result: dict[str, Any], task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    went_on: list[dict[str, Any]] = []
    monkeypatch.setattr(cpu, "trigger_next", went_on.append)
    assert cpu.after(result) == task_id
    assert went_on == ([result] if task_id == "next_cycle" else [])


@pytest.mark.parametrize("task_id", ["next_cycle", "halt", "read"])
def test_what_follows_load_and_execute_needs_only_one_of_them(task_id: str) -> None:
    assert cpu.dag.get_task(task_id).trigger_rule == "none_failed_min_one_success"


def test_a_pod_is_found_by_start_run_cpu_cycle_and_command() -> None:
    for task_id, command in (("load", "load"), ("execute", "exec"), ("read", "read")):
        pod = cpu.dag.get_task(task_id)
        assert isinstance(pod, PodOperator)
        labels = pod.labels
        assert labels["command"] == command
        assert {"start", "cpu", "cycle"} <= labels.keys()


def test_no_pod_is_given_a_secret_but_by_reference() -> None:
    for task in [task for dag in (cpu, cpu_cancel, cpu_start, cpu_watch) for task in dag.dag.tasks]:
        if isinstance(task, PodOperator):
            assert task.secret_env_vars == {"REDIS_URL": ("cpu-redis", "url")}
            assert task.env_vars.keys() == {"RESULT_FILE", "CPU_TTL"}


def test_a_cycle_has_one_run_id() -> None:
    cycle = Cycle(start="20261122-084725-a1b2c3", cpu=8, cycle=3, cycles=1)
    assert run_id(cycle) == "20261122-084725-a1b2c3.cpu-8.cycle-3"


def test_a_start_run_s_id_is_the_same_in_every_try_and_another_for_another_run() -> None:
    at = datetime(2026, 11, 22, 8, 47, 25, tzinfo=UTC)
    ids = [
        cpu_start.start_id({"dag_run": SimpleNamespace(run_id=name, run_after=at)})
        for name in ("manual__1", "manual__1", "manual__2")
    ]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].startswith("20261122-084725-")


HOSTILE = "nop +0\n$(REDIS_URL) {{ 1 + 1 }} '; rm -rf / #\x00\u2028"


@pytest.mark.parametrize("program", ["nop +0\n", HOSTILE, "acc +9223372036854775807\n" * 10_000])
def test_a_program_reaches_the_pod_whole_and_as_letters_that_mean_nothing(program: str) -> None:
    context = {
        "params": {
            **{"bundled": "none", "program": program, "parts": "part 2"},
            **{"stop_at_first_answer": False, "cycles": 100.0},  # as the form may have it
        },
        "dag_run": SimpleNamespace(run_id="manual__1", run_after=datetime.now(UTC)),
    }
    args = cpu_start.store_args(context)  # type: ignore[arg-type]
    flags, chunks = args[: args.index("--encoded")], args[args.index("--encoded") + 1 :]
    assert flags[3:] == ["--part", "2", "--keep-going", "--cycles", "100"]
    assert zlib.decompress(base64.b64decode("".join(chunks))).decode() == program
    assert all(len(chunk) <= cpu_start.CHUNK and "$" not in chunk for chunk in chunks)


@pytest.mark.parametrize(("chosen", "display"), [*cpu_start.BUNDLED.items()][1:])
def test_a_program_that_comes_along_is_what_the_form_says_of_it(chosen: str, display: str) -> None:
    program = programs.parse(cpu_start.program_of({"bundled": chosen, "program": "acc +1"}))
    cpus = len(list(program.candidates())) + 1
    assert display.startswith(f"{len(program)} lines")
    assert f" {cpus} CPUs" in display
    assert (reference.part1(program).isdigit(), len(reference.ending_cpus(program))) == (True, 1)


@pytest.mark.parametrize(
    ("parts", "cpus"), [("both", [0, 1, 3, 5, 8]), ("part 1", [0]), ("part 2", [1, 3, 5, 8])]
)
def test_one_cpu_is_started_for_every_candidate_of_the_parts_asked_for(parts: str, cpus: list[int]) -> None:
    assert cpu_start.cpus_to_start(parts, "0x12a") == cpus


@pytest.mark.parametrize(
    "conf",
    [
        {"program": ""},
        {"program": "nop +0\n" * 200_000},
        {"cycles": 0},
        {"cycles": "1; rm"},
        {"parts": "part 3"},
        {"stop_at_first_answer": "maybe"},
    ],
)
def test_the_form_refuses_what_makes_no_sense(conf: dict[str, Any]) -> None:
    params = {**cpu_start.dag.params, **conf}
    form = ParamsDict({key: Param(params[key], **cpu_start.dag.params.get_param(key).schema) for key in conf})
    with pytest.raises(ParamValidationError):
        form.validate()


@pytest.mark.parametrize("value", ["3", "401", "many", "1e2", "-5", ""])
def test_cpus_at_once_out_of_range_is_refused_by_name(value: str) -> None:
    with pytest.raises(ValueError, match="CPUS_AT_ONCE"):
        settings.cpus_at_once(value)


@pytest.mark.parametrize(
    ("value", "at_once", "deferred"),
    [("", 16, False), ("", 17, True), ("true", 4, True), ("False", 400, False)],
)
def test_many_cpus_are_waited_for_in_the_triggerer_unless_told_otherwise(
    value: str, at_once: int, deferred: bool
) -> None:
    assert settings.deferred(value, at_once) is deferred


@pytest.mark.parametrize("value", ["9", "86401", "often", "-60", ""])
def test_how_often_cpus_are_looked_after_out_of_range_is_refused_by_name(value: str) -> None:
    with pytest.raises(ValueError, match="CPU_WATCH"):
        settings.watch_seconds(value)


def test_the_dag_files_import_nothing_heavy() -> None:
    heavy = ["kubernetes", "kubernetes_asyncio", "redis", "slack_sdk", "cpu"]
    files = "dags.cpu, dags.cpu_cancel, dags.cpu_start, dags.cpu_watch"
    code = f"import sys, {files}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
