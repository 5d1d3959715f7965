"""Errors of a task, and how soon they come, when a real cluster cannot run its pod or takes it away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

import airflow_pods as pods
from airflow_pods import client, errors
from tests.cluster.conftest import until_counted
from tests.cluster.pods import LEAVE_A_RESULT, RESULT, manifest
from tests.support.cluster import Cluster, runs

EXCEEDED = r"403 .*exceeded quota: few, .*\("


async def run_within_a_minute(connection: str, made: pods.Manifest) -> pods.Result:
    async with asyncio.timeout(60):
        return await pods.run_pod(connection, made)


async def test_a_missing_image_fails_the_task_within_a_minute(account: Cluster, connection: str) -> None:
    made = manifest(account.namespace, "no-such-image:1", LEAVE_A_RESULT)
    with pytest.raises(pods.PodRefused, match=r"ErrImagePull: .*no-such-image:1: not found \(the image must"):
        await run_within_a_minute(connection, made)


async def test_a_pod_that_runs_out_of_memory_is_refused_and_not_tried_again(
    account: Cluster, connection: str
) -> None:
    made = manifest(account.namespace, account.image, "tail /dev/zero")
    with pytest.raises(pods.PodRefused, match=r"OOMKilled, exit code 137.*raise the pod's memory limit"):
        await run_within_a_minute(connection, made)


@pytest.mark.timeout(300)
async def test_the_error_of_an_evicted_pod_names_the_resource_and_is_tried_again(
    account: Cluster, connection: str
) -> None:
    made = manifest(account.namespace, account.image, "head -c 9000000 /dev/zero >/full/file; sleep 240")
    made["spec"]["activeDeadlineSeconds"] = 240  # the kubelet measures volumes only from time to time
    made["spec"]["volumes"] = [{"name": "full", "emptyDir": {"sizeLimit": "1Mi"}}]
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "full", "mountPath": "/full"}]
    with pytest.raises(pods.PodFailed, match=r'Evicted\): .*"full" exceeds the limit "1Mi".*\(free the node'):
        await pods.run_pod(connection, made)


async def test_the_error_of_an_unschedulable_pod_quotes_the_scheduler(
    account: Cluster, connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(errors.WAITING_REASONS, "Unschedulable", errors.WaitingReason(3, "add nodes"))
    made = manifest(account.namespace, account.image, LEAVE_A_RESULT)
    made["spec"]["nodeSelector"] = {"no": "such-node"}
    with pytest.raises(pods.PodRefused, match=r"Unschedulable: 0/\d+ nodes are available.*\(add nodes"):
        await run_within_a_minute(connection, made)


async def test_an_image_that_runs_as_root_is_refused(account: Cluster, connection: str) -> None:
    made = manifest(account.namespace, account.image, LEAVE_A_RESULT)
    del made["spec"]["securityContext"]["runAsUser"]
    with pytest.raises(pods.PodRefused, match=r"image will run as root.*must not run as root"):
        await run_within_a_minute(connection, made)


async def test_the_error_names_the_namespace_rule_that_a_pod_breaks(
    account: Cluster, connection: str
) -> None:
    made = manifest(account.namespace, account.image, LEAVE_A_RESULT)
    made["spec"]["containers"][0]["resources"]["limits"]["memory"] = "257Mi"
    with pytest.raises(pods.PodRefused, match=r"403 .*maximum memory usage .* is 256Mi.*LimitRange"):
        await run_within_a_minute(connection, made)


async def test_a_pod_in_a_namespace_that_is_being_deleted_is_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ADMINISTRATOR", f"kubernetes://?kube_config_path={cluster.kubeconfig}")
    namespace = f"{cluster.namespace}-going"
    held = {"metadata": {"name": "held", "finalizers": ["test.invalid/held"]}}
    cluster.api.create_namespace({"metadata": {"name": namespace}})
    cluster.api.create_namespaced_config_map(namespace, held)
    cluster.api.delete_namespace(namespace)
    try:
        with pytest.raises(
            pods.PodRefused, match=r"403 .*being terminated \(wait until the namespace is gone"
        ):
            await run_within_a_minute("administrator", manifest(namespace, cluster.image, LEAVE_A_RESULT))
    finally:
        cluster.api.patch_namespaced_config_map("held", namespace, {"metadata": {"finalizers": None}})


async def test_a_full_quota_is_waited_for_then_fails_the_try(
    cluster: Cluster, account: Cluster, connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = manifest(account.namespace, account.image, LEAVE_A_RESULT)
    with quota(cluster, pods=1):
        other = manifest(account.namespace, account.image, "trap exit TERM; sleep 100 & wait")
        cluster.api.create_namespaced_pod(cluster.namespace, other)
        await asyncio.to_thread(cluster.until, other["metadata"]["name"], runs)
        with monkeypatch.context() as hasty:
            hasty.setattr(client, "RETRY_SECONDS", 1)
            with pytest.raises(pods.PodFailed, match=EXCEEDED + "wait for pods to end"):
                await pods.run_pod(connection, made)
        waiting = asyncio.create_task(pods.run_pod(connection, made))
        await asyncio.to_thread(
            cluster.api.delete_namespaced_pod,
            other["metadata"]["name"],
            cluster.namespace,
            grace_period_seconds=1,
        )
        assert await waiting == RESULT


async def test_a_quota_too_small_for_one_pod_fails_the_task_at_once(
    cluster: Cluster, account: Cluster, connection: str
) -> None:
    with quota(cluster, pods=0), pytest.raises(pods.PodRefused, match=EXCEEDED + "raise the quota"):
        await run_within_a_minute(connection, manifest(account.namespace, account.image, LEAVE_A_RESULT))


@contextlib.contextmanager
def quota(cluster: Cluster, **hard: int) -> Iterator[None]:
    """Create a quota for the duration of the context."""
    spec = {"hard": {what: str(most) for what, most in hard.items()}}
    cluster.api.create_namespaced_resource_quota(
        cluster.namespace, {"metadata": {"name": "few"}, "spec": spec}
    )
    try:
        until_counted(cluster)
        yield
    finally:
        cluster.api.delete_namespaced_resource_quota("few", cluster.namespace)
