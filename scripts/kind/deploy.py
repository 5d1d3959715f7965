"""Deploy one commit to a permanent cluster: the namespace of the pods, and Airflow's chart.

The cluster must already have PostgreSQL, Redis and the Secrets that helm-values.yaml lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.kind import helm
from scripts.kind.kubectl import Kubectl
from scripts.local.settings import REPOSITORY

WORKLOADS = (
    "deployment/airflow-api-server",
    "deployment/airflow-scheduler",
    "statefulset/airflow-worker",
    "statefulset/airflow-triggerer",
)
"""The workloads that must run before the deployment counts as done. Helm waits for the database migration."""


@dataclass(frozen=True)
class Commit:
    """What to deploy: the CPU's image, git repository and revision of the DAGs, and Airflow's URL."""

    image: str
    repository: str
    revision: str
    url: str


def values_of(commit: Commit) -> helm.Values:
    """Return the project's values for the chart, with this commit's image and DAGs."""
    values = helm.values([], below=helm.VALUES[:1])
    environment = [
        {**one, "value": commit.image} if one["name"] == "CPU_IMAGE" else one for one in values["env"]
    ]
    above: dict[str, Any] = {
        "env": environment,
        "dags": {"gitSync": {"repo": commit.repository, "ref": commit.revision}},
        "config": {"api": {"base_url": commit.url}},
    }
    return helm.merged(values, above)


def deploy(kubectl: Kubectl, chart: Path, commit: Commit, on_progress: Callable[[str], None]) -> None:
    """Apply the manifests, install or upgrade the chart, and wait until Airflow is up."""
    on_progress("applying scripts/cluster")
    kubectl("apply", "-k", str(REPOSITORY / "scripts/cluster"))
    on_progress("installing Airflow's chart")
    helm.install(kubectl, chart, values_of(commit))
    for workload in WORKLOADS:
        on_progress(f"waiting for {workload}")
        kubectl.wait_for(helm.NAMESPACE, workload, helm.PATIENCE_SECONDS)
