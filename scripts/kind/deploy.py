"""Deploy one commit to a cluster that is there to stay: the namespace of the pods, and Airflow's chart.

The Secrets that helm-values.yaml names must be there already; Redis and PostgreSQL are the cluster's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.kind import helm
from scripts.kind.kubectl import Kubectl
from scripts.local.settings import REPOSITORY

WORKLOADS = ("deployment/airflow-api-server", "statefulset/airflow-worker", "statefulset/airflow-triggerer")
"""What has to be up before the deployment is done. Helm itself waits for the database's migration."""


@dataclass(frozen=True)
class Commit:
    """What is deployed: an image of the CPU, a repository and a revision of the DAGs, Airflow's address."""

    image: str
    repository: str
    revision: str
    url: str


def values_of(commit: Commit) -> helm.Values:
    """Return the chart's values: the project's, with this commit's image and DAGs."""
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


def deploy(kubectl: Kubectl, chart: Path, commit: Commit, say: Callable[[str], None]) -> None:
    """Apply the manifests, install or upgrade the chart, and wait until Airflow is up."""
    say("applying scripts/cluster")
    kubectl("apply", "-k", str(REPOSITORY / "scripts/cluster"))
    say("installing Airflow's chart")
    helm.install(kubectl, chart, values_of(commit))
    for workload in WORKLOADS:
        say(f"waiting for {workload}")
        kubectl.wait_for(helm.NAMESPACE, workload, helm.PATIENCE_SECONDS)
