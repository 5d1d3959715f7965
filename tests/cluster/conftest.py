"""Apply the manifests to a namespace of the tests on the real cluster that --kubeconfig names."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml

from scripts.namespaces import wait_until_it_takes_pods
from tests.cluster.image import Image
from tests.support.cluster import PATIENCE, Cluster
from tests.support.manifests import FOLDER

ACCOUNT = "airflow"


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    given = request.config.getoption("--kubeconfig")
    assert given, "these tests need a real cluster: name it with --kubeconfig PATH"
    return Path(given).resolve()


@pytest.fixture(scope="session")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a kustomization that puts scripts/cluster into a namespace of the tests."""
    folder = tmp_path_factory.mktemp("overlay").resolve()
    kustomization = {
        "namespace": f"cpu-test-{uuid.uuid4().hex[:8]}",
        "resources": [os.path.relpath(FOLDER.resolve(), folder)],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, kubeconfig: Path, overlay: Path) -> Iterator[Cluster]:
    """The cluster with administrator's rights, and the namespace with the manifests applied."""
    option = request.config.getoption
    namespace = yaml.safe_load((overlay / "kustomization.yaml").read_text())["namespace"]
    made = Cluster.connect(kubeconfig, namespace, option("--image"), option("--context"))
    try:
        made.kubectl("apply", "-k", str(overlay))
        until_counted(made)
        wait_until_it_takes_pods(made.api, namespace)
        yield made
    finally:
        made.kubectl("delete", "--ignore-not-found", "--wait=false", "-k", str(overlay))
        made.api.api_client.close()


def until_counted(cluster: Cluster) -> None:
    """Wait until every quota in the namespace has been counted; until then it refuses every pod."""
    quotas = cluster.api.list_namespaced_resource_quota
    uncounted = {quota.metadata.name for quota in quotas(cluster.namespace).items}
    changes = kubernetes.watch.Watch().stream(quotas, cluster.namespace, timeout_seconds=PATIENCE)
    with contextlib.closing(changes):
        for change in changes:
            if change["object"].status.used is not None:
                uncounted.discard(change["object"].metadata.name)
            if not uncounted:
                return
    raise AssertionError(f"not counted in {PATIENCE} s: {uncounted}")


@pytest.fixture(scope="session")
def account(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The same namespace with only the rights of its service account."""
    token = cluster.api.create_namespaced_service_account_token(
        ACCOUNT, cluster.namespace, {"spec": {"expirationSeconds": 3600}}
    ).status.token
    command = cluster.kubectl_command("config", "view", "--raw", "--minify", "--flatten", "-o", "json")
    config = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    config["users"][0]["user"] = {"token": token}
    file = tmp_path_factory.mktemp("account") / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(json.dumps(config))
    return Cluster.connect(file, cluster.namespace, cluster.image, config["current-context"])


@pytest.fixture(scope="session")
def image(cluster: Cluster, request: pytest.FixtureRequest) -> Image:
    return Image(cluster, request.config.getoption("--cpu-image"))


@pytest.fixture
def connection(account: Cluster, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set an Airflow connection with the service account's rights and return its id."""
    extra = {"kube_config_path": str(account.kubeconfig)}
    value = json.dumps({"conn_type": "kubernetes", "extra": extra})
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", value)
    return "kubernetes_default"


def status_of(request: Callable[[], Any]) -> int:
    """Return the HTTP status of a request to the Kubernetes API."""
    try:
        request()
    except kubernetes.client.ApiException as error:
        return int(error.status)
    return 200
