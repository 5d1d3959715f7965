"""Which DAGs a folder has, as Airflow itself finds them, and how ``up`` waits for them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from scripts.airflow_api import Api
from scripts.local import dag_files, starter
from scripts.local.airflow_startup import wait_for_dags
from scripts.local.errors import StackError
from scripts.local.settings import REPOSITORY, Settings
from scripts.local.starter import Starter

EMPTY = "from airflow.sdk import DAG\nwith DAG({!r}):\n    pass\n"
FILES = {
    "good.py": "import beside\n" + EMPTY.format("good"),
    "beside.py": "",
    "folder/below.py": EMPTY.format("below"),
    "looks_like_one.py": "from airflow.sdk import dag\n@dag\ndef never_called():\n    pass\n",
    ".airflowignore": "ignored.py\n",
    "ignored.py": "from airflow.sdk import DAG\nraise ValueError('read')\n",
    "broken.py": "from airflow.sdk import DAG\nraise ValueError('no good')\n",
    "ends.py": "from airflow.sdk import DAG\nraise SystemExit(3)\n",
}


def test_dags_and_broken_files_of_a_folder_are_found_by_airflows_own_rules(tmp_path: Path) -> None:
    folder = tmp_path / "my dags"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    subprocess.run(
        [sys.executable, "-m", "scripts.local.dag_files", str(folder), str(tmp_path / "found")],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    found = dag_files.load(tmp_path / "found")
    assert found.dags == {"good": str(folder / "good.py"), "below": str(folder / "folder" / "below.py")}
    last_lines = {file: trace.splitlines()[-1] for file, trace in found.errors.items()}
    assert last_lines == {
        str(folder / "broken.py"): "ValueError: no good",
        str(folder / "ends.py"): "SystemExit: 3",
    }


class FakeApi:
    """Airflow's API after the DAG processor has parsed these DAGs and failed on these files."""

    def __init__(self, dags: list[str], errors: list[str] | None = None) -> None:
        self._dags, self._errors = dags, errors or []

    def dags(self) -> list[dict[str, Any]]:
        return [{"dag_id": dag, "last_parsed_time": later()} for dag in self._dags]

    def import_errors(self) -> list[dict[str, Any]]:
        return [
            {"filename": file, "timestamp": later(), "stack_trace": "Trace\nValueError: no good\n"}
            for file in self._errors
        ]


def later() -> str:
    return (datetime.now(UTC) + timedelta(seconds=1)).isoformat()


@pytest.fixture
def impatient(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Starter:
    """A starter that checks only once, and whose DAG processor has just started."""
    impatient = Starter(settings, lambda _: None)
    monkeypatch.setattr(impatient, "started_at", lambda _: datetime.now(UTC))
    monkeypatch.setattr(starter, "TIMEOUT_SECONDS", 0)
    return impatient


def wait(starter: Starter, api: FakeApi, files: dict[str, str]) -> None:
    wait_for_dags(cast("Api", api), starter, files)


def test_up_waits_until_every_dag_of_its_folder_is_parsed(impatient: Starter) -> None:
    wait(impatient, FakeApi(["one", "another stack's"]), {"one": "/dags/one.py"})
    wait(impatient, FakeApi([]), {})


def test_up_names_the_file_that_the_dag_processor_cannot_import(impatient: Starter) -> None:
    with pytest.raises(StackError, match=r"^/dags/a\.py can't be imported: ValueError: no good$"):
        wait(impatient, FakeApi([], ["/dags/a.py"]), {"a": "/dags/a.py"})


def test_up_names_the_dags_that_were_not_parsed_in_time(impatient: Starter) -> None:
    with pytest.raises(StackError, match=r"^the DAGs did not .*: two of /dags/two\.py$"):
        wait(impatient, FakeApi(["one"]), {"one": "/dags/one.py", "two": "/dags/two.py"})


def test_up_refuses_a_folder_of_dags_that_does_not_exist(settings: Settings, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.local", "up", "--state", settings.state, "--dags", tmp_path / "no"],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, settings.state.exists()) == (1, False)
    assert (
        done.stderr
        == f"error: the folder of DAGs {tmp_path / 'no'} does not exist: name another with --dags\n"
    )
