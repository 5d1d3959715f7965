"""kubectl, as people use it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest

from scripts.local.pods import COLUMNS, get_pods, with_sentences
from scripts.local.settings import Settings
from scripts.namespaces import wait_until_it_takes_pods
from tests.support.cluster import PATIENCE, ROOT, Cluster
from tests.support.processes import running

KUBECTLS = {"distribution": "kubectl", "newest": str(ROOT / ".venv/kubectl/bin/kubectl")}
"""The kubectl on the PATH, and the one of pyproject.toml's group kubectl."""


@pytest.fixture(scope="module", params=KUBECTLS)
def cluster(cluster: Cluster, request: pytest.FixtureRequest) -> Cluster:
    """The session's cluster, for one of the kubectls."""
    return dataclasses.replace(cluster, kubectl_program=KUBECTLS[request.param])


def test_get_prints_a_table_and_with_options_labels_nodes_json_and_names(cluster: Cluster) -> None:
    name = cluster.finished(labels={"cpu": "8"}).metadata.name
    header, row = cluster.kubectl("get", "pods", "-l", f"name={name}").splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:4] == [name, "0/1", "Completed", "0"]
    wide = cluster.kubectl("get", "pod", name, "-o", "wide", "-L", "cpu").splitlines()
    assert "NODE" in wide[0].split()
    assert wide[1].split()[-1] == "8"
    assert json.loads(cluster.kubectl("get", "pod", name, "-o", "json"))["status"]["phase"] == "Succeeded"
    assert cluster.kubectl("get", "pods", "-l", f"name={name}", "-o", "name") == f"pod/{name}\n"


def test_get_w_prints_a_line_for_every_change(cluster: Cluster) -> None:
    name = cluster.create("sleep 1")
    command = cluster.kubectl_command("get", "pod", name, "-w")
    seen = []
    with running(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line.split()[2])
            if seen[-1] in ("Completed", "Error"):
                break
        process.terminate()
    assert seen[0] == "STATUS"
    assert seen[-2:] == ["Running", "Completed"]


RESULT = '{"sentence":"stored 9 instructions","status":"stored"}'
LEAVE_A_RESULT = f"echo '{RESULT}' | tr -d '\\n' >/dev/termination-log"


def test_our_columns_show_cycles_and_follow_their_changes(cluster: Cluster) -> None:
    labels = {"app": "cluster-cpu", "start": "s", "cpu": "8", "cycle": "3", "command": "exec"}
    containers = [cluster.container("true", "a-sidecar"), cluster.container(LEAVE_A_RESULT)]
    first = cluster.finished(labels=labels, containers=containers).metadata.name
    columns = f"--output=custom-columns-file={COLUMNS}"
    header, row = cluster.kubectl("get", "pod", first, columns).splitlines()
    assert header.split() == ["START", "CPU", "CYCLE", "COMMAND", "PHASE", "RESULT"]
    assert row.split(maxsplit=5) == ["s", "8", "3", "exec", "Succeeded", RESULT]
    name = cluster.create("sleep 1; exit 3", labels=labels)
    command = cluster.kubectl_command("get", "pods", "-l", f"name={name}", "-w", columns)
    with running(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        rows: list[list[str]] = []
        while not rows or "Failed" not in rows[-1]:
            rows.append(process.stdout.readline().split())
        process.terminate()
    assert rows[0] == header.split()
    assert rows[-2:] == [["s", "8", "3", "exec", phase, "<none>"] for phase in ("Running", "Failed")]


def test_the_pods_of_one_start_run_are_followed_with_results_in_words(
    cluster: Cluster, tmp_path: Path
) -> None:
    mine, other = ({"app": "cluster-cpu", "start": start, "command": "store"} for start in ("mine", "other"))
    cluster.finished(LEAVE_A_RESULT, labels=other)
    cluster.finished(LEAVE_A_RESULT, labels=mine)
    cluster.kubectl("version", "--client")  # skips where there is none
    settings = Settings(
        tmp_path,
        kubeconfig=cluster.kubeconfig,
        context=cluster.context,
        namespace=cluster.namespace,
        pods_reach_host_at="127.0.0.1",
    )
    with running(get_pods(settings, "mine"), stdout=subprocess.PIPE, text=True) as process:
        lines = with_sentences(process.stdout or ())
        assert next(lines).startswith("START")
        assert next(lines).split() == [
            "mine", "<none>", "<none>", "store", "Succeeded", "stored", "9", "instructions",
        ]  # fmt: skip
        process.terminate()


def test_describe_shows_the_pod_and_its_events(cluster: Cluster) -> None:
    name = cluster.finished("exit 3").metadata.name
    text = cluster.kubectl("describe", "pod", name)
    words = " ".join(text.split())
    for part in (f"Name: {name}", "Reason: Error Exit Code: 3", "Scheduled", "Started container main"):
        assert part in words


def test_logs_f_follows_to_the_end(cluster: Cluster) -> None:
    name = cluster.running("echo one; sleep 1; echo two")
    assert cluster.kubectl("logs", "-f", name) == "one\ntwo\n"
    assert cluster.kubectl("logs", "--tail=1", name) == "two\n"


def test_wait_returns_when_the_condition_holds_and_when_the_pod_is_deleted(cluster: Cluster) -> None:
    name = cluster.create("trap 'exit 0' TERM; while true; do sleep 0.1; done")
    assert "condition met" in cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s")
    cluster.kubectl("delete", "pod", name, "--wait=false")
    cluster.kubectl("wait", "--for=delete", f"pod/{name}", "--timeout=50s")
    assert cluster.kubectl("get", "pods", "-l", f"name={name}", "-o", "name") == ""


def test_delete_waits_until_the_pod_is_gone(cluster: Cluster) -> None:
    name = cluster.running("sleep 60")
    assert "deleted" in cluster.kubectl("delete", "pod", name, "--grace-period=1")
    with pytest.raises(subprocess.CalledProcessError) as error:
        cluster.kubectl("get", "pod", name)
    assert f'Error from server (NotFound): pods "{name}" not found' in error.value.stderr


def test_a_pod_is_created_from_a_manifest_labelled_and_executed_in(cluster: Cluster) -> None:
    manifest = cluster.manifest("sleep 60")
    name = manifest["metadata"]["name"]
    assert cluster.kubectl("create", "-f", "-", input=json.dumps(manifest)) == f"pod/{name} created\n"
    cluster.kubectl("label", "pod", name, "seen=yes")
    cluster.kubectl("annotate", "pod", name, "note=here")
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={PATIENCE}s")
    assert cluster.kubectl("exec", name, "--", "echo", "inside") == "inside\n"
    assert cluster.kubectl("exec", "-i", name, "--", "cat", input="fed\n") == "fed\n"
    with pytest.raises(subprocess.CalledProcessError) as error:
        cluster.kubectl("exec", name, "--", "sh", "-c", "exit 5")
    assert error.value.returncode == 5
    cluster.kubectl("delete", "pods", "-l", "seen=yes", "--grace-period=1")


def test_labels_are_changed_by_apply_patch_edit_and_replace(cluster: Cluster) -> None:
    manifest = json.dumps(cluster.manifest("sleep 60", name="changing", labels={"step": "created"}))

    def step() -> str:
        return cluster.kubectl("get", "pod", "changing", "-o", "jsonpath={.metadata.labels.step}")

    cluster.kubectl("apply", "-f", "-", input=manifest)
    cluster.kubectl("apply", "-f", "-", input=manifest.replace("created", "applied"))
    assert step() == "applied"
    cluster.kubectl("patch", "pod", "changing", "-p", '{"metadata":{"labels":{"step":"patched"}}}')
    assert step() == "patched"
    operation = '[{"op":"replace","path":"/metadata/labels/step","value":"operated"}]'
    cluster.kubectl("patch", "pod", "changing", "--type=json", "-p", operation)
    assert step() == "operated"
    editor = {**os.environ, "KUBE_EDITOR": "sed -i s/operated/edited/"}
    cluster.kubectl("edit", "pod", "changing", env=editor)
    assert step() == "edited"
    # While a pod starts, its kubelet may write between the two commands, and the second is refused.
    cluster.kubectl("wait", "pod", "changing", "--for=condition=Ready", "--timeout=60s")
    pod = cluster.kubectl("get", "pod", "changing", "-o", "json")
    cluster.kubectl("replace", "-f", "-", input=pod.replace("edited", "replaced"))
    assert step() == "replaced"
    cluster.kubectl("delete", "pod", "changing", "--grace-period=0", "--force")


def test_a_generated_secret_is_applied_and_tables_do_not_show_its_values(cluster: Cluster) -> None:
    generate = ("create", "secret", "generic", "by-hand", "--from-literal=url=redis://here")
    secret = cluster.kubectl(*generate, "--dry-run=client", "-o", "yaml")
    cluster.kubectl("apply", "-f", "-", input=secret)
    assert cluster.kubectl("get", "secret", "by-hand").splitlines()[1].split()[:3] == [
        "by-hand",
        "Opaque",
        "1",
    ]
    stored = json.loads(cluster.kubectl("get", "secret", "by-hand", "-o", "json"))
    assert stored["data"] == {"url": "cmVkaXM6Ly9oZXJl"}
    cluster.kubectl("delete", "secret", "by-hand")


@pytest.mark.timeout(300)
def test_a_namespace_is_created_and_deleted_with_the_pods_in_it(cluster: Cluster) -> None:
    name = f"{cluster.namespace}-more"
    namespace = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    assert cluster.kubectl("create", "-f", "-", input=namespace) == f"namespace/{name} created\n"
    wait_until_it_takes_pods(cluster.api, name)
    cluster.kubectl("create", "-n", name, "-f", "-", input=json.dumps(cluster.manifest("sleep 5")))
    # It takes a busy cluster's controllers longer than a pod does.
    assert "deleted" in cluster.kubectl("delete", "namespace", name, timeout=3 * PATIENCE)
    assert cluster.kubectl("get", "pods", "-A", "--field-selector", f"metadata.namespace={name}") == ""


def test_a_misspelt_field_and_a_wrong_type_are_refused_by_name(cluster: Cluster) -> None:
    for field, value in (("comand", ["ls"]), ("env", {"A": "b"})):
        manifest = cluster.manifest(container={field: value})
        with pytest.raises(subprocess.CalledProcessError) as error:
            cluster.kubectl("create", "-f", "-", input=json.dumps(manifest))
        assert field in error.value.stderr.lower()


def test_resources_and_events_are_listed(cluster: Cluster) -> None:
    name = cluster.finished().metadata.name
    kinds = {line.split()[-1] for line in cluster.kubectl("api-resources", "--api-group=").splitlines()[1:]}
    assert {"Pod", "Secret", "Namespace", "Event"} <= kinds
    rows = cluster.kubectl("get", "events", "--field-selector", f"involvedObject.name={name}")
    assert [row.split()[2] for row in rows.splitlines()[1:]] == ["Scheduled", "Pulled", "Created", "Started"]
    assert cluster.namespace in cluster.kubectl("get", "namespaces")
