"""The values for the official chart: right for its schema, for Airflow, and for what the DAGs need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import sqlalchemy
from airflow.configuration import retrieve_configuration_description
from airflow.executors.base_executor import BaseExecutor
from airflow.models.dagrun import DagRun

from airflow_pods.operator import POD_EXECUTOR
from dags import settings as dag_settings
from scripts.kind import helm
from scripts.local import clean_up
from scripts.local.passwords import passwords
from scripts.local.preload.airflow_local_settings import NEEDED_BY_TASKS
from scripts.local.services import airflow_config
from scripts.local.settings import Settings
from tests.support.chart import ROOT, SCHEMA, values

VALUES = values()
BARE = ROOT / "tests/chart/bare.yaml"
EVERYWHERE = {"a cluster": VALUES, "one machine": helm.values([]), "a bare cluster": helm.values([BARE])}
ENVIRONMENT = {one["name"]: one["value"] for one in VALUES["env"]}
# What one machine and a cluster differ in.
OF_THE_PLACE = {
    ("core", "parallelism"),
    ("api", "base_url"),
    ("celery", "worker_concurrency"),
    ("celery", "sync_parallelism"),
    ("operators", "default_deferrable"),
    ("scheduler", "orphaned_tasks_check_interval"),  # without the local stack's lower thresholds beside it
}


def options() -> dict[tuple[str, str], Any]:
    """Airflow's options that the values set, by section and name."""
    return {
        (section, name): value for section, named in VALUES["config"].items() for name, value in named.items()
    }


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    if not SCHEMA.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"there is no {SCHEMA}: name the chart's values.schema.json by AIRFLOW_CHART_SCHEMA")
    return dict(json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("given", EVERYWHERE.values(), ids=EVERYWHERE)
def test_the_values_match_the_chart_s_schema(given: dict[str, Any], schema: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(schema).validate(given)


@pytest.mark.parametrize("given", EVERYWHERE.values(), ids=EVERYWHERE)
def test_the_chart_defines_every_value_that_is_set(given: dict[str, Any], schema: dict[str, Any]) -> None:
    """The schema lets unknown names pass, at the top and in much below."""
    unknown = [path for path in unknown_names(given, schema) if not path.startswith("config.")]
    assert unknown == []


def unknown_names(given: dict[str, Any], schema: dict[str, Any], path: str = "") -> list[str]:
    known = schema.get("properties", {})
    found = []
    for name, value in given.items():
        if known and name not in known:
            found.append(f"{path}{name}")
        elif isinstance(value, dict):
            found += unknown_names(value, known.get(name, {}), f"{path}{name}.")
    return found


def test_the_chart_deploys_the_tested_airflow_version() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    [version] = [one["version"] for one in lock["package"] if one["name"] == "apache-airflow-core"]
    assert VALUES["airflowVersion"] == VALUES["defaultAirflowTag"] == version


def test_airflow_defines_every_option_that_is_set() -> None:
    known = retrieve_configuration_description(include_providers=True)
    # The Celery provider is in Airflow's image, not here.
    asked = {(section, name) for section, name in options() if section != "celery"}
    assert {one for one in asked if one[1] not in known.get(one[0], {}).get("options", {})} == set()


def test_airflow_has_the_same_options_as_in_the_local_stack(tmp_path: Path) -> None:
    (state := tmp_path / "state").mkdir()
    local = airflow_config.configuration(Settings(state), passwords(state))
    shared = {one: value for one, value in options().items() if one not in OF_THE_PLACE}
    assert shared == {
        one: str(local[one[0]][one[1]]) if isinstance(shared[one], str) else local[one[0]][one[1]]
        for one in shared
    }


@pytest.mark.parametrize("where", ["a cluster", "one machine"])
def test_a_scheduler_has_room_for_all_pods_and_for_its_share_of_the_worker_slots(where: str) -> None:
    """Airflow's `parallelism` is the number of tasks of each scheduler, of all executors."""
    given = EVERYWHERE[where]
    workers = given["workers"]["celery"]["replicas"] * given["config"]["celery"]["worker_concurrency"]
    of_workers = workers // given["scheduler"]["replicas"]
    assert given["config"]["core"]["parallelism"] == int(ENVIRONMENT["CPUS_AT_ONCE"]) + of_workers


def test_pods_need_no_worker_and_all_that_is_not_a_pod_has_one() -> None:
    """The first executor is the default one."""
    assert VALUES["executor"].split(",") == ["CeleryExecutor", POD_EXECUTOR]


def test_the_executor_of_pods_can_be_imported_with_the_repository_s_root_on_the_path() -> None:
    assert issubclass(resolve_name(VALUES["executor"].split(",")[1]), BaseExecutor)


def test_the_environment_variables_that_the_dags_read_are_set() -> None:
    asked = {name for name in ENVIRONMENT if name.startswith("CPU")}
    assert asked == {"CPU_IMAGE", "CPU_NAMESPACE", "CPU_SECRET", "CPUS_AT_ONCE"}
    assert (ENVIRONMENT["CPU_NAMESPACE"], ENVIRONMENT["CPU_SECRET"]) == ("cpu-jobs", "cpu-redis")
    assert dag_settings.cpus_at_once(ENVIRONMENT["CPUS_AT_ONCE"]) > 16


def test_no_pod_holds_a_worker() -> None:
    assert VALUES["config"]["operators"]["default_deferrable"] is True


@pytest.mark.parametrize(
    ("command", "warm"), [("celery worker", True), ("scheduler", False), ("celery inspect", False)]
)
def test_only_a_worker_preloads_what_tasks_import(tmp_path: Path, command: str, warm: bool) -> None:
    (tmp_path / "airflow_local_settings.py").write_text(VALUES["airflowLocalSettings"])
    script = f"""import sys; sys.argv = ["airflow", *{command.split()}]; import airflow_local_settings
print(set({NEEDED_BY_TASKS}) <= sys.modules.keys())"""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'dags/pods'}:{tmp_path}"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == str(warm)


class Script:
    """A script of the values, run with a program in `airflow`'s place that writes down how it was called."""

    def __init__(self, folder: Path) -> None:
        self.database = f"sqlite:///{folder}/airflow.db"
        self._called, self._input = folder / "called", folder / "input"
        airflow = folder / "airflow"
        airflow.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{self._called}\ncat >{self._input}\n")
        airflow.chmod(0o755)
        self._environment = {
            "PATH": f"{folder}:{Path(sys.executable).parent}:{os.defpath}",
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database,
        }

    def run(self, args: list[str], **environment: str) -> tuple[list[str], str]:
        """The arguments and the input that `airflow` was given."""
        whole = {**self._environment, **environment}
        done = subprocess.run(
            args, env=whole, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return self._called.read_text().splitlines(), self._input.read_text()


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def test_the_admin_password_is_passed_by_standard_input(script: Script) -> None:
    called, read = script.run(VALUES["createUserJob"]["args"], ADMIN_PASSWORD="a secret")
    assert called[:2] == ["users", "create"]
    assert not any("secret" in word for word in called)
    assert read == "a secret\na secret\n"


NOW = datetime.now(UTC)


def days_ago(number: float) -> datetime:
    return NOW - timedelta(days=number)


@pytest.mark.parametrize(
    ("runs", "kept"),
    [
        ([("success", 40), ("failed", 30)], 14),
        ([("queued", 20), ("running", 30), ("failed", 40)], 30),
    ],
)
def test_clean_up_keeps_history_younger_than_the_oldest_run_in_progress(
    runs: list[tuple[str, int]], kept: int, script: Script
) -> None:
    put_into(script.database, runs)
    called, _ = script.run(VALUES["databaseCleanup"]["args"])
    assert called[:2] == ["db", "clean"]
    given = dict(word.partition("=")[::2] for word in called[2:])
    assert abs(datetime.fromisoformat(given["--clean-before-timestamp"]) - days_ago(kept)) < timedelta(
        hours=1
    )
    assert given["--tables"].split(",") == list(clean_up.TABLES)


def put_into(database: str, runs: list[tuple[str, int]]) -> None:
    """Make Airflow's table of DAG runs, with runs in these states that were created that many days ago."""
    engine = sqlalchemy.create_engine(database)
    table = DagRun.__table__
    table.create(engine)
    with engine.begin() as connection:
        for number, (state, days) in enumerate(runs):
            row: dict[str, Any] = {"dag_id": "cpu", "run_id": str(number), "state": state}
            row |= dict.fromkeys(("created_at", "run_after"), days_ago(days))
            row |= {
                "run_type": "manual",
                "log_template_id": 1,
                "clear_number": 0,
                "span_status": "not_started",
            }
            connection.execute(table.insert(), row)
    engine.dispose()
