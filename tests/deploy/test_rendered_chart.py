"""The chart, rendered by Helm with the project's values. Skipped unless AIRFLOW_CHART names the chart."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from airflow_pods.operator import POD_EXECUTOR
from tests.support.chart import CHART, ROOT, Manifest, rendered, values
from tests.support.manifests import manifest

pytestmark = pytest.mark.skipif(not CHART, reason="AIRFLOW_CHART names no chart to render")

SECRETS = {
    ("airflow-database", "connection"),
    ("airflow-keys", "fernet-key"),
    ("airflow-keys", "api-secret-key"),
    ("airflow-keys", "jwt-secret"),
    ("airflow-broker", "connection"),
    ("airflow-admin", "password"),
    ("airflow-slack", "connection"),
    ("airflow-cpu-redis", "connection"),
}
WHO_NEEDS = {
    "airflow-admin": {"create-user"},
    "airflow-slack": {"worker", "dag-processor"},
    "airflow-cpu-redis": {"worker", "api-server"},
}
IP_ADDRESS = r"\d+(\.\d+){3}"
RUN_PODS = {
    "airflow-scheduler": "Deployment",
    "airflow-worker": "StatefulSet",
    "airflow-triggerer": "StatefulSet",
}


@pytest.fixture(scope="module")
def objects() -> list[Manifest]:
    return rendered(values())


def find(objects: list[Manifest], kind: str, name: str) -> Manifest:
    [found] = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def within(value: Any, key: str) -> Iterator[Any]:
    """Yield every value under that key, at any depth."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from within(one, key)


def container(objects: list[Manifest], kind: str, name: str, which: str) -> tuple[Manifest, dict[str, str]]:
    """Return a workload's container and those of its environment variables that have a literal value."""
    spec = find(objects, kind, name)["spec"]["template"]["spec"]
    [found] = [one for one in spec["containers"] if one["name"] == which]
    return found, {one["name"]: one["value"] for one in found["env"] if "value" in one}


def test_the_chart_creates_no_secret_and_refers_only_to_documented_ones(
    objects: list[Manifest],
) -> None:
    assert "Secret" not in {one["kind"] for one in objects}
    references = list(within(objects, "secretKeyRef"))
    assert {(one["name"], one["key"]) for one in references if not one.get("optional")} == SECRETS
    optional = [one for one in references if one.get("optional")] + list(within(objects, "secretRef"))
    assert {one["name"] for one in optional if one["optional"]} == {"git-credentials"}


def pods(objects: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield the name and the pod spec of every workload."""
    for one in objects:
        if one["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]
        elif one["kind"] == "CronJob":
            yield one["metadata"]["name"], one["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_each_credential_is_given_only_to_containers_that_use_it(objects: list[Manifest]) -> None:
    for secret, needed in WHO_NEEDS.items():
        found = {
            container["name"]
            for _, pod in pods(objects)
            for container in [*pod.get("initContainers", []), *pod["containers"]]
            if secret in [one["name"] for one in within(container, "secretKeyRef")]
        }
        assert found == needed, secret


def test_only_components_that_run_pods_have_a_kubernetes_token(objects: list[Manifest]) -> None:
    accounts = {one["metadata"]["name"]: one for one in objects if one["kind"] == "ServiceAccount"}
    with_token = {
        name
        for name, pod in pods(objects)
        if pod.get(
            "automountServiceAccountToken",
            accounts[pod["serviceAccountName"]].get("automountServiceAccountToken", True),
        )
    }
    assert with_token == RUN_PODS.keys()


def test_kubernetes_puts_no_password_into_a_command_line(objects: list[Manifest]) -> None:
    for _, pod in pods(objects):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            words = [*(container.get("command") or []), *(container.get("args") or [])]
            assert not any("$(" in word and "PASSWORD" in word.upper() for word in words), words


def test_every_container_has_a_memory_request_and_limit(objects: list[Manifest]) -> None:
    without = [
        f"{name}: {container['name']}, {bound}"
        for name, pod in pods(objects)
        for container in [*pod.get("initContainers", []), *pod["containers"]]
        for bound in ("requests", "limits")
        if "memory" not in (container["resources"] or {}).get(bound, {})
    ]
    assert without == []


def test_replicated_components_are_evicted_one_at_a_time(objects: list[Manifest]) -> None:
    replicas = {
        one["spec"]["template"]["metadata"]["labels"]["component"]: one["spec"]["replicas"]
        for one in objects
        if one["kind"] in ("Deployment", "StatefulSet")
    }
    budgets = {
        one["spec"]["selector"]["matchLabels"]["component"]: one["spec"]["maxUnavailable"]
        for one in objects
        if one["kind"] == "PodDisruptionBudget"
    }
    two = ("api-server", "scheduler", "triggerer", "worker")
    assert replicas == {**dict.fromkeys(two, 2), "dag-processor": 1, "statsd": 1}
    assert budgets == dict.fromkeys(two, 1)


@pytest.mark.parametrize(
    ("kind", "name", "which"),
    [
        ("StatefulSet", "airflow-worker", "worker"),
        ("StatefulSet", "airflow-triggerer", "triggerer"),
        ("Deployment", "airflow-dag-processor", "dag-processor"),
    ],
)
def test_components_that_run_dags_can_import_from_the_repository_s_root(
    objects: list[Manifest], kind: str, name: str, which: str
) -> None:
    config = configparser.RawConfigParser()
    config.read_string(find(objects, "ConfigMap", "airflow-config")["data"]["airflow.cfg"])
    found, given = container(objects, kind, name, which)
    [mount] = {one["mountPath"] for one in found["volumeMounts"] if one["name"] == "dags"}
    _, git = container(objects, kind, name, "git-sync")
    repository = f"{mount}/{git['GITSYNC_LINK']}"
    assert given["PYTHONPATH"] == f"{repository}:{repository}/cpu_image:{repository}/dags/pods"
    assert config["core"]["dags_folder"] == f"{repository}/dags"


@pytest.mark.parametrize(
    ("name", "plugin"),
    [("api-server", "wall/plugins/cpu_wall.py"), ("scheduler", "notes/plugins/cpu_notes.py")],
)
def test_components_with_plugins_clone_the_repository_before_they_start(
    objects: list[Manifest], name: str, plugin: str
) -> None:
    found, given = container(objects, "Deployment", f"airflow-{name}", name)
    spec = find(objects, "Deployment", f"airflow-{name}")["spec"]["template"]["spec"]
    [clone] = [one for one in spec["initContainers"] if one["name"] == "repository"]
    git = {one["name"]: one["value"] for one in clone["env"]}
    worker, synced = container(objects, "StatefulSet", "airflow-worker", "git-sync")
    assert clone["image"] == worker["image"]
    assert {name: git[name] for name in git if name != "GITSYNC_ONE_TIME"} == {
        name: synced[name] for name in git if name != "GITSYNC_ONE_TIME"
    }
    [mount] = {one["mountPath"] for one in found["volumeMounts"] if one["name"] == "repository"}
    folder = Path(given["AIRFLOW__CORE__PLUGINS_FOLDER"])
    repository = f"{mount}/{git['GITSYNC_LINK']}"
    assert (ROOT / "scripts" / plugin).parent == ROOT / folder.relative_to(repository)
    assert (ROOT / "scripts" / plugin).is_file()
    assert given["PYTHONPATH"] == f"{repository}:{repository}/cpu_image:{repository}/dags/pods"


def test_every_component_has_the_same_executors(objects: list[Manifest]) -> None:
    """The DAG processor chooses the executor of a task; a scheduler runs the task by it."""
    config = configparser.RawConfigParser()
    config.read_string(find(objects, "ConfigMap", "airflow-config")["data"]["airflow.cfg"])
    assert config["core"]["executor"].split(",") == ["CeleryExecutor", POD_EXECUTOR]
    assert "AIRFLOW__CORE__EXECUTOR" not in {
        variable["name"]
        for _, pod in pods(objects)
        for container in pod["containers"]
        for variable in container.get("env", [])
    }


def test_the_ui_can_reach_a_scheduler_for_the_logs_of_its_tasks(objects: list[Manifest]) -> None:
    """A pod of a Deployment has no DNS name; a name would be one of the machine itself."""
    scheduler, given = container(objects, "Deployment", "airflow-scheduler", "scheduler")
    assert given["AIRFLOW__CORE__HOSTNAME_CALLABLE"] == "airflow.utils.net.get_host_ip_address"
    assert re.fullmatch(IP_ADDRESS, str(resolve_name(given["AIRFLOW__CORE__HOSTNAME_CALLABLE"])()))
    assert not any("--skip-serve-logs" in word for word in scheduler["args"])
    assert "NetworkPolicy" not in {one["kind"] for one in objects}


def test_git_sync_checks_out_the_revision_in_ref(objects: list[Manifest]) -> None:
    """In git-sync 4 the options of version 3, `branch` and `rev`, override `ref` unless they are empty."""
    _, git = container(objects, "StatefulSet", "airflow-worker", "git-sync")
    assert git["GITSYNC_REF"] == values()["dags"]["gitSync"]["ref"]
    assert (git["GIT_SYNC_BRANCH"], git["GIT_SYNC_REV"]) == ("", "")


def test_the_service_accounts_that_run_pods_are_bound_to_the_role(objects: list[Manifest]) -> None:
    running = {
        find(objects, kind, name)["spec"]["template"]["spec"]["serviceAccountName"]
        for name, kind in RUN_PODS.items()
    }
    subjects = manifest("RoleBinding")["subjects"]
    assert running == {one["name"] for one in subjects if one.get("namespace") == "airflow"}


def test_workers_and_triggerers_keep_their_logs_on_volumes(objects: list[Manifest]) -> None:
    for name in ("airflow-worker", "airflow-triggerer"):
        claims = find(objects, "StatefulSet", name)["spec"]["volumeClaimTemplates"]
        assert [claim["metadata"]["name"] for claim in claims] == ["logs"]


def test_the_nightly_clean_up_runs_the_project_s_own_script(objects: list[Manifest]) -> None:
    job = find(objects, "CronJob", "airflow-database-cleanup")["spec"]
    assert job["schedule"] == "0 3 * * *"
    assert list(within(job, "args")) == [values()["databaseCleanup"]["args"]]
