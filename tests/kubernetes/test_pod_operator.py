"""The provider's KubernetesPodOperator on the cluster under test: with and without XCom, deferred and not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import ROOT, Cluster

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

_RUN = Path(__file__).parent / "dags" / "pod_operator.py"
_WAYS = [f"{waiting}-{result}" for waiting in ("worker", "deferred") for result in ("plain", "xcom")]


@pytest.fixture(scope="module")
def outcomes(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of each DAG of dags/pod_operator.py, run by an Airflow with its own database."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(_RUN.parent),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "POD_KUBECONFIG": str(cluster.kubeconfig),
        "POD_CONTEXT": cluster.context or "",
        "POD_NAMESPACE": cluster.namespace,
        "POD_IMAGE": cluster.image,
    }
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    for command in (migrate, [sys.executable, str(_RUN), str(home / "outcomes.json")]):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    found: dict[str, Any] = json.loads((home / "outcomes.json").read_text())
    return found


@pytest.mark.parametrize("way", _WAYS)
def test_the_operator_runs_its_pod_and_returns_the_result(outcomes: dict[str, Any], way: str) -> None:
    expected = {"acc": 5} if way.endswith("xcom") else None
    assert outcomes[way] == {"state": "success", "result": expected}


def test_a_failing_pod_fails_its_task(outcomes: dict[str, Any]) -> None:
    assert outcomes["failing"]["state"] == "failed"


def test_all_pods_are_deleted(cluster: Cluster, outcomes: dict[str, Any]) -> None:
    left = cluster.api.list_namespaced_pod(cluster.namespace, label_selector="kubernetes_pod_operator=True")
    deleted = [pod.metadata.deletion_timestamp for pod in left.items]
    assert outcomes
    assert all(deleted)
