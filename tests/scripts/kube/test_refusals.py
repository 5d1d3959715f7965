"""What a client of many pods meets before the endpoint: a full quota, and an overloaded API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.client.exceptions import ApiException

from airflow_pods import manifest_of
from airflow_pods.indexed import indexed_result
from airflow_pods.pod_set import IndexedPods
from tests.support.cluster import Cluster, Endpoint, ended, endpoint
from tests.support.kubernetes_proxy import KubernetesProxy, proxy_of


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """An endpoint for this file's tests."""
    with endpoint(tmp_path_factory.mktemp("endpoint")) as running:
        yield running


@pytest.fixture
def proxy(running: Endpoint, tmp_path: Path) -> Iterator[KubernetesProxy]:
    """A proxy in front of it."""
    with proxy_of(running.kubeconfig, tmp_path) as proxy:
        yield proxy


@pytest.fixture
def cluster(proxy: KubernetesProxy) -> Iterator[Cluster]:
    """The endpoint's default namespace, through the proxy."""
    cluster = Cluster.connect(proxy.kubeconfig, "default", "alpine")
    yield cluster
    cluster.api.api_client.close()


def test_a_full_quota_refuses_a_pod_until_another_one_has_finished(
    proxy: KubernetesProxy, cluster: Cluster
) -> None:
    proxy.refusals.most_pods = 2
    cluster.finished()  # counts no more
    names = [cluster.running("sleep 600") for _ in range(2)]
    with pytest.raises(ApiException) as error:
        cluster.create(name="third")
    status = json.loads(error.value.body)
    assert (error.value.status, status["reason"]) == (403, "Forbidden")
    counts = "requested: pods=1, used: pods=2, limited: pods=2"
    assert status["message"] == f'pods "third" is forbidden: exceeded quota: few, {counts}'
    cluster.api.delete_namespaced_pod(names[0], "default", grace_period_seconds=0)
    cluster.until(cluster.create(name="third"), ended)
    cluster.api.delete_namespaced_pod(names[1], "default", grace_period_seconds=0)


def test_an_overloaded_server_says_when_to_try_again(proxy: KubernetesProxy, cluster: Cluster) -> None:
    proxy.refusals.overloaded = lambda method: method == "DELETE"
    proxy.refusals.retry_after = 7
    name = cluster.finished().metadata.name
    with pytest.raises(ApiException) as error:
        cluster.api.delete_namespaced_pod(name, "default")
    assert (error.value.status, error.value.headers["Retry-After"]) == (429, "7")
    assert json.loads(error.value.body)["reason"] == "TooManyRequests"
    proxy.refusals.overloaded = lambda _: False
    cluster.api.delete_namespaced_pod(name, "default")


async def test_a_set_of_pods_gets_through_a_small_quota_and_an_overloaded_server(
    proxy: KubernetesProxy, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(proxy.kubeconfig)}}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
    requests: list[str] = []

    def every_third(method: str) -> bool:
        requests.append(method)
        return len(requests) % 3 == 0

    proxy.refusals.most_pods = 3
    proxy.refusals.overloaded = every_third
    proxy.refusals.retry_after = 0
    made = manifest_of("refused", "default", "alpine", ["true"], {"of": "refused"}, {}, {}, 60)
    script = """echo '{"done": 1}' > /dev/termination-log"""
    made["spec"]["containers"][0] |= {"command": ["sh", "-c", script], "args": []}
    pods = IndexedPods(12, parallelism=8)
    async with indexed_result("kubernetes_default", made, pods) as result:
        assert (result["succeeded"], result["failed"]) == (12, "")
    proxy.refusals.overloaded = lambda _: False
    assert proxy.refusals.seen["POST", 201] == 12
    assert sum(proxy.refusals.seen[method, 429] for method in {*requests}) == len(requests) // 3
    assert proxy.refusals.most_seen <= 3
    assert not cluster.api.list_namespaced_pod("default", label_selector="of=refused").items
