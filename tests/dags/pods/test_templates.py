"""The texts of a task's pod that are templates, and the suffix of its name."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from kubernetes import client as k8s

from airflow_pods import PodOperator, PodRefused
from airflow_pods.operator import POD_EXECUTOR
from airflow_pods.parameters import TEMPLATED as SHAPES
from airflow_pods.templates import TEMPLATED, name_of_task

TEMPLATE = "x-{{ params.n }}"
LITERAL = "{{ no 'template' }} \\ {% nor this %} {#€\n#}"
SPEC: dict[str, Any] = {
    "containers": [
        {"name": "base", "image": f"count:{TEMPLATE}", "env": [{"name": "N", "value": TEMPLATE}]},
        {"name": "proxy", "image": "proxy:1", "args": ["--table", TEMPLATE]},
    ],
    "initContainers": [{"name": "first", "image": f"first:{TEMPLATE}"}],
    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": TEMPLATE}}],
    "activeDeadlineSeconds": 9,
}
WHOLE = {"metadata": {"annotations": {"a": TEMPLATE}}, "spec": SPEC}
RENDERED = json.loads(json.dumps(WHOLE).replace(TEMPLATE, "x-3"))


def context(
    dag_id: str = "dag", run_id: str = "run", task_id: str = "task", map_index: int | None = -1
) -> Any:
    identity = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
    ti = SimpleNamespace(**identity, xcom_push=lambda key, value: None)
    return {"params": {"n": 3}, "run_id": run_id, "ti": ti}


def task(**parameters: Any) -> PodOperator:
    basics: dict[str, Any] = {"task_id": "count", "namespace": "jobs", "image": "count:1"}
    with DAG("count", schedule=None, params={"n": 3}):
        made = PodOperator(**{**basics, **parameters}).prepare_for_execution()
    assert isinstance(made, PodOperator)
    return made


def rendered(given: Any = None, **parameters: Any) -> PodOperator:
    made = task(**parameters)
    made.render_template_fields(given or context())
    return made


def one_of(mapped: Any) -> PodOperator:
    """Return the first of a mapped task's, rendered as a worker does."""
    given = {**context(map_index=0), "dag": mapped.dag, "dag_run": SimpleNamespace(conf={})}
    mapped.render_template_fields(given)
    made = given["task"]
    assert isinstance(made, PodOperator)
    return made


def as_object(pod: dict[str, Any]) -> k8s.V1Pod:
    """Return a pod as an object of the Kubernetes client."""
    response = SimpleNamespace(data=json.dumps(pod))
    return k8s.ApiClient().deserialize(response, "V1Pod")


def as_file(pod: dict[str, Any], folder: Path) -> Path:
    (folder / "pod.yaml").write_text(json.dumps(pod))  # JSON is YAML
    return folder / "pod.yaml"


@pytest.mark.parametrize("form", ["dict", "object", "file"])
def test_the_texts_of_a_whole_pod_are_rendered_in_whatever_form_it_is_given(
    form: str, tmp_path: Path
) -> None:
    given: Any = {"dict": WHOLE, "object": as_object(WHOLE), "file": as_file(WHOLE, tmp_path)}[form]
    expected = rendered(pod=RENDERED, image=None).manifest()
    assert expected["spec"]["containers"][0]["image"] == "count:x-3"
    assert rendered(pod=given, image=None).manifest() == expected


@pytest.mark.parametrize(
    "parameters",
    [
        {"volumes": [k8s.V1Volume(name="v", config_map=k8s.V1ConfigMapVolumeSource(name=TEMPLATE))]},
        {"volume_mounts": [k8s.V1VolumeMount(name="v", mount_path="/v", sub_path=TEMPLATE)]},
        {"container_resources": k8s.V1ResourceRequirements(limits={"memory": "{{ params.n }}Gi"})},
        {"env_from": [k8s.V1EnvFromSource(config_map_ref=k8s.V1ConfigMapEnvSource(name=TEMPLATE))]},
        {"env_vars": [k8s.V1EnvVar(name="N", value=TEMPLATE)]},
        {"env_vars": {"N": TEMPLATE}},
        {"node_selector": {"zone": TEMPLATE}},
        {"pod_template_dict": WHOLE},
        {"kubernetes_conn_id": TEMPLATE},
    ],
)
def test_what_the_stock_operator_renders_is_rendered(parameters: dict[str, Any]) -> None:
    made = rendered(**parameters)
    text = json.dumps([made.manifest(), made.kubernetes_conn_id])
    assert "{{" not in text
    assert "x-3" in text or "3Gi" in text


@pytest.mark.parametrize(
    ("parameters", "at"),
    [
        ({"full_pod_spec": {"spec": {"containers": [{"name": "a", "args": [LITERAL]}]}}}, "containers"),
        ({"init_containers": [{"name": "first", "args": [LITERAL]}]}, "initContainers"),
        ({"tolerations": [{"key": LITERAL}]}, "tolerations"),
    ],
)
def test_what_the_stock_operator_does_not_render_is_left_as_it_is(
    parameters: dict[str, Any], at: str
) -> None:
    [found] = rendered(**parameters).manifest()["spec"][at]
    assert LITERAL in (found.get("key"), *found.get("args", []))


def test_the_texts_of_a_template_file_are_left_as_they_are(tmp_path: Path) -> None:
    file = as_file({"spec": {"containers": [{"name": "base", "args": [LITERAL]}]}}, tmp_path)
    made = rendered(pod_template_file=str(file)).manifest()
    assert made["spec"]["containers"][0]["args"] == [LITERAL]


def test_the_templated_parameters_are_those_of_the_stock_operator_and_our_own() -> None:
    ours = {*TEMPLATED, *SHAPES}
    stock = set(KubernetesPodOperator.template_fields)
    assert ours - stock == {"count", "parallelism", "pod", "skip_to"}
    left = {
        "base_container_name",
        "cluster_context",
        "config_file",
        "configmaps",
        "hostname",
        "trigger_kwargs",
    }
    assert stock - ours == {*left, "pod_template_file"}  # whose path they render


def test_a_pod_whose_templates_need_a_worker_is_not_for_pod_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", f"LocalExecutor,{POD_EXECUTOR}")
    of_params, of_variables = (
        {"metadata": {"annotations": {"a": text}}} for text in ("{{ params.n }}", "{{ var.value.a }}")
    )
    assert task(pod=of_params).executor == POD_EXECUTOR
    assert task(pod=of_variables).executor is None


def test_a_wrong_template_in_the_pod_is_refused() -> None:
    with pytest.raises(PodRefused, match="a template of the pod can't be rendered"):
        rendered(pod={"metadata": {"annotations": {"a": "{{ params."}}})


def test_the_trigger_gets_the_rendered_pod() -> None:
    made = rendered(pod=WHOLE)
    again = type(made.template())(**json.loads(json.dumps(made.template().to_json())))
    assert again.manifest() == made.manifest()
    assert TEMPLATE not in json.dumps(again.manifest())


def test_a_mapped_task_renders_its_pod_and_its_name() -> None:
    with DAG("count", schedule=None, params={"n": 3}):
        mapped: Any = PodOperator.partial(task_id="count", namespace="jobs", image="a", pod=WHOLE).expand(
            arguments=[["{{ params.n }}"], ["b"]]
        )
    made = one_of(mapped)
    assert TEMPLATE not in json.dumps(made.manifest())
    [main, *_] = made.manifest()["spec"]["containers"]
    assert main["args"] == ["3"]
    assert made.name == rendered(context(map_index=0)).name


def test_what_a_mapped_task_gets_from_an_xcom_is_no_template() -> None:
    pulled = {"N": "{{ params.n }}"}
    made = task(env_vars=pulled, labels={"n": "{{ params.n }}"})
    fields, environment = made.template_fields, made.get_template_env()
    made._do_render_template_fields(made, fields, context(), environment, {id(pulled)})
    assert (made.env_vars, made.labels) == (pulled, {"n": "3"})
    volumes = [{"name": "{{ params.n }}"}]
    made = task(volumes=volumes)
    with pytest.raises(PodRefused, match="volumes comes from an XCom"):
        made._do_render_template_fields(made, fields, context(), environment, {id(volumes)})


def test_the_output_of_another_task_may_be_in_every_templated_parameter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", f"LocalExecutor,{POD_EXECUTOR}")
    with DAG("count", schedule=None):
        output: Any = EmptyOperator(task_id="plan").output
        given: dict[str, Any] = {
            "arguments": ["--rows", output],
            "env_vars": {"ROWS": output},
            "labels": {"rows": output},
            "image": output,
            "name": output,
        }
        made = PodOperator(task_id="count", namespace="jobs", **given)
        whole = PodOperator(task_id="whole", namespace="jobs", image="a", arguments=output)
        limited = PodOperator(task_id="set", namespace="jobs", image="a", count=output, parallelism=output)
    assert all(each.upstream_task_ids == {"plan"} for each in (made, whole, limited))
    assert [each.executor for each in (made, whole, limited)] == [POD_EXECUTOR, None, POD_EXECUTOR]
    json.dumps(made.executor_config)
    pulls = context()
    pulls["task_instance"] = pulls["ti"]
    pulls["ti"].xcom_pull = lambda **_: 7
    made, limited = made.prepare_for_execution(), limited.prepare_for_execution()
    for each in (made, limited):
        each.render_template_fields(pulls)
    [main] = made.manifest()["spec"]["containers"]
    assert (main["args"], main["image"]) == (["--rows", "7"], "7")
    assert main["env"] == [{"name": "ROWS", "value": "7"}]
    assert made.manifest()["metadata"]["labels"]["rows"] == "7"
    assert (limited.template().indexed().count, limited.template().indexed().parallelism) == (7, 7)


def test_all_arguments_may_be_the_output_of_another_task(monkeypatch: pytest.MonkeyPatch) -> None:
    with DAG("count", schedule=None):
        output: Any = EmptyOperator(task_id="plan").output
        made = PodOperator(task_id="count", namespace="jobs", image="a", arguments=output)
    monkeypatch.setattr(type(output), "resolve", lambda *_: ["{{ no template }}", "b"])
    made = made.prepare_for_execution()
    made.render_template_fields(context())
    assert made.arguments == ["{{ no template }}", "b"]


def test_a_name_is_the_same_in_every_try_and_different_in_every_task_run_and_map_index() -> None:
    first = rendered(name="count").name
    assert rendered(name="count").name == first
    assert rendered(context(map_index=None), name="count").name == first
    assert first.startswith("count-")
    changes: list[Any] = [{"dag_id": "a"}, {"run_id": "a"}, {"task_id": "a"}, {"map_index": 0}]
    names = {rendered(context(**change), name="count").name for change in changes}
    assert len(names - {first}) == len(changes)


def test_a_name_that_is_rendered_twice_has_one_suffix() -> None:
    made = rendered(name="count")
    name = made.name
    made.render_template_fields(context())
    assert made.name == name


def test_a_task_without_a_name_has_that_of_its_id() -> None:
    assert rendered(task_id="Count_Words").name.startswith("count-words-")
    assert name_of_task("group.Count__it_") == "group-count-it"


@pytest.mark.parametrize(("count", "longest"), [(None, "{name}"), (12_500, "{name}-12499-999")])
def test_a_long_name_is_cut_so_that_the_suffix_and_the_index_fit(count: int | None, longest: str) -> None:
    made = rendered(name="a" * 100, count=count, retries_per_pod=999)
    assert len(longest.format(name=made.name)) <= 63
    if count:
        made.template().indexed().check(made.manifest())


def test_without_a_suffix_the_name_is_as_it_is_given() -> None:
    assert rendered(name="count-{{ run_id }}", random_name_suffix=False).name == "count-run"


@pytest.mark.parametrize("name", ["count", None])
def test_a_name_that_is_the_same_in_every_run_is_refused_when_the_dag_is_parsed(name: str | None) -> None:
    with pytest.raises(ValueError, match=r"name: 'count' is the same in every run.*random_name_suffix"):
        task(name=name, random_name_suffix=False)


def test_a_single_pod_shows_no_fields_of_a_set() -> None:
    of_sets = {"count", "parallelism"}
    assert set(TEMPLATED) - set(task().template_fields) == of_sets
    assert set(task(count=3).template_fields) == set(TEMPLATED)
    assert task().template_fields == task().template().shown_fields()
