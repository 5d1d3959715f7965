"""Airflow from its chart on a cluster, installed by `python -m scripts.kind up`.

The cluster is a bare one whose only node is this machine and which cannot pull images. The tests provide what
it lacks: images are built from stand_ins/, network.py provides services and DNS, and volumes are folders.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.airflow_api import Api
from scripts.kind.passwords import SLACK
from scripts.local.ports import free_ports
from scripts.local.settings import REPOSITORY
from tests.chart.network import network
from tests.support.chart import CHART
from tests.support.cluster import Cluster
from tests.support.slack.server import TOKEN, SlackServer

FOLDER = Path(__file__).parent
REGISTRY = "127.0.0.1:50500"
PODS, HOST = "10.88.0.0/16", "10.88.0.1"
AIRFLOW = "apache/airflow:3.3.2"
PATIENCE_SECONDS = 1200


@dataclass(frozen=True)
class Deployed:
    """The deployed Airflow's API, and the Slack stand-in that it posts to."""

    api: Api
    slack: SlackServer


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    kubeconfig = request.config.getoption("--kubeconfig")
    assert kubeconfig, "these tests need a real cluster: name it with --kubeconfig PATH"
    assert CHART, "these tests need the chart: name its archive or folder with AIRFLOW_CHART"
    context = request.config.getoption("--context")
    found = Cluster.connect(Path(kubeconfig).resolve(), "airflow", "", context)
    yield found
    found.api.api_client.close()


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> None:
    """Build every image that the deployment uses and push it to the cluster's own registry."""
    stand_ins = FOLDER / "stand_ins"
    build(AIRFLOW, stand_ins / "airflow.Dockerfile", stand_ins, f"AIRFLOW_VERSION={AIRFLOW.split(':')[1]}")
    build("redis:7.2-bookworm", stand_ins / "redis.Dockerfile", stand_ins)
    build("postgres:17-bookworm", stand_ins / "postgres.Dockerfile", stand_ins)
    stand_in = "PYTHON_IMAGE=docker.io/library/python:3.13-slim"
    build("cpu:dev", REPOSITORY / "cpu_image/Dockerfile", REPOSITORY / "cpu_image", stand_in)
    dockerfile = REPOSITORY / "scripts/kind/airflow.Dockerfile"
    build("cluster-cpu-airflow:dev", dockerfile, REPOSITORY, f"AIRFLOW_IMAGE={AIRFLOW}")
    pull(cluster, "cpu:dev")


def build(name: str, dockerfile: Path, context: Path, *arguments: str) -> None:
    """Build an image and push it."""
    path = name if "/" in name else f"library/{name}"
    options = [f"--build-arg={argument}" for argument in arguments]
    how = ["--isolation=chroot", "--pull-never", "--layers", f"--file={dockerfile}"]
    subprocess.run(["buildah", "bud", *how, f"--tag=docker.io/{path}", *options, str(context)], check=True)
    target = f"docker://{REGISTRY}/{path}"
    push = ["buildah", "push", "--quiet", "--tls-verify=false", f"docker.io/{path}", target]
    subprocess.run(push, check=True)


def pull(cluster: Cluster, image: str) -> None:
    """Have the node pull the image: it may have an older one of the same name."""
    pod = ["pull", "--namespace=default"]
    always = [f"--image={image}", "--image-pull-policy=Always", "--restart=Never", "--", "--help"]
    cluster.kubectl("run", *pod, *always)
    try:
        cluster.kubectl("wait", "pod", *pod, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=50s")
    finally:
        cluster.kubectl("delete", "pod", *pod)


@pytest.fixture(scope="session")
def volumes(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Create a volume, backed by a folder, for each claim."""
    folder = tmp_path_factory.mktemp("volumes")
    made = [volume(folder / f"test-volume-{number}") for number in range(5)]
    objects = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    cluster.kubectl("apply", "-f", "-", input=objects)
    yield
    cluster.kubectl("delete", "--wait=false", "-f", "-", input=objects)


def volume(path: Path) -> dict[str, object]:
    path.mkdir()
    path.chmod(0o777)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": path.name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(path)},
        },
    }


@pytest.fixture(scope="session")
def services(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with network(cluster, PODS, HOST, tmp_path_factory.mktemp("network")):
        yield


@pytest.fixture(scope="session")
def deployed(cluster: Cluster, images: None, volumes: None, services: None) -> Iterator[Deployed]:
    """Install everything on a cluster that has none of it, and remove it afterwards."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "tests.chart.old_kubernetes"]
    where = [f"--kubeconfig={cluster.kubeconfig}", f"--context={cluster.context or current(cluster)}"]
    up = [*command, "up", *where, f"--port={port}", f"--values={FOLDER / 'bare.yaml'}"]
    with SlackServer(address=HOST) as slack:
        connection = {"conn_type": "generic", "password": TOKEN}
        connection["extra"] = json.dumps({"channel": "C0CPU", "base_url": slack.api})
        environment = {**os.environ, SLACK: json.dumps(connection)}
        pipe = subprocess.PIPE
        with subprocess.Popen(up, cwd=REPOSITORY, env=environment, stdout=pipe, text=True) as process:
            try:
                assert process.stdout is not None
                said = process.stdout.readline()
                assert said, "it did not come up: what it said is above"
                _, url, _, user, _, password = said.split()
                with Api(url, user, password) as api:
                    yield Deployed(api, slack)
            finally:
                process.terminate()
                process.wait()
                subprocess.run([*command, "down", *where], cwd=REPOSITORY, check=True)


def current(cluster: Cluster) -> str:
    return cluster.kubectl("config", "current-context").strip()
