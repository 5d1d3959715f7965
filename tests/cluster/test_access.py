"""Airflow's service account may run pods in the namespace and do nothing else, as real requests show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import kubernetes
import pytest

import airflow_pods as pods
from airflow_pods import runner
from airflow_pods.client import connect
from tests.cluster.conftest import ACCOUNT, status_of
from tests.cluster.pods import LEAVE_A_RESULT, RESULT, manifest
from tests.support.cluster import Cluster

FORBIDDEN: dict[str, Callable[[Any, str], Any]] = {
    "list pods elsewhere": lambda api, ours: api.list_namespaced_pod("default"),
    "read a pod's log": lambda api, ours: api.read_namespaced_pod_log("any", ours),
    "execute in a pod": lambda api, ours: api.connect_post_namespaced_pod_exec("any", ours, command="sh"),
    "attach to a pod": lambda api, ours: api.connect_post_namespaced_pod_attach("any", ours),
    "forward a pod's port": lambda api, ours: api.connect_post_namespaced_pod_portforward("any", ours),
    "change a pod": lambda api, ours: api.patch_namespaced_pod("any", ours, {"metadata": {}}),
    "delete all pods elsewhere": lambda api, ours: api.delete_collection_namespaced_pod("default"),
    "read the Secret": lambda api, ours: api.read_namespaced_secret("cpu-redis", ours),
    "list Secrets": lambda api, ours: api.list_namespaced_secret(ours),
    "make a ConfigMap": lambda api, ours: api.create_namespaced_config_map(ours, {"metadata": {"name": "a"}}),
    "make itself a token": lambda api, ours: api.create_namespaced_service_account_token(
        ACCOUNT, ours, {"spec": {}}
    ),
    "lift the quota": lambda api, ours: api.delete_namespaced_resource_quota("cpus", ours),
    "read a pod elsewhere": lambda api, ours: api.read_namespaced_pod("any", "default"),
    "make a pod elsewhere": lambda api, ours: api.create_namespaced_pod(
        "default", manifest("default", "any", "true")
    ),
    "make a namespace": lambda api, ours: api.create_namespace({"metadata": {"name": f"{ours}-2"}}),
    "list nodes": lambda api, ours: api.list_node(),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_service_account_may_not(account: Cluster, what: str) -> None:
    assert status_of(lambda: FORBIDDEN[what](account.api, account.namespace)) == 403


def test_the_service_account_has_exactly_the_rights_of_the_role(cluster: Cluster, account: Cluster) -> None:
    rights = kubernetes.client.AuthorizationV1Api(account.api.api_client)
    review = {"spec": {"namespace": account.namespace}}
    status = rights.create_self_subject_rules_review(review).status
    assert not status.incomplete
    # Every account may ask for its own rights.
    granted = [rule for rule in status.resource_rules if rule.api_groups != ["authorization.k8s.io"]]
    [rule] = granted
    assert (rule.api_groups, rule.resources) == ([""], ["pods"])
    assert sorted(rule.verbs) == ["create", "delete", "deletecollection", "get", "list", "watch"]


@pytest.mark.parametrize(
    ("component", "answer"),
    [("scheduler", "yes"), ("worker", "yes"), ("triggerer", "yes"), ("dag-processor", "no")],
)
def test_the_chart_s_scheduler_worker_and_triggerer_accounts_may_run_pods(
    cluster: Cluster, component: str, answer: str
) -> None:
    account = f"system:serviceaccount:airflow:airflow-{component}"
    asked = cluster.kubectl("auth", "can-i", "create", "pods", "--as", account, check=False)
    assert asked.strip() == answer


async def test_the_service_account_can_run_a_pod_take_its_result_and_delete_it(
    cluster: Cluster, account: Cluster, connection: str
) -> None:
    made = manifest(account.namespace, account.image, LEAVE_A_RESULT)
    assert await pods.run_pod(connection, made) == RESULT
    await asyncio.to_thread(cluster.until_gone, made["metadata"]["name"])


async def test_the_service_account_can_replace_the_pod_of_a_failed_try(
    account: Cluster, connection: str
) -> None:
    first = manifest(account.namespace, account.image, "echo the reason; exit 1")
    with pytest.raises(pods.PodFailed, match="the reason"):
        await pods.run_pod(connection, first)
    name = first["metadata"]["name"]
    second = manifest(account.namespace, account.image, LEAVE_A_RESULT, name=name)
    assert await pods.run_pod(connection, second) == RESULT


async def test_the_service_account_can_delete_the_pod_of_a_task_that_was_ended(
    cluster: Cluster, account: Cluster, connection: str
) -> None:
    made = manifest(account.namespace, account.image, "sleep 60")
    async with connect(connection) as api:
        await runner.find_or_create(api, made)
    await runner.delete_by_name(connection, made)
    await asyncio.to_thread(cluster.until_gone, made["metadata"]["name"])


async def test_an_account_without_the_role_gets_an_error_that_names_the_missing_rights(
    account: Cluster, connection: str
) -> None:
    made = manifest("default", account.image, LEAVE_A_RESULT)
    with pytest.raises(pods.PodRefused, match=r"403 .*needs create, get, list, .* on pods there"):
        await pods.run_pod(connection, made)
