"""What `python -m scripts.kind` creates matches what the chart and the pods expect."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.kind import helm, laptop, passwords
from scripts.kind.deploy import WORKLOADS, Commit, deploy, values_of
from scripts.kind.kubectl import KindError, Kubectl
from tests.deploy.test_rendered_chart import SECRETS
from tests.support.chart import ROOT
from tests.support.chart import values as of_the_project

MADE_UP = {
    name: f"made-up-{name}"
    for name in ("database", "broker", "redis", "wall", "session", "admin", "jwt", "fernet")
}


def objects() -> list[dict[str, Any]]:
    """Return the objects in the manifests of the folder."""
    files = yaml.safe_load((laptop.FOLDER / "kustomization.yaml").read_text())["resources"]
    texts = [(laptop.FOLDER / file).read_text() for file in files if file.endswith(".yaml")]
    return [one for text in texts for one in yaml.safe_load_all(text)]


def kind(*arguments: str, path: str = os.defpath, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.kind", *arguments]
    environment = {"PATH": path, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def made(environment: dict[str, str] | None = None) -> dict[tuple[str, str, str], str]:
    """Return every value of every Secret by namespace, Secret and key."""
    return {
        (one["metadata"]["namespace"], one["metadata"]["name"], key): value
        for one in passwords.manifests(MADE_UP, environment or {})
        for key, value in one["stringData"].items()
    }


def pods() -> list[tuple[str, dict[str, Any]]]:
    """Return the namespace and the pod spec of every workload."""
    return [
        (one["metadata"]["namespace"], one["spec"]["template"]["spec"])
        for one in objects()
        if one["kind"] in ("StatefulSet", "Deployment")
    ]


def test_every_secret_that_is_referred_to_is_created() -> None:
    referred = {("airflow", *one) for one in SECRETS} | {("cpu-jobs", "cpu-redis", "url")}
    for namespace, pod in pods():
        [container] = pod["containers"]
        keys = [one["valueFrom"]["secretKeyRef"] for one in container.get("env", []) if "valueFrom" in one]
        referred |= {(namespace, key["name"], key["key"]) for key in keys}
        mounted = [one["secret"]["secretName"] for one in pod.get("volumes", []) if "secret" in one]
        referred |= {(namespace, name, "users.acl") for name in mounted}
    assert set(made()) == referred


def test_no_command_line_contains_a_password() -> None:
    """Neither literally nor by an expansion that a shell or Kubernetes would perform."""
    for _, pod in pods():
        for container in pod["containers"]:
            words = [*container.get("command", []), *container.get("args", [])]
            assert not any("$" in word or "requirepass" in word or "PASSWORD" in word for word in words)


def test_missing_passwords_are_generated_and_stored_ones_are_kept() -> None:
    old = MADE_UP.keys() - {"wall"}
    kept = {name: base64.b64encode(MADE_UP[name].encode()).decode() for name in old}
    applied: list[Any] = []

    class Cluster:
        def find(self, *_: str) -> dict[str, Any]:
            return {"data": kept}

        def apply(self, *manifests: Any) -> None:
            applied.extend(manifests)

    found = passwords.passwords(Cluster())  # type: ignore[arg-type]
    assert {name: found[name] for name in old} == {name: MADE_UP[name] for name in old}
    assert [one["stringData"] for one in applied] == [found]
    assert len(found["wall"]) == 48


def test_the_connection_to_slack_comes_from_the_environment() -> None:
    secret = ("airflow", "airflow-slack", "connection")
    assert made()[secret] == ""
    assert made({passwords.SLACK: "{}"})[secret] == "{}"


def test_connection_urls_point_to_the_services_that_are_created() -> None:
    services = {
        f"{one['metadata']['name']}.{one['metadata']['namespace']}"
        for one in objects()
        if one["kind"] == "Service"
    }
    assert services == {"postgres.airflow", "broker.airflow", "redis.redis"}
    values = made()
    assert "@postgres:5432/" in values["airflow", "airflow-database", "connection"]
    assert "@broker:6379/" in values["airflow", "airflow-broker", "connection"]
    assert values["cpu-jobs", "cpu-redis", "url"] == "redis://cpu:made-up-redis@redis.redis:6379/0"
    assert (
        values["airflow", "airflow-cpu-redis", "connection"] == "redis://wall:made-up-wall@redis.redis:6379/0"
    )


def test_the_acl_file_has_the_passwords_of_the_connection_urls() -> None:
    values = made()
    users = values["redis", "redis", "users.acl"].splitlines()
    assert [line.split()[:4] for line in users] == [
        ["user", "default", "off"],
        ["user", "cpu", "on", ">made-up-redis"],
        ["user", "wall", "on", ">made-up-wall"],
    ]
    assert ">made-up-broker " in values["airflow", "airflow-broker", "users.acl"]


def test_the_network_policy_lets_pods_reach_this_redis() -> None:
    policy = yaml.safe_load((ROOT / "scripts/cluster/network.yaml").read_text())
    [allowed] = [rule["to"] for rule in policy["spec"]["egress"] if rule["ports"][0]["port"] == 6379]
    [redis] = [one for one in objects() if (one["kind"], one["metadata"]["name"]) == ("StatefulSet", "redis")]
    [peer] = allowed
    assert peer["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": redis["metadata"]["namespace"]
    }
    [expression] = peer["podSelector"]["matchExpressions"]
    labels = redis["spec"]["template"]["metadata"]["labels"]
    assert labels[expression["key"]] in expression["values"]


def test_the_image_has_the_dags_where_the_chart_s_values_expect_them() -> None:
    dockerfile = (laptop.FOLDER / "airflow.Dockerfile").read_text()
    given = helm.values([])
    path, silicon, pods = {one["name"]: one["value"] for one in given["env"]}["PYTHONPATH"].split(":")
    assert f"COPY cpu_image/cpu {silicon}/cpu\n" in dockerfile
    assert f"COPY dags {path}/dags\n" in dockerfile
    assert pods == f"{path}/dags/pods"
    assert f"COPY scripts {path}/scripts\n" in dockerfile
    copied = [line.split()[1] for line in dockerfile.splitlines() if line.startswith("COPY")]
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert [f"!{one}" for one in copied] == [line for line in kept if line.startswith("!")]
    assert given["config"]["core"]["dags_folder"] == f"{path}/dags"
    assert f"{given['images']['airflow']['repository']}:{given['images']['airflow']['tag']}" == (
        laptop.AIRFLOW_IMAGE
    )
    assert f"apache/airflow:{of_the_project()['airflowVersion']}" in dockerfile


def test_values_are_merged_as_helm_merges_them() -> None:
    below = {"kept": 1, "both": {"kept": 1, "changed": 1}, "list": [1, 2]}
    above = {"both": {"changed": 2, "new": 3}, "list": [3]}
    merged = {"kept": 1, "both": {"kept": 1, "changed": 2, "new": 3}, "list": [3]}
    assert helm.merged(below, above) == merged


@pytest.mark.parametrize(("missing", "there"), [("kubectl", []), ("kind", ["kubectl"])])
def test_a_missing_program_is_named(missing: str, there: list[str], tmp_path: Path) -> None:
    for name in there:
        (tmp_path / name).symlink_to(shutil.which("true") or "/bin/true")
    done = kind("up", path=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"error: {missing} is not on the PATH: install it and try again\n"


def test_docker_s_own_error_is_shown_when_docker_is_not_running(tmp_path: Path) -> None:
    for name in ("kubectl", "kind"):
        (tmp_path / name).symlink_to(shutil.which("true") or "/bin/true")
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'is the docker daemon running?' >&2\nexit 1\n")
    docker.chmod(0o755)
    done = kind("up", path=f"{tmp_path}:{os.defpath}")
    assert done.returncode == 1
    assert done.stderr == "error: `docker info` failed: is the docker daemon running?\n"


def test_a_kubeconfig_without_a_context_is_refused() -> None:
    done = kind("up", "--kubeconfig", "somewhere")
    assert (done.returncode, done.stderr) == (
        1,
        "error: --kubeconfig needs --context: name the context too\n",
    )


def test_a_missing_chart_is_named() -> None:
    done = kind("up", "--context", "somewhere", AIRFLOW_CHART="/nowhere.tgz")
    assert done.returncode == 1
    assert "there is no chart at /nowhere.tgz" in done.stderr


def test_a_chart_with_another_sha512_is_refused(tmp_path: Path) -> None:
    (other := tmp_path / "other.tgz").write_bytes(b"another chart")
    with pytest.raises(KindError, match=r"is not the official chart .* \(its sha512 differs\): remove it"):
        helm.chart("", tmp_path / "kept", other.as_uri())
    # The rejected download is still in the folder and is not accepted later.
    with pytest.raises(KindError, match="is not the official chart"):
        helm.chart("", tmp_path / "kept")


def test_a_failed_download_of_the_chart_names_its_address(tmp_path: Path) -> None:
    with pytest.raises(KindError, match=r"cannot download file:.*nowhere\.tgz .*: set AIRFLOW_CHART"):
        helm.chart("", tmp_path, (tmp_path / "nowhere.tgz").as_uri())


class Releases:
    """A stand-in for Helm's library that knows of these releases."""

    HelmError = RuntimeError

    def __init__(self, *releases: dict[str, Any]) -> None:
        self.releases = list(releases)
        self.calls: list[str] = []

    def library(self) -> Releases:
        return self

    def Config(self, **_: Any) -> Releases:
        return self

    def __enter__(self) -> Releases:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def list(self, *, all_states: bool) -> list[dict[str, Any]]:
        assert all_states
        return self.releases

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self.calls.append(name)


@pytest.mark.parametrize(
    ("releases", "calls"),
    [
        ([], ["install"]),
        ([("deployed", 1)], ["upgrade"]),
        ([("deployed", 7)], ["upgrade"]),
        ([("failed", 1)], ["uninstall", "install"]),
        ([("pending-install", 1)], ["uninstall", "install"]),
        ([("failed", 8)], ["upgrade"]),
    ],
)
def test_only_a_failed_first_installation_is_uninstalled_before_an_upgrade(
    releases: list[tuple[str, int]], calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Releases(*({"name": "airflow", "status": status, "revision": one} for status, one in releases))
    monkeypatch.setattr(helm, "library", found.library)
    helm.install(Kubectl("somewhere"), Path("chart"), {})
    assert found.calls == calls


def test_a_deployment_changes_only_the_image_the_dags_and_the_url() -> None:
    commit = Commit(
        "registry.example/cpu@sha256:1", "https://git.example/c.git", "abc", "https://airflow.example"
    )
    values, project = values_of(commit), of_the_project()
    assert [one["value"] for one in values["env"] if one["name"] == "CPU_IMAGE"] == [commit.image]
    assert (values["dags"]["gitSync"]["repo"], values["dags"]["gitSync"]["ref"]) == (
        commit.repository,
        commit.revision,
    )
    assert values["config"]["api"]["base_url"] == commit.url
    project["env"][0]["value"] = commit.image
    project["dags"]["gitSync"] |= {"repo": commit.repository, "ref": commit.revision}
    project["config"]["api"]["base_url"] = commit.url
    assert values == project


def test_a_deployment_applies_the_manifests_installs_the_chart_and_waits_for_the_workloads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    class Cluster(Kubectl):
        def __call__(self, *arguments: str, given: str | None = None) -> str:
            done.append(" ".join(arguments[:3]).replace(str(ROOT), ""))
            return ""

    monkeypatch.setattr(helm, "install", lambda _, chart, __: done.append(f"install {chart}"))
    deploy(Cluster("somewhere"), Path("chart.tgz"), Commit("image", "repository", "revision", "url"), print)
    assert done == [
        "apply -k /scripts/cluster",
        "install chart.tgz",
        *[f"rollout status {one}" for one in WORKLOADS],
    ]


def test_a_values_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(KindError, match=r"cannot read .*nowhere\.yaml: No such file"):
        helm.values([tmp_path / "nowhere.yaml"])
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(KindError, match=r"bad\.yaml is not YAML"):
        helm.values([tmp_path / "bad.yaml"])
