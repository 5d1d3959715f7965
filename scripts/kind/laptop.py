"""Create a cluster on this machine with kind, and build its images with Docker."""

from __future__ import annotations

from collections.abc import Callable

from scripts.kind.kubectl import Kubectl, run
from scripts.local.settings import REPOSITORY

CLUSTER = "cluster-cpu"
CPU_IMAGE = "cpu:dev"
AIRFLOW_IMAGE = "cluster-cpu-airflow:dev"
FOLDER = REPOSITORY / "scripts/kind"


def require_tools() -> None:
    """Raise KindError if kubectl, kind or Docker is missing, or if Docker is not running."""
    run("kubectl", "version", "--client")
    run("kind", "version")
    run("docker", "info")


def cluster(on_progress: Callable[[str], None]) -> Kubectl:
    """Create the cluster if it does not exist, load the images of this repository, and return the cluster."""
    if CLUSTER not in run("kind", "get", "clusters").split():
        on_progress("creating the cluster")
        run("kind", "create", "cluster", "--config", str(FOLDER / "kind.yaml"))
    on_progress("building the images")
    run("docker", "build", "--tag", CPU_IMAGE, "cpu_image", cwd=REPOSITORY)
    dockerfile = str(FOLDER / "airflow.Dockerfile")
    run("docker", "build", "--tag", AIRFLOW_IMAGE, "--file", dockerfile, ".", cwd=REPOSITORY)
    on_progress("loading the images")
    run("kind", "load", "docker-image", "--name", CLUSTER, CPU_IMAGE, AIRFLOW_IMAGE)
    return Kubectl(f"kind-{CLUSTER}")


def remove() -> None:
    """Delete the cluster and everything in it."""
    run("kind", "delete", "cluster", "--name", CLUSTER)
