"""One whole stack for all end-to-end tests: PostgreSQL, Redis, Airflow, Kubernetes; and a Slack to post to.

With --kubeconfig the pods run on that cluster; it must have the image cpu:dev, and its pods must reach
this machine at --host-for-pods.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.local.airflow import ADMIN
from scripts.local.api import Api
from scripts.local.passwords import passwords
from scripts.local.settings import REPOSITORY, load
from tests.airflow.stack import Stack
from tests.slack.server import TOKEN, SlackServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.airflow)
            item.add_marker(pytest.mark.timeout(900))


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="session")
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, slack: SlackServer
) -> Iterator[Stack]:
    state = tmp_path_factory.mktemp("stack") / "state"
    port, redis_port, kube_port = free_ports(3)
    options = [f"--port={port}", f"--redis-port={redis_port}", f"--kube-port={kube_port}"]
    if kubeconfig := request.config.getoption("--kubeconfig"):
        options += [
            f"--kubeconfig={kubeconfig}",
            f"--pods-reach-host-at={request.config.getoption('--host-for-pods')}",
            f"--namespace=cpu-test-{uuid.uuid4().hex[:8]}",
        ]
        if context := request.config.getoption("--context"):
            options += [f"--context={context}"]
    connection = {
        "conn_type": "generic",
        "password": TOKEN,
        "extra": {"channel": "#cpu", "base_url": slack.api},
    }
    environment = {**os.environ, "AIRFLOW_CONN_SLACK_CPU": json.dumps(connection), "STACK_DIR": str(state)}
    command = [sys.executable, "-m", "scripts.local"]
    try:
        subprocess.run([*command, "up", *options], cwd=REPOSITORY, env=environment, check=True)
        settings = load(state)
        assert settings is not None
        with Api(settings.api_url, ADMIN, passwords(state).admin) as api:
            yield Stack(settings, api, slack, environment)
    finally:
        subprocess.run([*command, "down"], cwd=REPOSITORY, env=environment, check=True)
