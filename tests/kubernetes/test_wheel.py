"""The wheel, installed beside a stock Airflow in a clean environment: its example runs on the cluster."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Callable

import pytest

from airflow_pods.provider import DISTRIBUTION
from tests.support.cluster import ROOT, Cluster
from tests.support.wheel import build

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]

RUN = """
import json, os
from datetime import UTC, datetime
from types import SimpleNamespace
from airflow_pods.example_dags.count_words import dag

task = dag.get_task("count").prepare_for_execution()
params = {**dag.params.dump(), **json.loads(os.environ["PARAMS"])}
run = SimpleNamespace(run_after=datetime.now(UTC))
ti = SimpleNamespace(dag_id=dag.dag_id, run_id="run", task_id="count", map_index=-1)
context = {"dag": dag, "dag_run": run, "params": params, "ti": ti}
task.render_template_fields(context)
print("RESULT", json.dumps(task.execute(context)))
"""
"""A program that runs the example's task, as a worker does, but without a database."""
Run = Callable[..., str]
"""Runs a program of the environment and returns what it prints."""


def uv(*arguments: object) -> None:
    """Run uv with the package index of this machine."""
    words = (ROOT / ".venv/uv/bin/python", ROOT / "scripts/uv.py", *arguments)
    command = [str(word) for word in words]
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def run(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An environment with the wheel, what it asks for in the locked versions, and nothing of this project."""
    folder = tmp_path_factory.mktemp("installed")
    environment, locked = folder / "environment", folder / "locked.txt"
    uv("export", "--frozen", "--no-header", "--no-annotate", "--no-default-groups", "--output-file", locked)
    uv("venv", "--python", ROOT / ".venv/bin/python", environment)
    uv("pip", "install", "--python", environment, "--constraint", locked, build(folder / "dist"))
    extra = {"kube_config_path": str(cluster.kubeconfig), "cluster_context": cluster.context}
    settings = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps({"conn_type": "kubernetes", "extra": extra}),
        "PARAMS": json.dumps({"namespace": cluster.namespace, "image": cluster.image, "text": "a b c d"}),
    }

    def run(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [environment / "bin" / program, *arguments],
            cwd=folder,
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout + done.stderr

    return run


def test_airflow_lists_the_provider_and_its_executor_and_complains_of_nothing(run: Run) -> None:
    version = tomllib.loads((ROOT / "dags/pods/pyproject.toml").read_text())["project"]["version"]
    [found] = [
        one
        for one in json.loads(run("airflow", "providers", "list", "--output", "json"))
        if one["package_name"] == DISTRIBUTION
    ]
    assert found["version"] == version
    assert "airflow_pods.executor.PodExecutor" in run("airflow", "providers", "executors")


def test_the_example_runs_its_pod_and_returns_the_result(run: Run, cluster: Cluster) -> None:
    [result] = [line for line in run("python", "-c", RUN).splitlines() if line.startswith("RESULT ")]
    assert json.loads(result.removeprefix("RESULT ")) == {"words": 4, "sentence": "counted 4 words"}
    left = cluster.api.list_namespaced_pod(cluster.namespace).items
    own = [pod for pod in left if pod.metadata.name.startswith("count-words-")]
    assert all(pod.metadata.deletion_timestamp for pod in own)


def test_the_wheel_is_what_ran(run: Run) -> None:
    """And not this repository's sources, nor anything else that lies around here."""
    path = run("python", "-c", "import airflow_pods; print(airflow_pods.__file__)").strip().splitlines()[-1]
    assert "/site-packages/airflow_pods/" in path
    assert str(ROOT) not in path
