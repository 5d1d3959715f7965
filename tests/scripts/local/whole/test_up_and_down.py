"""A whole stack with a small DAG: up, up again, after a crash, down, interrupted, with a broken DAG."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.airflow_api import Api
from scripts.local import processes, supervisor
from scripts.local.passwords import passwords
from scripts.local.services.airflow import ADMIN
from scripts.local.settings import REPOSITORY, Settings, load
from scripts.waiting import wait_until
from tests.support.processes import running

DAG = """
import os
from airflow.sdk import dag, task

@dag(schedule=None)
def report():
    @task
    def variables():
        import sys
        names = ("CPU_NAMESPACE", "CPU_IMAGE", "CPU_SECRET", "CPUS_AT_ONCE")
        preloaded = "airflow.providers.cncf.kubernetes.hooks.kubernetes" in sys.modules
        return {"preloaded": preloaded, **{name: os.environ[name] for name in names}}
    variables()

report()
"""


class CommandLine:
    """The command line on one state folder."""

    def __init__(self, settings: Settings, dags: Path) -> None:
        self.settings = settings
        self.options = [
            f"--port={settings.port}",
            f"--redis-port={settings.redis_port}",
            f"--kube-port={settings.kube_port}",
            f"--dags={dags}",
            "--cpus-at-once=8",
        ]

    def command(self, name: str, *options: str) -> list[str]:
        return [sys.executable, "-m", "scripts.local", name, f"--state={self.settings.state}", *options]

    def run(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(name, *options), cwd=REPOSITORY, capture_output=True, text=True, check=False
        )

    def up(self) -> subprocess.CompletedProcess[str]:
        return self.run("up", *self.options)

    def status(self) -> tuple[int, dict[str, str]]:
        shown = self.run("status", "--json")
        rows = json.loads(shown.stdout)["components"]
        return shown.returncode, {row["component"]: row["state"] for row in rows}

    def run_dag(self) -> dict[str, str]:
        """Run the DAG and return the XCom of its task."""
        with Api(self.settings.api_url, ADMIN, passwords(self.settings.state).admin) as api:
            run = api.trigger("report", {})["dag_run_id"]
            assert wait_until(lambda: api.run("report", run)["state"] == "success", 120)
            found: dict[str, str] = api.xcom("report", run, "variables")
            return found


@pytest.fixture
def stack(settings: Settings, tmp_path: Path) -> Iterator[CommandLine]:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "report.py").write_text(DAG)
    (dags / "never_called.py").write_text(
        "from airflow.sdk import dag\n@dag\ndef never_called():\n    pass\n"
    )
    (dags / "ignored.py").write_text("from airflow.sdk import DAG\nraise ValueError\n")
    (dags / ".airflowignore").write_text("ignored.py\n")
    stack = CommandLine(settings, dags)
    try:
        yield stack
    finally:
        down = stack.run("down")
        assert down.returncode == 0, down.stderr
        assert not processes.members(settings)


def test_a_stack_comes_up_again_after_a_crash_with_its_data(stack: CommandLine) -> None:
    first = stack.up()
    assert first.returncode == 0, first.stderr
    assert passwords(stack.settings.state).admin in first.stdout
    assert stack.run_dag() == {
        "preloaded": True,
        "CPU_NAMESPACE": "cpu-jobs",
        "CPU_IMAGE": "cpu:dev",
        "CPU_SECRET": "cpu-redis",
        "CPUS_AT_ONCE": "8",
    }
    code, states = stack.status()
    assert (code, set(states.values())) == (0, {"running"})

    again = stack.up()
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "already up")
    as_json = stack.run("up", "--json", *stack.options)
    assert as_json.returncode == 0, as_json.stderr
    assert json.loads(as_json.stdout) == {
        "url": stack.settings.api_url,
        "user": ADMIN,
        "password": passwords(stack.settings.state).admin,
        "already_up": True,
    }
    other = stack.run("up", "--cpus-at-once=9")
    assert other.returncode == 1
    assert "run down first" in other.stderr

    with supervisor.Supervisor(stack.settings) as supervised:
        os.kill(supervised.pid(), signal.SIGKILL)
        killed = load(stack.settings.state)
    assert killed is not None
    assert stack.status()[0] == 3
    assert processes.members(stack.settings)

    back = stack.up()
    assert back.returncode == 0, back.stderr
    with Api(stack.settings.api_url, ADMIN, passwords(stack.settings.state).admin) as api:
        assert api.count_runs("report") == 1

    assert stack.run("down").returncode == 0
    assert not processes.members(stack.settings)
    assert stack.status() == (3, dict.fromkeys(states, "stopped"))


def test_an_interrupted_up_leaves_nothing_running(stack: CommandLine) -> None:
    with running(
        stack.command("up", *stack.options), cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    ) as up:
        assert up.stderr is not None
        for line in up.stderr:
            if "Airflow's API" in line:
                up.send_signal(signal.SIGINT)
                break
        up.stderr.read()
    assert up.returncode == 130
    assert not processes.members(stack.settings)


def test_up_names_a_dag_file_that_cannot_be_imported_and_stops_everything(
    stack: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "dags" / "broken.py").write_text(
        'from airflow.sdk import DAG\nwith DAG("x"):\n    raise ValueError("no good")\n'
    )
    failed = stack.up()
    assert failed.returncode == 1
    assert "broken.py can't be imported: ValueError: no good" in failed.stderr
    assert not processes.members(stack.settings)
