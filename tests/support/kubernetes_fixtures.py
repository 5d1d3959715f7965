"""The cluster that the contract tests run on: the local endpoint, or with --kubeconfig a real one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts.namespaces import wait_until_it_takes_pods
from tests.support.cluster import Cluster, endpoint


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a cluster with a namespace for this test session, which is deleted at its end."""
    option = request.config.getoption
    namespace = f"contract-{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:
        given = option("--kubeconfig")
        if given:
            kubeconfig = Path(given).resolve()
        else:
            kubeconfig = stack.enter_context(endpoint(tmp_path_factory.mktemp("endpoint"))).kubeconfig
        cluster = Cluster.connect(kubeconfig, namespace, option("--image"), option("--context"))
        stack.callback(cluster.api.api_client.close)
        cluster.api.create_namespace({"metadata": {"name": namespace}})
        stack.callback(cluster.api.delete_namespace, namespace)
        wait_until_it_takes_pods(cluster.api, namespace)
        yield cluster
