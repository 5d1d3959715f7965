"""The manifest of a pod: what the user defines, under what the operator needs, over restricted defaults."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_pods.definition import read_definition
from airflow_pods.manifest import Manifest, manifest_of


def manifest(pod: Any = None, **changes: Any) -> Manifest:
    arguments: dict[str, Any] = {
        "name": "pod-1",
        "namespace": "here",
        "image": "count:1",
        "arguments": ["--all"],
        "labels": {"app": "count"},
        "env_vars": {"PLAIN": "a"},
        "secret_env_vars": {"SECRET": ("passwords", "count")},
        "active_deadline_seconds": 60,
    }
    definition = None if pod is None else read_definition(pod)
    return manifest_of(**{**arguments, **changes}, pod=definition)


def main(container: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the main container of a pod whose definition has only that container."""
    made = manifest({"spec": {"containers": [{"name": "any", **container}]}}, **changes)
    [found] = made["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def test_an_empty_definition_changes_nothing() -> None:
    assert manifest({}) == manifest()


def test_what_the_user_gives_is_in_the_pod() -> None:
    given = {
        "metadata": {"labels": {"team": "data"}, "annotations": {"example.org/a": "b"}},
        "spec": {
            "volumes": [{"name": "data", "emptyDir": {}}],
            "affinity": {"nodeAffinity": {}},
            "tolerations": [{"operator": "Exists"}],
            "nodeSelector": {"disk": "ssd"},
            "imagePullSecrets": [{"name": "registry"}],
            "priorityClassName": "low",
            "terminationGracePeriodSeconds": 30,
            "containers": [
                {
                    "name": "main",
                    "command": ["count"],
                    "imagePullPolicy": "Always",
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    "env": [{"name": "OWN", "value": "b"}, {"name": "PLAIN", "value": "replaced"}],
                    "envFrom": [{"configMapRef": {"name": "settings"}}],
                }
            ],
        },
    }
    made = manifest(given)
    [container] = made["spec"].pop("containers")
    [expected] = given["spec"].pop("containers")  # type: ignore[attr-defined]
    assert made["spec"].items() >= given["spec"].items()  # type: ignore[attr-defined]
    assert made["metadata"]["annotations"] == {"example.org/a": "b"}
    assert made["metadata"]["labels"] == {
        "team": "data",
        "app": "count",
        "app.kubernetes.io/created-by": "airflow-pod-operator",
    }
    env = container.pop("env")
    del expected["env"]
    assert container.items() >= expected.items()
    assert [(variable["name"], variable.get("value")) for variable in env] == [
        ("OWN", "b"),
        ("PLAIN", "a"),
        ("SECRET", None),
    ]


def test_what_the_operator_needs_wins() -> None:
    given = {
        "metadata": {
            "name": "other",
            "namespace": "there",
            "labels": {"app": "other", "app.kubernetes.io/created-by": "me"},
        },
        "spec": {
            "restartPolicy": "Always",
            "containers": [
                {
                    "name": "other",
                    "image": "other:1",
                    "args": ["--other"],
                    "terminationMessagePath": "/other",
                    "terminationMessagePolicy": "File",
                }
            ],
        },
    }
    assert manifest(given) == manifest()


def test_image_and_arguments_come_from_the_definition_if_the_operator_has_none() -> None:
    made = main({"image": "own:1", "args": ["$(OWN)"]}, image="", arguments=[])
    assert (made["image"], made["args"]) == ("own:1", ["$(OWN)"])


def test_the_deadline_comes_from_the_operator_or_the_definition_or_is_ten_minutes() -> None:
    def deadline(own: int | None, given: Any) -> Any:
        spec = {"spec": {"activeDeadlineSeconds": given}}
        return manifest(spec, active_deadline_seconds=own)["spec"]["activeDeadlineSeconds"]

    assert [deadline(60, 90), deadline(None, 90), deadline(None, None)] == [60, 90, 600]


RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, {}),
        ({"readOnlyRootFilesystem": False}, {"readOnlyRootFilesystem": False}),
        ({"readOnlyRootFilesystem": None}, {"readOnlyRootFilesystem": None}),
        ({"runAsUser": 1000}, {"runAsUser": 1000}),
        ({"runAsUser": 0}, {"runAsUser": 0, "runAsNonRoot": False}),
        ({"capabilities": {"add": ["NET_ADMIN"]}}, {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}),
        ({"capabilities": {"drop": ["NET_RAW"]}}, {"capabilities": {"drop": ["NET_RAW"]}}),
        ({"privileged": True}, {"privileged": True, "allowPrivilegeEscalation": None}),
        (
            {"capabilities": {"add": ["SYS_ADMIN"]}},
            {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, "allowPrivilegeEscalation": None},
        ),
    ],
)
def test_a_container_is_restricted_where_its_definition_says_nothing_else(
    given: dict[str, Any], changed: dict[str, Any]
) -> None:
    expected = {name: value for name, value in {**RESTRICTED, **changed}.items() if value is not None}
    assert main({"securityContext": given})["securityContext"] == expected


@pytest.mark.parametrize(
    ("given", "non_root"), [({"fsGroup": 7}, True), ({"runAsUser": 0}, False), ({"runAsNonRoot": None}, None)]
)
def test_a_pod_is_restricted_where_its_definition_says_nothing_else(
    given: dict[str, Any], non_root: bool | None
) -> None:
    security = manifest({"spec": {"securityContext": given}})["spec"]["securityContext"]
    assert security.get("runAsNonRoot") is non_root
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}


def test_other_containers_are_restricted_as_the_standard_asks_and_have_no_resources_of_ours() -> None:
    made = manifest(
        {
            "spec": {
                "initContainers": [{"name": "first", "image": "a"}],
                "containers": [{"name": "main"}, {"name": "proxy", "image": "b"}],
            }
        }
    )
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert made["spec"]["initContainers"] == [{"name": "first", "image": "a", "securityContext": restricted}]
    assert made["spec"]["containers"][1] == {"name": "proxy", "image": "b", "securityContext": restricted}


@pytest.mark.parametrize(
    ("given", "requests", "limits"),
    [
        ({}, {"cpu": "10m", "memory": "32Mi"}, {"cpu": "1", "memory": "256Mi"}),
        (
            {"limits": {"memory": "1Gi"}},
            {"cpu": "10m"},
            {"cpu": "1", "memory": "1Gi"},
        ),
        (
            {"requests": {"memory": "512Mi"}},
            {"cpu": "10m", "memory": "512Mi"},
            {"cpu": "1"},
        ),
        ({"limits": {"cpu": None}}, {"memory": "32Mi"}, {"memory": "256Mi"}),
        (
            {"limits": {"example.org/gpu": 1}},
            {"cpu": "10m", "memory": "32Mi"},
            {"cpu": "1", "memory": "256Mi", "example.org/gpu": 1},
        ),
    ],
)
def test_each_resource_that_the_user_does_not_name_has_a_default(
    given: dict[str, Any], requests: dict[str, str], limits: dict[str, Any]
) -> None:
    assert main({"resources": given})["resources"] == {"requests": requests, "limits": limits}


def test_a_pod_with_a_service_account_of_its_own_has_its_token() -> None:
    assert manifest()["spec"]["automountServiceAccountToken"] is False
    assert "automountServiceAccountToken" not in manifest({"spec": {"serviceAccountName": "a"}})["spec"]


def test_a_manifest_shares_nothing_with_another_or_with_the_definition() -> None:
    definition = read_definition({"spec": {"volumes": [{"name": "a", "emptyDir": {}}]}})

    def made() -> Manifest:
        return manifest_of("pod-1", "here", "count:1", [], {}, {}, {}, 60, definition)

    first, second = made(), made()
    first["spec"]["securityContext"]["runAsUser"] = 1
    first["spec"]["containers"][0]["securityContext"]["capabilities"]["drop"].append("NONE")
    first["spec"]["volumes"].clear()
    assert second == made()
    assert second["spec"]["volumes"]
