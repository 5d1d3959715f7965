"""Whole stacks for the end-to-end tests: PostgreSQL, Redis, Airflow, Kubernetes; and a Slack to post to.

With --kubeconfig the pods run on that cluster; it must have the image cpu:dev or else the one that
STACK_IMAGE names, and its pods must reach this machine at --host-for-pods.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.airflow_api import Api
from scripts.bench.stacks import free_ports
from scripts.local.passwords import passwords
from scripts.local.services import kubernetes
from scripts.local.services.airflow import ADMIN
from scripts.local.settings import REPOSITORY, load
from tests.support.slack.server import TOKEN, SlackServer
from tests.support.stack import Stack


@pytest.fixture(scope="session")
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture(scope="session")
def stack(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, slack: SlackServer
) -> Iterator[Stack]:
    """The stack as `make up` brings it up, and down again after."""
    with stack_in(tmp_path_factory.mktemp("stack") / "state", slack, of_cluster(pytestconfig)) as up:
        yield up


@pytest.fixture(scope="module")
def wide_stack(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, slack: SlackServer
) -> Iterator[Stack]:
    """A second stack, beside the first, for more CPUs at once than there are workers."""
    options = [*of_cluster(pytestconfig), "--cpus-at-once=64"]
    with stack_in(tmp_path_factory.mktemp("wide") / "state", slack, options) as up:
        yield up


def of_cluster(config: pytest.Config) -> list[str]:
    """The options that make a stack use the cluster under test, in a namespace of its own."""
    if not (kubeconfig := config.getoption("--kubeconfig")):
        return []
    context = config.getoption("--context")
    return [
        f"--kubeconfig={kubeconfig}",
        *([f"--context={context}"] if context else []),
        f"--pods-reach-host-at={config.getoption('--host-for-pods')}",
        f"--namespace=cpu-test-{uuid.uuid4().hex[:8]}",
    ]


@contextmanager
def stack_in(state: Path, slack: SlackServer, options: list[str]) -> Iterator[Stack]:
    port, redis_port, kube_port = free_ports(3)
    ports = [f"--port={port}", f"--redis-port={redis_port}", f"--kube-port={kube_port}"]
    connection = {
        "conn_type": "generic",
        "password": TOKEN,
        "extra": {"channel": "C0CPU", "base_url": slack.api},
    }
    environment = {**os.environ, "AIRFLOW_CONN_SLACK_CPU": json.dumps(connection), "STACK_DIR": str(state)}
    command = [sys.executable, "-m", "scripts.local"]
    try:
        every = [*ports, *options]
        subprocess.run([*command, "up", *every], cwd=REPOSITORY, env=environment, check=True)
        settings = load(state)
        assert settings is not None
        with Api(settings.api_url, ADMIN, passwords(state).admin) as api:
            yield Stack(settings, api, slack, environment, tuple(every))
        if settings.kubeconfig:
            kubernetes.core_api(settings).delete_namespace(settings.namespace)
    finally:
        subprocess.run([*command, "down"], cwd=REPOSITORY, env=environment, check=True)
