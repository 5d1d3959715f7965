"""Watches, logs and exec, through the official client."""

from __future__ import annotations

import contextlib
import gc
import re
import time
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException

from tests.support.cluster import PATIENCE, Cluster, ended, terminated


def changes(cluster: Cluster, **options: Any) -> Any:
    """Return a watch of the session's pods with a timeout."""
    stream = kubernetes.watch.Watch().stream
    options = {"timeout_seconds": PATIENCE, **options}
    return contextlib.closing(stream(cluster.api.list_namespaced_pod, cluster.namespace, **options))


def test_a_watch_starts_with_the_existing_objects_and_reports_changes_until_deletion(
    cluster: Cluster,
) -> None:
    name = cluster.finished().metadata.name
    with changes(cluster, field_selector=f"metadata.name={name}") as stream:
        assert next(stream)["type"] == "ADDED"
        cluster.api.patch_namespaced_pod(name, cluster.namespace, {"metadata": {"labels": {"x": "y"}}})
        change = next(stream)
        assert (change["type"], change["object"].metadata.labels["x"]) == ("MODIFIED", "y")
        cluster.api.delete_namespaced_pod(name, cluster.namespace)
        assert any(change["type"] == "DELETED" for change in stream)


def test_a_watch_from_a_resource_version_replays_the_changes_after_it(cluster: Cluster) -> None:
    version = cluster.api.list_namespaced_pod(cluster.namespace).metadata.resource_version
    name = cluster.finished().metadata.name
    with changes(cluster, resource_version=version, label_selector=f"name={name}") as stream:
        first = next(stream)
        assert (first["type"], first["object"].status.phase) == ("ADDED", "Pending")
        versions = [int(first["object"].metadata.resource_version)]
        for change in stream:
            versions.append(int(change["object"].metadata.resource_version))
            if ended(change["object"]):
                break
    assert versions == sorted(set(versions))
    assert versions[0] > int(version)


def test_a_watch_reports_objects_that_leave_or_enter_its_selector(cluster: Cluster) -> None:
    name = cluster.finished(labels={"seen": "leaving"}).metadata.name
    with changes(cluster, label_selector="seen=leaving") as stream:
        assert next(stream)["type"] == "ADDED"
        for value, event in (("no", "DELETED"), ("leaving", "ADDED")):
            cluster.api.patch_namespaced_pod(
                name, cluster.namespace, {"metadata": {"labels": {"seen": value}}}
            )
            assert next(stream)["type"] == event


def test_a_watch_ends_after_its_timeout(cluster: Cluster) -> None:
    begun = time.monotonic()
    with changes(cluster, field_selector="metadata.name=nobody", timeout_seconds=1) as stream:
        assert list(stream) == []
    assert 0.9 < time.monotonic() - begun < 10


def test_a_log_is_followed_line_by_line_to_its_end(cluster: Cluster) -> None:
    name = cluster.running("for i in 1 2 3; do echo line $i; sleep 0.3; done")
    follow = kubernetes.watch.Watch().stream
    lines = list(follow(cluster.api.read_namespaced_pod_log, name, cluster.namespace, follow=True))
    assert [line for line in lines if line] == ["line 1", "line 2", "line 3"]
    assert cluster.until(name, ended).status.phase == "Succeeded"


def test_a_log_can_be_read_in_part_by_lines_and_age(cluster: Cluster) -> None:
    name = cluster.finished("echo one; echo two; printf three").metadata.name
    assert cluster.log(name) == "one\ntwo\nthree"
    assert cluster.log(name, tail_lines=2) == "two\nthree"
    assert cluster.log(name, tail_lines=0) == ""
    assert cluster.log(name, since_seconds=3600) == "one\ntwo\nthree"
    stamped = cluster.log(name, timestamps=True).split("\n")
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z \w+$", line) for line in stamped)


def test_a_log_that_does_not_exist_is_refused_with_the_reason(cluster: Cluster) -> None:
    name = cluster.finished().metadata.name
    two = [cluster.container("true", "a"), cluster.container("true", "b")]
    pair = cluster.finished(containers=two).metadata.name
    for reason, options in (
        ("container z is not valid for pod", {"name": name, "container": "z"}),
        ("previous terminated container", {"name": name, "previous": True}),
        ("a container name must be specified for pod", {"name": pair}),
    ):
        with pytest.raises(ApiException, match=reason) as error:
            cluster.log(**options)
        assert error.value.status == 400


def test_exec_keeps_stdout_and_stderr_apart_and_reports_the_exit_code(cluster: Cluster) -> None:
    name = cluster.running("sleep 60")
    result = cluster.exec(name, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    assert result.code == 3
    fine = cluster.exec(name, "sh", "-c", "echo $HOSTNAME")
    assert (fine.stdout, fine.code) == (f"{name}\n", 0)
    missing = cluster.exec(name, "no-such-program")
    assert "executable file not found" in missing.end
    cluster.api.delete_namespaced_pod(name, cluster.namespace, grace_period_seconds=0)


def test_exec_passes_stdin_to_the_command(cluster: Cluster) -> None:
    name = cluster.running("sleep 60")
    result = cluster.exec(name, "sh", "-c", "read word; echo got $word; exit 4", stdin="hello\n")
    assert (result.stdout, result.code) == ("got hello\n", 4)
    cluster.api.delete_namespaced_pod(name, cluster.namespace, grace_period_seconds=0)


def test_exec_sees_the_container_s_volumes_and_can_end_its_main_process(cluster: Cluster) -> None:
    name = cluster.running(
        "echo kept > /data/file; trap 'exit 0' INT; while true; do sleep 0.1; done",
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        volumes=[{"name": "data", "emptyDir": {}}],
    )
    assert cluster.exec(name, "cat", "/data/file").stdout == "kept\n"
    # How Airflow's pod operator ends its sidecar: every process called sh, itself included.
    find = 'for f in /proc/[0-9]*/comm; do [ -O $f ] && read c < $f && [ "$c" = sh ]'
    script = f"{find} && p=${{f%/comm}} && kill -2 ${{p##*/}}; done"
    cluster.exec(name, "sh", stdin=f"{script}\n")
    assert terminated(cluster.until(name, ended)).exit_code == 0


def test_kubectl_cp_copies_from_and_to_a_volume(cluster: Cluster, tmp_path: Path) -> None:
    name = cluster.running(
        "mkdir /data/folder; echo kept > /data/folder/file; sleep 60",
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        volumes=[{"name": "data", "emptyDir": {}}],
    )
    cluster.kubectl("cp", f"{name}:/data/folder/file", str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "kept\n"
    cluster.kubectl("cp", f"{name}:/data", str(tmp_path / "data"))
    assert (tmp_path / "data/folder/file").read_text() == "kept\n"
    cluster.kubectl("cp", str(tmp_path / "file"), f"{name}:/data/other")
    assert cluster.kubectl("exec", name, "--", "cat", "/data/other") == "kept\n"
    cluster.api.delete_namespaced_pod(name, cluster.namespace, grace_period_seconds=0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_exec_into_a_finished_container_is_refused(cluster: Cluster) -> None:
    name = cluster.finished().metadata.name
    connect = cluster.api.connect_get_namespaced_pod_exec
    # The client expects a text in the refused handshake; without one it raises AttributeError.
    with pytest.raises((ApiException, AttributeError)):
        kubernetes.stream.stream(connect, name, cluster.namespace, command=["true"], stdout=True)
    gc.collect()  # the client leaves the refused connection to the garbage collector, which warns
