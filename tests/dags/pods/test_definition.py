"""The definition of a pod that a DAG gives: what it may be, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as stock
from kubernetes.client import ApiClient
from kubernetes_asyncio import client as asynchronous

from airflow_pods.definition import plain, read_definition


def a_pod(models: Any) -> Any:
    """Return a pod with objects below objects, in lists and in maps, from one of the two clients."""
    return models.V1Pod(
        api_version="v1",
        kind="Pod",
        metadata=models.V1ObjectMeta(labels={"team": "data"}, annotations={"example.org/a": "b"}),
        spec=models.V1PodSpec(
            containers=[
                models.V1Container(
                    name="main",
                    image="count:1",
                    env=[models.V1EnvVar(name="A", value="1")],
                    volume_mounts=[models.V1VolumeMount(name="data", mount_path="/data", read_only=True)],
                    resources=models.V1ResourceRequirements(limits={"memory": "1Gi"}),
                )
            ],
            volumes=[
                models.V1Volume(
                    name="data",
                    persistent_volume_claim=models.V1PersistentVolumeClaimVolumeSource(claim_name="data"),
                )
            ],
            tolerations=[models.V1Toleration(key="gpu", operator="Exists")],
            affinity=models.V1Affinity(
                node_affinity=models.V1NodeAffinity(
                    required_during_scheduling_ignored_during_execution=models.V1NodeSelector(
                        node_selector_terms=[
                            models.V1NodeSelectorTerm(
                                match_expressions=[
                                    models.V1NodeSelectorRequirement(
                                        key="disk", operator="In", values=["ssd"]
                                    )
                                ]
                            )
                        ]
                    )
                )
            ),
            host_network=False,
        ),
    )


def test_an_object_of_the_client_becomes_what_the_client_sends() -> None:
    pod = a_pod(stock)
    sent = ApiClient().sanitize_for_serialization(pod)
    assert plain(pod, "pod") == sent
    assert read_definition(pod) == sent
    assert plain(a_pod(asynchronous), "pod") == sent


def test_objects_of_the_client_may_be_inside_of_a_dict() -> None:
    volume = stock.V1Volume(name="scratch", empty_dir=stock.V1EmptyDirVolumeSource())
    read = read_definition({"spec": {"volumes": (volume,)}})
    assert read["spec"]["volumes"] == [{"name": "scratch", "emptyDir": {}}]


def test_a_file_is_read_from_the_folder_of_the_dag(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  creationTimestamp: null\n"
        "spec:\n  containers:\n    - name: base\n      image: count:1\nstatus: {}\n"
    )
    expected = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"creationTimestamp": None},
        "spec": {"containers": [{"name": "main", "image": "count:1"}]},
    }
    assert read_definition("pod.yaml", tmp_path) == expected
    assert read_definition(tmp_path / "pod.yaml", "/elsewhere") == expected


def test_a_definition_is_plain_json() -> None:
    read = read_definition(a_pod(stock))
    assert json.loads(json.dumps(read)) == read


IMPORTS = """
import sys
from airflow_pods.definition import read_definition
before = set(sys.modules)
read_definition({"spec": {"containers": [{"name": "main", "image": "count:1"}]}})
print(sorted(set(sys.modules) - before))
"""


def test_reading_a_dict_imports_nothing() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "dags/pods")}
    command = [sys.executable, "-c", IMPORTS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("names", "main"),
    [
        (["only"], "only"),
        (["proxy", "main"], "main"),
        (["proxy", "base"], "base"),
        (["base", "main"], "main"),
    ],
)
def test_the_main_container_is_named_main_or_base_or_is_the_only_one(names: list[str], main: str) -> None:
    given = {"spec": {"containers": [{"name": name, "image": name} for name in names]}}
    first, *others = read_definition(given)["spec"]["containers"]
    assert first == {"name": "main", "image": main}
    assert [other["name"] for other in others] == [name for name in names if name != main]
    assert [one["name"] for one in given["spec"]["containers"]] == names


def container(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "main", **fields}]}}


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        (7, "pod: give it a dict, a V1Pod or the path of a YAML file, not an int"),
        ([], "pod: give it a dict"),
        ("no-such.yaml", "pod: the file .*no-such.yaml cannot be read: No such file"),
        ({"kind": "Job"}, "pod.kind: 'Job' is not 'Pod'"),
        ({"apiVersion": "batch/v1"}, "pod.apiVersion: 'batch/v1' is not 'v1'"),
        ({"containers": []}, "pod.containers: a pod has only the fields apiVersion, kind, metadata, spec"),
        ({"spec": []}, "pod.spec: it must be an object with fields, not a list"),
        ({"metadata": "a"}, "pod.metadata: it must be an object"),
        ({"metadata": {"labels": {"a": 1}}}, "pod.metadata.labels.a: 1 is an int; write it as text"),
        ({"metadata": {"annotations": {"a": True}}}, "pod.metadata.annotations.a: True is a bool"),
        ({"metadata": {"annotations": {1: "a"}}}, "pod.metadata.annotations: the key 1 is an int"),
        ({"spec": {"volumes": {1, 2}}}, r"pod.spec.volumes: .* is a set, which JSON does not have"),
        ({"spec": {"x": float("nan")}}, "pod.spec.x: nan is a float, which JSON does not have"),
        (
            {"metadata": {"annotations": {"since": date(2026, 1, 1)}}},
            "pod.metadata.annotations.since: .* a date",
        ),
        ({"spec": {"at": datetime(2026, 1, 1, tzinfo=UTC)}}, "pod.spec.at: .* is a datetime"),
        (
            {"spec": {"init_containers": []}},
            "pod.spec.init_containers: Kubernetes names this .* initContainers",
        ),
        (container(volume_mounts=[]), r"pod.spec.containers\[0\].volume_mounts: .* volumeMounts"),
        ({"spec": {"containers": {}}}, None),
        ({"spec": {"containers": {"name": "a"}}}, "pod.spec.containers: it must be a list, not a dict"),
        ({"spec": {"containers": ["a"]}}, r"pod.spec.containers\[0\]: it must be a container, not a str"),
        ({"spec": {"initContainers": [{"image": "a"}]}}, "pod.spec: each container needs a name"),
        ({"spec": {"initContainers": [{"name": "main"}]}}, "pod.spec: two containers are named 'main'"),
        (
            {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}},
            "pod.spec.containers: name the one that leaves the result 'main'",
        ),
        (container(env={"A": "1"}), r"pod.spec.containers\[0\].env: it must be a list of variables"),
        (container(env=["A"]), r"pod.spec.containers\[0\].env\[0\]: it must be a variable with a name"),
        (container(env=[{"name": "A", "value": 1}]), r"containers\[0\].env\[0\].value: 1 is an int"),
        (container(resources="1Gi"), r"pod.spec.containers\[0\].resources: it must be an object"),
        (container(resources={"limits": "1Gi"}), r"pod.spec.containers\[0\].resources.limits: it must"),
        (container(securityContext=True), r"pod.spec.containers\[0\].securityContext: it must be an object"),
        ({"spec": {"securityContext": "root"}}, "pod.spec.securityContext: it must be an object"),
        ({"spec": {"activeDeadlineSeconds": "60"}}, "pod.spec.activeDeadlineSeconds: '60' is not a number"),
        ({"spec": {"activeDeadlineSeconds": 0}}, "pod.spec.activeDeadlineSeconds: 0 is not a number"),
    ],
)
def test_what_cannot_be_a_pod_is_refused_and_names_the_field(given: Any, refusal: str | None) -> None:
    if refusal is None:
        assert read_definition(given)["spec"]["containers"] == [{"name": "main"}]
        return
    with pytest.raises(ValueError, match=f"^{refusal}|{refusal}") as raised:
        read_definition(given)
    assert str(raised.value).startswith("pod")


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        ("a: [", "is not YAML"),
        ("", "must hold one pod and nothing else"),
        ("kind: Pod\n---\nkind: Pod\n", "must hold one pod and nothing else"),
        ("- kind: Pod\n", "must hold one pod and nothing else"),
        ("metadata:\n  annotations:\n    since: 2026-01-01\n", "annotations.since: .* write it as text"),
    ],
)
def test_a_file_that_holds_no_pod_is_refused(tmp_path: Path, content: str, refusal: str) -> None:
    (tmp_path / "pod.yaml").write_text(content)
    with pytest.raises(ValueError, match=refusal):
        read_definition("pod.yaml", tmp_path)
