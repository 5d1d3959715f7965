"""The parameters that shape a pod: each ends up in the pod as in the stock operator's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from kubernetes import client as k8s
from kubernetes.client import ApiClient

from airflow_pods import PodOperator
from airflow_pods.manifest import Manifest
from tests.support.kubernetes_api import kubeconfig

BASICS: dict[str, Any] = {"task_id": "count", "name": "count-1", "namespace": "jobs", "image": "count:1"}
SHAPES: dict[str, Any] = {
    "affinity": k8s.V1Affinity(pod_anti_affinity=k8s.V1PodAntiAffinity()),
    "annotations": {"example.org/a": "b"},
    "container_resources": k8s.V1ResourceRequirements(
        requests={"cpu": "1", "memory": "1Gi"}, limits={"cpu": "2", "memory": "2Gi"}
    ),
    "container_security_context": k8s.V1SecurityContext(
        run_as_user=7,
        allow_privilege_escalation=True,
        read_only_root_filesystem=False,
        capabilities=k8s.V1Capabilities(drop=["NET_RAW"]),
    ),
    "env_from": [k8s.V1EnvFromSource(config_map_ref=k8s.V1ConfigMapEnvSource(name="settings"))],
    "env_vars": [k8s.V1EnvVar(name="A", value="1")],
    "image_pull_policy": "Always",
    "image_pull_secrets": [k8s.V1LocalObjectReference(name="registry")],
    "init_containers": [
        k8s.V1Container(
            name="first",
            image="first:1",
            security_context=k8s.V1SecurityContext(
                allow_privilege_escalation=False, capabilities=k8s.V1Capabilities(drop=["ALL"])
            ),
        )
    ],
    "node_selector": {"disk": "ssd"},
    "priority_class_name": "low",
    "security_context": k8s.V1PodSecurityContext(
        run_as_non_root=False, fs_group=7, seccomp_profile=k8s.V1SeccompProfile(type="Unconfined")
    ),
    "service_account_name": "counter",
    "tolerations": [k8s.V1Toleration(key="gpu", operator="Exists")],
    "volume_mounts": [k8s.V1VolumeMount(name="data", mount_path="/data", read_only=True)],
    "volumes": [k8s.V1Volume(name="data", empty_dir=k8s.V1EmptyDirVolumeSource())],
}


def manifest(**parameters: Any) -> Manifest:
    return PodOperator(**{**BASICS, **parameters}).manifest()


def of_stock(**parameters: Any) -> Manifest:
    operator = KubernetesPodOperator(**{**BASICS, **parameters})
    return ApiClient().sanitize_for_serialization(operator.build_pod_request_obj())


def found(pod: Manifest, parameter: str) -> Any:
    """Return what a parameter has made of the pod."""
    [main, *_] = pod["spec"]["containers"]
    fields = {
        "annotations": pod["metadata"].get("annotations"),
        "container_resources": main.get("resources"),
        "container_security_context": main.get("securityContext"),
        "env_from": main.get("envFrom"),
        "env_vars": main.get("env"),
        "image_pull_policy": main.get("imagePullPolicy"),
        "volume_mounts": main.get("volumeMounts"),
        "affinity": pod["spec"].get("affinity"),
        "image_pull_secrets": pod["spec"].get("imagePullSecrets"),
        "init_containers": pod["spec"].get("initContainers"),
        "node_selector": pod["spec"].get("nodeSelector"),
        "priority_class_name": pod["spec"].get("priorityClassName"),
        "security_context": pod["spec"].get("securityContext"),
        "service_account_name": pod["spec"].get("serviceAccountName"),
        "tolerations": pod["spec"].get("tolerations"),
        "volumes": pod["spec"].get("volumes"),
    }
    return fields[parameter]


@pytest.mark.parametrize("parameter", SHAPES)
def test_a_parameter_shapes_the_pod_as_the_stock_operator_s_does(
    parameter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stock operator reads it to see whether it runs in the cluster.
    connection = {"conn_type": "kubernetes", "extra": {"kube_config": kubeconfig("http://nowhere.example")}}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
    given = {parameter: SHAPES[parameter]}
    ours = found(manifest(**given), parameter)
    assert ours
    assert ours == found(of_stock(**given), parameter)


@pytest.mark.parametrize("parameter", SHAPES)
def test_a_parameter_takes_the_api_s_own_fields_too(parameter: str) -> None:
    as_dicts = ApiClient().sanitize_for_serialization(SHAPES[parameter])
    assert manifest(**{parameter: as_dicts}) == manifest(**{parameter: SHAPES[parameter]})


def test_a_pod_has_one_definition_by_whatever_name_it_is_given(tmp_path: Path) -> None:
    given = k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(namespace="jobs"),
        spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base", image="count:1", args=["--all"])]),
    )
    as_dict = ApiClient().sanitize_for_serialization(given)
    (tmp_path / "pod.yaml").write_text(json.dumps(as_dict))  # JSON is YAML
    ways: list[dict[str, Any]] = [
        {"pod": given},
        {"pod": as_dict},
        {"full_pod_spec": given},
        {"pod_template_dict": as_dict},
        {"pod": tmp_path / "pod.yaml"},
        {"pod_template_file": str(tmp_path / "pod.yaml")},
    ]
    made = [PodOperator(task_id="count", name="count-1", **way).manifest() for way in ways]
    assert all(one == made[0] for one in made)
    assert made[0] == manifest(arguments=["--all"])


def test_a_file_s_path_is_one_from_the_folder_of_the_dag_file() -> None:
    file = Path(__file__).with_name("pod.yaml")
    with (
        DAG("count", schedule=None),
        pytest.raises(ValueError, match=f"the file {file} cannot be read"),
    ):
        PodOperator(pod_template_file="pod.yaml", **BASICS)


def test_parameters_win_over_the_whole_pod_and_lists_are_added_to_its_lists() -> None:
    whole = {
        "spec": {
            "nodeSelector": {"disk": "hdd", "zone": "a"},
            "volumes": [{"name": "first", "emptyDir": {}}],
            "containers": [
                {"name": "base", "env": [{"name": "A", "value": "0"}, {"name": "B", "value": "0"}]},
                {"name": "proxy", "image": "proxy:1"},
            ],
        }
    }
    made = manifest(
        pod=whole,
        node_selector={"disk": "ssd"},
        volumes=SHAPES["volumes"],
        env_vars=[
            k8s.V1EnvVar(name="A", value="1"),
            k8s.V1EnvVar(
                name="B",
                value_from=k8s.V1EnvVarSource(
                    field_ref=k8s.V1ObjectFieldSelector(field_path="spec.nodeName")
                ),
            ),
        ],
    )
    assert made["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert [volume["name"] for volume in made["spec"]["volumes"]] == ["first", "data"]
    assert [container["name"] for container in made["spec"]["containers"]] == ["main", "proxy"]
    assert made["spec"]["containers"][0]["env"] == [
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "A", "value": "1"},
    ]


def test_commands_are_passed_literally() -> None:
    [main] = manifest(cmds=["sh", "-c", "echo $(HOME)"])["spec"]["containers"]
    assert main["command"] == ["sh", "-c", "echo $$(HOME)"]


def test_every_text_of_the_pod_that_changes_from_run_to_run_is_templated() -> None:
    with DAG("count", schedule=None, params={"n": 3}):
        operator = PodOperator(
            task_id="count",
            name="count-{{ params.n }}",
            random_name_suffix=False,
            namespace="jobs-{{ params.n }}",
            image="count:{{ params.n }}",
            cmds=["count{{ params.n }}"],
            arguments=["{{ params.n }}"],
            env_vars={"N": "{{ params.n }}"},
            labels={"n": "{{ params.n }}"},
            annotations={"n": "{{ params.n }}"},
        )
    context: Any = {"params": {"n": 3}}
    operator.render_template_fields(context)
    expected = manifest(
        name="count-3",
        namespace="jobs-3",
        image="count:3",
        cmds=["count3"],
        arguments=["3"],
        env_vars={"N": "3"},
        labels={"n": "3"},
        annotations={"n": "3"},
    )
    assert operator.manifest() == expected


@pytest.mark.parametrize(
    ("parameters", "refusal"),
    [
        ({"namespace": None}, "namespace: name the pod's namespace"),
        ({"image": None}, "image: name the image of the main container"),
        ({"pod": {}, "full_pod_spec": {}}, "pod and full_pod_spec: give only one of them"),
        ({"volumes": {"name": "data"}}, "volumes: it must be a list, not dict"),
        ({"tolerations": [{"tolerationSeconds": {1}}]}, r"tolerations\[0\].tolerationSeconds: .* is a set"),
        ({"volume_mounts": [{"mount_path": "/a"}]}, "mount_path: Kubernetes names this field mountPath"),
        ({"container_security_context": "root"}, "securityContext: it must be an object"),
        ({"env_vars": {"A": 1}}, "env_vars: A is 1; write it as text"),
        ({"env_vars": "A=1"}, "env_vars: give it a dict or a list of V1EnvVar, not str"),
        ({"env_vars": ["A=1"]}, r"env_vars\[0\]: it must be a V1EnvVar or a dict with a name"),
        ({"on_finish_action": "delete"}, "on_finish_action: 'delete' is none of delete_succeeded_pod"),
        ({"pod_log_url": "https://logs.example/{pod_name}"}, "pod_log_url: {pod_name} is unknown"),
        ({"pod_log_url": "https://logs.example/{"}, "pod_log_url: .* is no template"),
    ],
)
def test_a_parameter_that_makes_no_pod_is_refused_when_the_dag_is_parsed(
    parameters: dict[str, Any], refusal: str
) -> None:
    with pytest.raises(ValueError, match=refusal):
        manifest(**parameters)


def test_a_pod_of_plain_parameters_carries_no_definition() -> None:
    assert PodOperator(**BASICS).template().pod is None


def test_what_an_executor_gets_of_any_pod_is_plain_json() -> None:
    operator = PodOperator(**BASICS, **SHAPES)
    as_json = operator.template().to_json()
    assert json.loads(json.dumps(as_json)) == as_json
