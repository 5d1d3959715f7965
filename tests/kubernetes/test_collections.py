"""Many objects in one request: deletion of a collection, and lists in pages."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException

from tests.support.cluster import PATIENCE, Cluster


def names(found: Any) -> list[str]:
    """Return the names of the objects in a list, in its order."""
    return [each.metadata.name for each in found.items]


def listed(cluster: Cluster, labels: str) -> list[str]:
    """Return the names of the pods with these labels."""
    return names(cluster.api.list_namespaced_pod(cluster.namespace, label_selector=labels))


def delete(cluster: Cluster, **selected: Any) -> list[str]:
    """Delete pods in one request; return the names in the answer, which the client takes for a Status."""
    request = cluster.api.delete_collection_namespaced_pod
    answer = json.loads(request(cluster.namespace, _preload_content=False, **selected).data)
    assert answer["kind"] == "PodList"
    return [pod["metadata"]["name"] for pod in answer["items"]]


def test_a_deletion_of_a_collection_removes_finished_pods_at_once_and_only_the_selected(
    cluster: Cluster,
) -> None:
    doomed = [cluster.finished(labels={"set": "doomed", "part": part}).metadata.name for part in "ab"]
    spared = [
        cluster.finished(labels={"set": "doomed", "part": "c"}).metadata.name,
        cluster.finished(labels={"set": "spared"}).metadata.name,
    ]
    assert delete(cluster, label_selector="set=doomed,part in (a,b)") == sorted(doomed)
    assert listed(cluster, "set in (doomed,spared)") == sorted(spared)


def test_a_watch_sees_each_deletion_of_a_collection(cluster: Cluster) -> None:
    doomed = {cluster.finished(labels={"set": "watched"}).metadata.name for _ in range(3)}
    version = cluster.api.list_namespaced_pod(cluster.namespace).metadata.resource_version
    cluster.api.delete_collection_namespaced_pod(cluster.namespace, label_selector="set=watched")
    changes = kubernetes.watch.Watch().stream(
        cluster.api.list_namespaced_pod,
        cluster.namespace,
        label_selector="set=watched",
        resource_version=version,
        timeout_seconds=PATIENCE,
    )
    with contextlib.closing(changes):
        for change in changes:
            assert change["type"] in ("MODIFIED", "DELETED")
            if change["type"] == "DELETED":
                doomed.remove(change["object"].metadata.name)
            if not doomed:
                return
    raise AssertionError(f"no deletion of {doomed} was seen in {PATIENCE} s")


def test_a_running_pod_of_a_deleted_collection_gets_its_grace_period(cluster: Cluster) -> None:
    script = "trap 'echo asked; exit 0' TERM; echo ready; while true; do sleep 0.1; done"
    name = cluster.running(script, labels={"set": "graceful"}, terminationGracePeriodSeconds=PATIENCE)
    cluster.until_said(name)
    cluster.api.delete_collection_namespaced_pod(
        cluster.namespace, label_selector="set=graceful", propagation_policy="Background"
    )
    with contextlib.suppress(ApiException):
        metadata = cluster.read(name).metadata
        assert metadata.deletion_timestamp
        assert metadata.deletion_grace_period_seconds == PATIENCE
    cluster.until_gone(name)


@pytest.mark.parametrize("given", [{"grace_period_seconds": 0}, {"body": {"gracePeriodSeconds": 0}}])
def test_a_collection_can_be_deleted_without_a_grace_period(cluster: Cluster, given: dict[str, Any]) -> None:
    name = cluster.running("sleep 600", labels={"set": "abrupt"}, terminationGracePeriodSeconds=600)
    cluster.api.delete_collection_namespaced_pod(cluster.namespace, label_selector="set=abrupt", **given)
    cluster.until_gone(name)


def test_a_collection_can_be_selected_by_its_phase(cluster: Cluster) -> None:
    finished = cluster.finished(labels={"set": "phases"}).metadata.name
    running = cluster.running("sleep 600", labels={"set": "phases"})
    selected = {"label_selector": "set=phases", "field_selector": "status.phase=Succeeded"}
    assert delete(cluster, **selected) == [finished]
    assert listed(cluster, "set=phases") == [running]
    cluster.api.delete_namespaced_pod(running, cluster.namespace, grace_period_seconds=0)


def test_a_dry_run_of_a_deletion_of_a_collection_deletes_nothing(cluster: Cluster) -> None:
    name = cluster.finished(labels={"set": "rehearsed"}).metadata.name
    cluster.api.delete_collection_namespaced_pod(
        cluster.namespace, label_selector="set=rehearsed", dry_run="All"
    )
    assert listed(cluster, "set=rehearsed") == [name]


def test_a_collection_of_secrets_can_be_deleted(cluster: Cluster) -> None:
    name = cluster.secret(key="value")
    patch = {"metadata": {"labels": {"set": "secrets"}}}
    cluster.api.patch_namespaced_secret(name, cluster.namespace, patch)
    other = cluster.secret(key="value")
    cluster.api.delete_collection_namespaced_secret(cluster.namespace, label_selector="set=secrets")
    left = names(cluster.api.list_namespaced_secret(cluster.namespace))
    assert name not in left
    assert other in left


def test_the_pages_of_a_list_show_what_there_was_at_the_first_one(cluster: Cluster) -> None:
    pods = sorted(cluster.finished(labels={"set": "paged"}).metadata.name for _ in range(5))
    selected = {"namespace": cluster.namespace, "label_selector": "set=paged"}
    first = cluster.api.list_namespaced_pod(limit=2, **selected)
    assert names(first) == pods[:2]
    cluster.api.delete_namespaced_pod(pods[2], cluster.namespace)
    patch = {"metadata": {"labels": {"seen": "late"}}}
    cluster.api.patch_namespaced_pod(pods[3], cluster.namespace, patch)
    late = cluster.finished(labels={"set": "paged"}).metadata.name
    second = cluster.api.list_namespaced_pod(limit=2, _continue=first.metadata._continue, **selected)
    assert names(second) == pods[2:4]
    assert "seen" not in second.items[1].metadata.labels
    third = cluster.api.list_namespaced_pod(limit=2, _continue=second.metadata._continue, **selected)
    assert (names(third), third.metadata._continue) == (pods[4:], None)
    versions = {page.metadata.resource_version for page in (first, second, third)}
    assert len(versions) == 1
    assert listed(cluster, "set=paged") == sorted([*pods[:2], *pods[3:], late])


def test_the_first_page_of_everything_says_how_many_objects_remain(cluster: Cluster) -> None:
    for _ in range(3):
        cluster.secret(key="value")
    everything = names(cluster.api.list_namespaced_secret(cluster.namespace))
    page = cluster.api.list_namespaced_secret(cluster.namespace, limit=1)
    assert names(page) == everything[:1]
    assert page.metadata.remaining_item_count == len(everything) - 1


def test_a_list_of_an_exact_version_shows_what_there_was(cluster: Cluster) -> None:
    name = cluster.finished(labels={"set": "past"}).metadata.name
    selected = {"namespace": cluster.namespace, "label_selector": "set=past"}
    version = cluster.api.list_namespaced_pod(**selected).metadata.resource_version
    cluster.api.delete_namespaced_pod(name, cluster.namespace)
    exact = {"resource_version": version, "resource_version_match": "Exact"}
    past = cluster.api.list_namespaced_pod(**selected, **exact)
    assert (names(past), past.metadata.resource_version) == ([name], version)
    newer = {"resource_version": version, "resource_version_match": "NotOlderThan"}
    assert names(cluster.api.list_namespaced_pod(**selected, **newer)) == []


def test_an_unreadable_continue_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ApiException) as error:
        cluster.api.list_namespaced_pod(cluster.namespace, limit=1, _continue="nonsense")
    assert error.value.status == 400
