"""A cluster on this machine, by kind, and the images on it, by Docker."""

from __future__ import annotations

from collections.abc import Callable

from scripts.kind.kubectl import Kubectl, run
from scripts.local.settings import REPOSITORY

CLUSTER = "cluster-cpu"
CPU_IMAGE = "cpu:dev"
AIRFLOW_IMAGE = "cluster-cpu-airflow:dev"
FOLDER = REPOSITORY / "scripts/kind"


def require_tools() -> None:
    """Raise KindError when a program that is needed is not there, or Docker does not run."""
    run("kubectl", "version", "--client")
    run("kind", "version")
    run("docker", "info")


def cluster(say: Callable[[str], None]) -> Kubectl:
    """The cluster with this repository's images; made if there is none."""
    if CLUSTER not in run("kind", "get", "clusters").split():
        say("making the cluster")
        run("kind", "create", "cluster", "--config", str(FOLDER / "kind.yaml"))
    say("building the images")
    run("docker", "build", "--tag", CPU_IMAGE, "cpu_image", cwd=REPOSITORY)
    dockerfile = str(FOLDER / "airflow.Dockerfile")
    run("docker", "build", "--tag", AIRFLOW_IMAGE, "--file", dockerfile, ".", cwd=REPOSITORY)
    say("loading the images")
    run("kind", "load", "docker-image", "--name", CLUSTER, CPU_IMAGE, AIRFLOW_IMAGE)
    return Kubectl(f"kind-{CLUSTER}")


def remove() -> None:
    """Delete the cluster and all that is in it."""
    run("kind", "delete", "cluster", "--name", CLUSTER)
