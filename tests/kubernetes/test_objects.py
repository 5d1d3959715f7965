"""Objects through the official client: create, read, list, change, delete, and the errors between."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.support.cluster import Cluster, ended


def refusal(error: pytest.ExceptionInfo[ApiException]) -> dict[str, Any]:
    """Return the Status object of a refused request."""
    status: dict[str, Any] = json.loads(error.value.body)
    assert status["kind"] == "Status"
    assert status["status"] == "Failure"
    assert status["code"] == error.value.status
    return status


def container(**more: Any) -> dict[str, Any]:
    """Return a change to a manifest: another container."""
    return {"spec": {"containers": [{"name": "a", "image": "alpine", **more}]}}


def variable(**entry: Any) -> dict[str, Any]:
    """Return a change to a manifest: a container with that variable."""
    return container(env=[entry])


def volume(**entry: Any) -> dict[str, Any]:
    """Return a change to a manifest: that volume."""
    return {"spec": {"volumes": [{"name": "v", **entry}]}}


def item(**entry: Any) -> dict[str, Any]:
    """Return a change to a manifest: a Secret volume with that file for its key."""
    return volume(secret={"secretName": "s", "items": [{"key": "k", **entry}]})


def changed(cluster: Cluster, change: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest with a change."""
    manifest = cluster.manifest()
    return {**manifest, **change, "spec": {**manifest["spec"], **change.get("spec", {})}}


def test_a_new_pod_has_an_identity_and_the_defaults_filled_in(cluster: Cluster) -> None:
    body = {
        "metadata": {"generateName": "made-"},
        "spec": {"containers": [{"name": "a", "image": "any:latest"}]},
    }
    pod = cluster.api.create_namespaced_pod(cluster.namespace, body, dry_run="All")
    assert pod.metadata.name.startswith("made-")
    assert len(pod.metadata.name) == len("made-") + 5
    assert pod.metadata.uid
    assert pod.metadata.creation_timestamp
    assert (pod.status.phase, pod.status.qos_class) == ("Pending", "BestEffort")
    assert (pod.spec.restart_policy, pod.spec.dns_policy) == ("Always", "ClusterFirst")
    assert pod.spec.termination_grace_period_seconds == 30
    container = pod.spec.containers[0]
    assert container.termination_message_path == "/dev/termination-log"
    assert (container.termination_message_policy, container.image_pull_policy) == ("File", "Always")


def test_a_dry_run_creates_nothing(cluster: Cluster) -> None:
    manifest = cluster.manifest(name="rehearsed")
    cluster.api.create_namespaced_pod(cluster.namespace, manifest, dry_run="All")
    with pytest.raises(ApiException) as error:
        cluster.read("rehearsed")
    assert refusal(error)["reason"] == "NotFound"
    assert refusal(error)["message"] == 'pods "rehearsed" not found'


def test_a_second_pod_of_the_same_name_is_refused(cluster: Cluster) -> None:
    name = cluster.create()
    with pytest.raises(ApiException) as error:
        cluster.create(name=name)
    assert (error.value.status, refusal(error)["reason"]) == (409, "AlreadyExists")


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"metadata": {"name": "Not_A_Name"}}, "metadata.name", "FieldValueInvalid"),
        ({"metadata": {}}, "metadata.name", "FieldValueRequired"),
        ({"spec": {"containers": []}}, "spec.containers", "FieldValueRequired"),
        ({"spec": {"containers": [{"name": "a"}]}}, "spec.containers[0].image", "FieldValueRequired"),
        ({"spec": {"restartPolicy": "Sometimes"}}, "spec.restartPolicy", "FieldValueNotSupported"),
        ({"spec": {"activeDeadlineSeconds": 0}}, "spec.activeDeadlineSeconds", "FieldValueInvalid"),
        ({"spec": {"hostname": "A_b"}}, "spec.hostname", "FieldValueInvalid"),
        ({"metadata": {"name": "a", "labels": {"a b": "c"}}}, "metadata.labels", "FieldValueInvalid"),
        (
            {"metadata": {"name": "a", "annotations": {"a b": ""}}},
            "metadata.annotations",
            "FieldValueInvalid",
        ),
        (volume(name=".."), "spec.volumes[0].name", "FieldValueInvalid"),
        (volume(secret={}), "spec.volumes[0].secret.secretName", "FieldValueRequired"),
        (volume(secret={"secretName": "s"}, emptyDir={}), "spec.volumes[0].secret", "FieldValueForbidden"),
        (item(path="../x"), "spec.volumes[0].secret.items[0].path", "FieldValueInvalid"),
        (item(path="a/../b"), "spec.volumes[0].secret.items[0].path", "FieldValueInvalid"),
        (item(path="/x"), "spec.volumes[0].secret.items[0].path", "FieldValueInvalid"),
        (item(), "spec.volumes[0].secret.items[0].path", "FieldValueRequired"),
        (item(path="x", mode=-1), "spec.volumes[0].secret.items[0].mode", "FieldValueInvalid"),
        (variable(name="a=b"), "spec.containers[0].env[0].name", "FieldValueInvalid"),
        (variable(name="1a"), "spec.containers[0].env[0].name", "FieldValueInvalid"),
        (variable(value="a"), "spec.containers[0].env[0].name", "FieldValueRequired"),
        (
            variable(name="A", valueFrom={"secretKeyRef": {"name": "s"}}),
            "spec.containers[0].env[0].valueFrom.secretKeyRef.key",
            "FieldValueRequired",
        ),
        (
            variable(name="A", valueFrom={"fieldRef": {"fieldPath": "spec"}}),
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath",
            "FieldValueInvalid",
        ),
    ],
)
def test_a_pod_that_breaks_a_rule_is_refused_with_the_field(
    cluster: Cluster, change: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(ApiException) as error:
        cluster.api.create_namespaced_pod(cluster.namespace, changed(cluster, change))
    status = refusal(error)
    assert (error.value.status, status["reason"]) == (422, "Invalid")
    assert (field, reason) in [(cause["field"], cause["reason"]) for cause in status["details"]["causes"]]


def test_a_mount_cannot_leave_its_volume(cluster: Cluster) -> None:
    mount = {"name": "v", "mountPath": "/v", "subPath": "../x"}
    volumes = [{"name": "v", "emptyDir": {}}]
    with pytest.raises(ApiException, match="subPath") as error:
        cluster.create(container={"volumeMounts": [mount]}, volumes=volumes)
    assert (error.value.status, refusal(error)["reason"]) == (422, "Invalid")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (container(env={"A": "b"}), "env"),
        (container(command="ls"), "command"),
        (container(args=[1]), "args"),
        (container(volumeMounts="/data"), "volumeMounts"),
        (variable(name="A", value=1), "value"),
        ({"spec": {"activeDeadlineSeconds": "1"}}, "activeDeadlineSeconds"),
        ({"spec": {"activeDeadlineSeconds": 1.5}}, "activeDeadlineSeconds"),
        ({"spec": {"containers": {}}}, "containers"),
        ({"metadata": {"name": "a", "labels": {"a": 5}}}, "labels"),
        ({"metadata": "a"}, "metadata"),
        ({"apiVersion": "v2"}, "v2"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_with_the_field(
    cluster: Cluster, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(ApiException) as error:
        cluster.api.create_namespaced_pod(cluster.namespace, changed(cluster, change))
    status = refusal(error)
    assert (error.value.status, status["reason"]) == (400, "BadRequest")
    assert status["message"].startswith("Pod in version")
    assert field.lower() in status["message"].lower()


def test_a_null_field_counts_as_absent(cluster: Cluster) -> None:
    pod = changed(cluster, {"metadata": {"name": "null", "labels": None, "annotations": {"a": None}}})
    pod["spec"] |= {"volumes": None, "initContainers": None, "activeDeadlineSeconds": None}
    pod["spec"]["containers"][0] |= {"env": None, "args": [None]}
    created = cluster.api.create_namespaced_pod(cluster.namespace, pod, dry_run="All")
    assert created.metadata.annotations == {"a": ""}
    assert created.spec.containers[0].args == [""]


def test_a_pod_in_a_missing_namespace_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ApiException) as error:
        cluster.api.create_namespaced_pod("nowhere", cluster.manifest())
    assert refusal(error)["message"] == 'namespaces "nowhere" not found'


def test_lists_select_by_labels_and_fields(cluster: Cluster) -> None:
    first = cluster.create(labels={"set": "listed", "cpu": "1"})
    second = cluster.create(labels={"set": "listed", "cpu": "2", "extra": ""})

    def names(labels: str, **more: Any) -> set[str]:
        found = cluster.api.list_namespaced_pod(cluster.namespace, label_selector=labels, **more)
        return {pod.metadata.name for pod in found.items}

    assert names("set=listed") == {first, second}
    assert names("set=listed,cpu==1") == {first}
    assert names("set=listed,cpu!=1") == {second}
    assert names("set=listed,extra") == {second}
    assert names("set=listed,!extra") == {first}
    assert names("set=listed,cpu in (1,3)") == {first}
    assert names("cpu in (1, 2),set=listed") == {first, second}
    assert names("set=listed,cpu notin (1)") == {second}
    assert names("set in (listed),extra notin ()") == {first}
    assert names("set=listed", field_selector=f"metadata.name={second}") == {second}
    for name in (first, second):
        cluster.until(name, ended)
    assert names("set=listed", field_selector="status.phase=Succeeded") == {first, second}
    assert names("set=listed", field_selector="status.phase!=Succeeded") == set()
    everywhere = cluster.api.list_pod_for_all_namespaces(label_selector="set=listed")
    assert {pod.metadata.name for pod in everywhere.items} == {first, second}


@pytest.mark.parametrize(
    "selector",
    [{"field_selector": "spec.colour=red"}, {"label_selector": "a b c"}, {"label_selector": "a in b,c"}],
)
def test_an_unreadable_selector_is_refused(cluster: Cluster, selector: dict[str, str]) -> None:
    with pytest.raises(ApiException) as error:
        cluster.api.list_namespaced_pod(cluster.namespace, **selector)
    assert (error.value.status, refusal(error)["reason"]) == (400, "BadRequest")


def test_patches_change_labels_and_annotations_and_leave_the_rest(cluster: Cluster) -> None:
    name = cluster.create(labels={"gone": "1"})
    patch = {"metadata": {"labels": {"new": "2", "gone": None}, "annotations": {"seen": "yes"}}}
    pod = cluster.api.patch_namespaced_pod(name, cluster.namespace, patch)
    assert pod.metadata.labels == {"name": name, "new": "2"}
    assert pod.metadata.annotations == {"seen": "yes"}
    steps = [
        {"op": "test", "path": "/metadata/labels/new", "value": "2"},
        {"op": "replace", "path": "/metadata/labels/new", "value": "3"},
        {"op": "remove", "path": "/metadata/annotations/seen"},
    ]
    pod = cluster.api.patch_namespaced_pod(name, cluster.namespace, steps)
    assert pod.metadata.labels["new"] == "3"
    assert not pod.metadata.annotations
    with pytest.raises(ApiException) as error:
        cluster.api.patch_namespaced_pod(name, cluster.namespace, steps)
    assert error.value.status == 422


def test_a_patch_of_a_pods_spec_is_refused(cluster: Cluster) -> None:
    name = cluster.create("sleep 60")
    with pytest.raises(ApiException) as error:
        cluster.api.patch_namespaced_pod(name, cluster.namespace, {"spec": {"restartPolicy": "Always"}})
    assert (error.value.status, refusal(error)["reason"]) == (422, "Invalid")
    cluster.api.delete_namespaced_pod(name, cluster.namespace, grace_period_seconds=0)


def test_a_replacement_of_an_older_version_is_refused(cluster: Cluster) -> None:
    name = cluster.secret(key="one")
    old = cluster.api.read_namespaced_secret(name, cluster.namespace)
    cluster.api.patch_namespaced_secret(name, cluster.namespace, {"stringData": {"key": "two"}})
    with pytest.raises(ApiException) as error:
        cluster.api.replace_namespaced_secret(name, cluster.namespace, old)
    assert (error.value.status, refusal(error)["reason"]) == (409, "Conflict")


def test_a_secret_keeps_its_values_as_base64_and_is_deleted_at_once(cluster: Cluster) -> None:
    name = cluster.secret(url="redis://here")
    secret = cluster.api.read_namespaced_secret(name, cluster.namespace)
    assert (secret.type, secret.data) == ("Opaque", {"url": "cmVkaXM6Ly9oZXJl"})
    gone = cluster.api.delete_namespaced_secret(name, cluster.namespace)
    assert (gone.status, gone.details.name, gone.details.kind) == ("Success", name, "secrets")
    with pytest.raises(ApiException, match="NotFound"):
        cluster.api.read_namespaced_secret(name, cluster.namespace)


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ({"data": {"k": "!!!"}}, 400, "base64"),
        ({"data": ["k"]}, 400, "data"),
        ({"stringData": {"k": 1}}, 400, "stringData"),
        ({"stringData": {"a/b": "c"}}, 422, "data[a/b]"),
        ({"stringData": {"..": "c"}}, 422, "data[..]"),
    ],
)
def test_an_invalid_secret_is_refused_with_the_field(
    cluster: Cluster, body: dict[str, Any], code: int, told: str
) -> None:
    with pytest.raises(ApiException) as error:
        cluster.api.create_namespaced_secret(cluster.namespace, {"metadata": {"name": "bad"}, **body})
    assert error.value.status == code
    assert told.lower() in refusal(error)["message"].lower()


def test_base64_with_line_breaks_is_accepted(cluster: Cluster) -> None:
    body = {"metadata": {"name": "lines"}, "data": {"k": "YWJj\nZGVm\n"}}
    assert cluster.api.create_namespaced_secret(cluster.namespace, body, dry_run="All").data == {
        "k": "YWJjZGVm"
    }


def test_a_deletion_whose_precondition_names_another_uid_is_refused(cluster: Cluster) -> None:
    name = cluster.create()
    with pytest.raises(ApiException) as error:
        cluster.api.delete_namespaced_pod(name, cluster.namespace, body={"preconditions": {"uid": "another"}})
    assert (error.value.status, refusal(error)["reason"]) == (409, "Conflict")


def test_a_finished_pod_is_deleted_at_once(cluster: Cluster) -> None:
    name = cluster.finished().metadata.name
    cluster.api.delete_namespaced_pod(name, cluster.namespace)
    with pytest.raises(ApiException, match="NotFound"):
        cluster.read(name)
