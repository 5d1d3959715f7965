"""The asyncio client, as a triggerer uses it: snapshot, watch, log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import kubernetes_asyncio
import pytest
from kubernetes_asyncio.client.exceptions import ApiException

from tests.support.cluster import PATIENCE, Cluster, ended, terminated


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[kubernetes_asyncio.client.CoreV1Api]:
    """The asyncio client for the cluster."""
    client = await kubernetes_asyncio.config.new_client_from_config(
        str(cluster.kubeconfig), context=cluster.context
    )
    async with client:
        yield kubernetes_asyncio.client.CoreV1Api(client)


async def test_a_pod_is_created_watched_to_its_end_and_deleted(
    cluster: Cluster, api: kubernetes_asyncio.client.CoreV1Api
) -> None:
    manifest: Any = cluster.manifest("echo said; printf result > /dev/termination-log")
    created = await api.create_namespaced_pod(cluster.namespace, manifest)
    phases = []
    async with kubernetes_asyncio.watch.Watch() as watch:
        async for change in watch.stream(
            api.list_namespaced_pod,
            cluster.namespace,
            field_selector=f"metadata.name={created.metadata.name}",
            resource_version=created.metadata.resource_version,
            timeout_seconds=PATIENCE,
        ):
            assert change["type"] == "MODIFIED"
            phases.append(change["object"].status.phase)
            if ended(change["object"]):
                assert terminated(change["object"]).message == "result"
                break
    assert phases[-1] == "Succeeded"
    name = created.metadata.name
    assert await api.read_namespaced_pod_log(name, cluster.namespace) == "said\n"
    await api.delete_namespaced_pod(name, cluster.namespace)
    with pytest.raises(ApiException) as error:
        await api.read_namespaced_pod(name, cluster.namespace)
    assert error.value.status == 404


async def test_a_watch_misses_no_change_or_fails_with_410(
    cluster: Cluster, api: kubernetes_asyncio.client.CoreV1Api
) -> None:
    name = cluster.finished().metadata.name

    async def first(version: str) -> str:
        options = {"resource_version": version, "label_selector": f"name={name}", "timeout_seconds": 5}
        try:
            async with kubernetes_asyncio.watch.Watch() as watch:
                async for change in watch.stream(api.list_pod_for_all_namespaces, **options):
                    return str(change["type"])
        except ApiException as error:
            return f"{error.status}"
        return ""

    # How far back a cluster remembers is its own affair: a young one still knows its first version.
    assert await first("1") in ("ADDED", "410")
    snapshot = await api.list_namespaced_pod(cluster.namespace)
    patch = {"metadata": {"labels": {"touched": "yes"}}}
    await api.patch_namespaced_pod(name, cluster.namespace, patch)
    assert await first(snapshot.metadata.resource_version) == "MODIFIED"
