"""airflow_pods on the cluster under test: pods that succeed, fail, cannot start or are deleted."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from datetime import datetime, timedelta
from typing import Any

import pytest

import airflow_pods as pods
from airflow_pods import client as client_module
from airflow_pods import errors, requests, runner, status
from tests.support.cluster import Cluster, ended, runs, waits

LEAVE_A_RESULT = """echo '{"acc": 5}' > "$RESULT_FILE" """
RESULT = {"acc": 5}

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _connection(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"kube_config_path": str(cluster.kubeconfig), "cluster_context": cluster.context}
    connection = {"conn_type": "kubernetes", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))


def manifest(cluster: Cluster, script: str, **changes: Any) -> pods.Manifest:
    """Return a pod's manifest as the operator makes it, but with a shell as the command."""
    made = pods.manifest_of(
        changes.pop("name", f"run-{next(_numbers)}"),
        changes.pop("namespace", cluster.namespace),
        changes.pop("image", cluster.image),
        [script],
        {"of": "run-pod"},
        {"RESULT_FILE": "/dev/termination-log"},
        changes.pop("secret_env_vars", {}),
        changes.pop("active_deadline_seconds", 60),
    )
    made["spec"]["containers"][0]["command"] = ["/bin/sh", "-c"]
    made["spec"]["securityContext"]["runAsUser"] = 65532  # the shell's image would run as root
    return made


async def run(made: pods.Manifest) -> pods.Result:
    return await pods.run_pod("kubernetes_default", made)


async def test_run_pod_returns_the_result_and_deletes_the_pod(cluster: Cluster) -> None:
    made = manifest(cluster, LEAVE_A_RESULT)
    assert await run(made) == RESULT
    await asyncio.to_thread(cluster.until_gone, made["metadata"]["name"])


async def test_arguments_are_passed_literally(cluster: Cluster) -> None:
    script = """printf '{"text": "%s"}' '$(RESULT_FILE) $$(RESULT_FILE)' > "$RESULT_FILE" """
    made = manifest(cluster, script)
    assert await run(made) == {"text": "$(RESULT_FILE) $$(RESULT_FILE)"}


async def test_a_second_try_returns_the_result_of_the_first_try_s_pod(cluster: Cluster) -> None:
    first = manifest(cluster, LEAVE_A_RESULT)
    cluster.api.create_namespaced_pod(cluster.namespace, first)
    await asyncio.to_thread(cluster.until, first["metadata"]["name"], ended)
    second = manifest(cluster, "exit 1", name=first["metadata"]["name"])
    assert await run(second) == RESULT


def with_sidecar(cluster: Cluster, made: pods.Manifest, script: str) -> pods.Manifest:
    """Return the pod as a service mesh changes it: with a sidecar before ours, and an init container."""
    [main] = made["spec"]["containers"]
    made["spec"]["containers"] = [cluster.container(script, "istio-proxy"), main]
    made["spec"]["initContainers"] = [cluster.container("true", "istio-init")]
    return made


async def test_a_pod_is_finished_and_deleted_once_its_main_container_has_ended_even_if_a_sidecar_runs(
    cluster: Cluster,
) -> None:
    made = manifest(cluster, LEAVE_A_RESULT)
    cluster.api.create_namespaced_pod(cluster.namespace, with_sidecar(cluster, made, "sleep 60"))
    assert await run(manifest(cluster, "exit 1", name=made["metadata"]["name"])) == RESULT
    await asyncio.to_thread(cluster.until_gone, made["metadata"]["name"])


@pytest.mark.parametrize("sidecar", ["sleep 60", "exit 3"])
async def test_the_main_container_s_failure_is_reported_whatever_a_sidecar_does(
    cluster: Cluster, sidecar: str
) -> None:
    made = with_sidecar(cluster, manifest(cluster, "echo line 3 is wrong >&2; exit 2"), sidecar)
    with pytest.raises(pods.PodRefused, match=r"exit code 2\): line 3 is wrong"):
        await run(made)
    # The next try replaces it, though the sidecar may still run.
    assert await run(manifest(cluster, LEAVE_A_RESULT, name=made["metadata"]["name"])) == RESULT


@pytest.mark.usefixtures("_impatient")
async def test_an_init_container_that_can_t_start_is_reported(cluster: Cluster) -> None:
    made = with_sidecar(cluster, manifest(cluster, LEAVE_A_RESULT), "sleep 60")
    made["spec"]["initContainers"][0]["image"] = "no-such-image:1"
    with pytest.raises(pods.PodRefused, match=r"ErrImagePull: init container istio-init: .*no-such-image"):
        await run(made)


async def test_a_second_try_waits_for_the_first_try_s_pod(cluster: Cluster) -> None:
    first = manifest(cluster, f"sleep 3; {LEAVE_A_RESULT}")
    cluster.api.create_namespaced_pod(cluster.namespace, first)
    await asyncio.to_thread(cluster.until, first["metadata"]["name"], runs)
    second = manifest(cluster, "exit 1", name=first["metadata"]["name"])
    assert await run(second) == RESULT


async def test_a_failed_pod_is_kept_until_the_next_try_replaces_it(
    cluster: Cluster,
) -> None:
    first = manifest(cluster, "echo the reason; exit 1")
    with pytest.raises(pods.PodFailed, match=r"failed \(Error, exit code 1\): the reason"):
        await run(first)
    name = first["metadata"]["name"]
    assert cluster.log(name) == "the reason\n"
    assert await run(manifest(cluster, LEAVE_A_RESULT, name=name)) == RESULT


async def test_exit_code_2_is_not_tried_again(cluster: Cluster) -> None:
    with pytest.raises(pods.PodRefused, match="line 3 is wrong"):
        await run(manifest(cluster, "echo line 3 is wrong >&2; exit 2"))


@pytest.mark.parametrize(
    "left", [r'{"acc": "\u0000"}', '{"acc": 123456789012345678901234567890}', '{"__classname__": 1}']
)
async def test_a_result_that_airflow_can_t_keep_is_refused_and_its_pod_is_kept(
    cluster: Cluster, left: str
) -> None:
    made = manifest(cluster, f"printf %s '{left}' > $RESULT_FILE")
    with pytest.raises(pods.PodRefused, match="ended well but left a result with"):
        await run(made)
    assert cluster.read(made["metadata"]["name"]).status.phase == "Succeeded"


@pytest.mark.parametrize(
    ("script", "left"),
    [
        ("true", "nothing"),
        ("echo [1] > $RESULT_FILE", "no JSON object"),
        ("echo {acc > $RESULT_FILE", "no JSON object"),
    ],
)
async def test_a_pod_that_leaves_no_json_object_is_refused(cluster: Cluster, script: str, left: str) -> None:
    with pytest.raises(pods.PodRefused, match=f"left {left} as its result"):
        await run(manifest(cluster, script))


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait 2 s for every reason that keeps a pod from starting; tests/cluster waits the real time."""
    impatient = {reason: row and row._replace(seconds=2) for reason, row in errors.WAITING_REASONS.items()}
    monkeypatch.setattr(errors, "WAITING_REASONS", impatient)


@pytest.mark.usefixtures("_impatient")
async def test_a_missing_image_is_named_with_the_reason_why_it_can_t_be_pulled(cluster: Cluster) -> None:
    made = manifest(cluster, LEAVE_A_RESULT, image="no-such-image:1")
    with pytest.raises(
        pods.PodRefused, match=r"can't start: ErrImagePull: .*no-such-image.*not found.*\(the image"
    ):
        await run(made)
    await asyncio.to_thread(cluster.until_gone, made["metadata"]["name"])


@pytest.mark.parametrize(("image", "reason"), [("No/Image", "InvalidImageName: "), ("", "422 ")])
async def test_an_invalid_image_name_is_refused_at_once(cluster: Cluster, image: str, reason: str) -> None:
    with pytest.raises(pods.PodRefused, match=f"{reason}.*correct the "):
        await run(manifest(cluster, LEAVE_A_RESULT, image=image))


async def test_a_missing_image_that_must_not_be_pulled_is_refused_at_once(cluster: Cluster) -> None:
    made = manifest(cluster, LEAVE_A_RESULT, image="no-such-image:1")
    made["spec"]["containers"][0]["imagePullPolicy"] = "Never"
    with pytest.raises(pods.PodRefused, match=r"ErrImageNeverPull: .*no-such-image.*imagePullPolicy"):
        await run(made)


@pytest.mark.usefixtures("_impatient")
async def test_a_missing_secret_is_named(cluster: Cluster) -> None:
    secret_env_vars = {"REDIS_URL": ("no-such-secret", "url")}
    # The second is what a busy kubelet reports first.
    cause = '(secret "no-such-secret" not found|failed to sync secret cache: .*)'
    with pytest.raises(pods.PodRefused, match=rf"ConfigError: {cause} \(the Secret must"):
        await run(manifest(cluster, LEAVE_A_RESULT, secret_env_vars=secret_env_vars))


@pytest.mark.usefixtures("_impatient")
async def test_a_secret_s_missing_key_is_named(cluster: Cluster) -> None:
    secret = cluster.secret(other="1")
    made = manifest(cluster, LEAVE_A_RESULT, secret_env_vars={"REDIS_URL": (secret, "url")})
    with pytest.raises(pods.PodRefused, match=f"find key url in Secret .*/{secret} .the Secret must"):
        await run(made)


async def test_a_secret_that_is_created_late_is_waited_for(cluster: Cluster) -> None:
    made = manifest(cluster, LEAVE_A_RESULT, secret_env_vars={"REDIS_URL": ("created-late", "url")})
    name = cluster.api.create_namespaced_pod(cluster.namespace, made).metadata.name
    running = asyncio.create_task(run(made))
    await asyncio.to_thread(cluster.until, name, waits("CreateContainerConfigError"))
    late = {"metadata": {"name": "created-late"}, "stringData": {"url": "1"}}
    cluster.api.create_namespaced_secret(cluster.namespace, late)
    assert await running == RESULT


async def test_a_program_that_the_image_lacks_is_named_and_not_tried_again(cluster: Cluster) -> None:
    made = manifest(cluster, LEAVE_A_RESULT)
    made["spec"]["containers"][0]["command"] = ["no-such-program"]
    with pytest.raises(pods.PodRefused, match=r"StartError.*no-such-program.*entrypoint"):
        await run(made)


async def test_a_failed_pod_s_message_is_reported_with_the_secret_of_the_variable_that_it_names(
    cluster: Cluster,
) -> None:
    secret = cluster.secret(url="1")
    script = "echo Redis refuses the password in REDIS_URL; exit 1"
    made = manifest(cluster, script, secret_env_vars={"REDIS_URL": (secret, "url")})
    with pytest.raises(pods.PodFailed, match=f"in REDIS_URL .REDIS_URL is key url of Secret {secret}"):
        await run(made)


async def test_a_missing_namespace_is_named_and_not_tried_again(cluster: Cluster) -> None:
    with pytest.raises(pods.PodRefused, match=r"namespace no-such-namespace: 404 .*create the namespace"):
        await run(manifest(cluster, LEAVE_A_RESULT, namespace="no-such-namespace"))


async def test_a_pod_past_its_deadline_fails(cluster: Cluster) -> None:
    with pytest.raises(pods.PodFailed, match="DeadlineExceeded"):
        await run(manifest(cluster, "sleep 60", active_deadline_seconds=2))


async def test_a_pod_that_a_person_deletes_is_tried_again(cluster: Cluster) -> None:
    made = manifest(cluster, "sleep 60")
    async with client_module.connect("kubernetes_default") as client:
        pod = await runner.find_or_create(client, made)
        watching = asyncio.create_task(requests.watch_until(client, pod, status.is_finished))
        await asyncio.to_thread(cluster.until, made["metadata"]["name"], runs)
        await runner.delete_by_name("kubernetes_default", made)
        last = await watching
    # The watch may see the container fail before the pod is gone.
    if last is not None:
        with pytest.raises(pods.PodFailed, match="was deleted before it left a result"):
            status.result_of(last)


async def test_delete_all_deletes_only_pods_with_the_labels_that_have_failed_or_not_started(
    cluster: Cluster,
) -> None:
    def made(script: str, value: str, **changes: Any) -> str:
        pod = manifest(cluster, script, **changes)
        pod["metadata"]["labels"]["start"] = value
        return str(cluster.api.create_namespaced_pod(cluster.namespace, pod).metadata.name)

    failed, waiting = (
        made("exit 1", "mine"),
        made("true", "mine", secret_env_vars={"URL": ("no-secret", "url")}),
    )
    at_work, others = made("sleep 60", "mine"), made("exit 1", "others")
    for name in (failed, others):
        await asyncio.to_thread(cluster.until, name, ended)
    await asyncio.to_thread(cluster.until, at_work, runs)
    await asyncio.to_thread(cluster.until, waiting, waits("CreateContainerConfigError"))
    deleted = await pods.delete_all("kubernetes_default", cluster.namespace, {"start": "mine"})
    assert sorted(deleted) == sorted([failed, waiting])
    for name in deleted:
        await asyncio.to_thread(cluster.until_gone, name)
    assert cluster.read(at_work).status.phase == "Running"
    assert cluster.read(others).status.phase == "Failed"


async def test_delete_all_deletes_only_finished_pods_that_were_created_before_a_moment(
    cluster: Cluster,
) -> None:
    def made(script: str) -> str:
        pod = manifest(cluster, script)
        pod["metadata"]["labels"]["start"] = "old"
        return str(cluster.api.create_namespaced_pod(cluster.namespace, pod).metadata.name)

    failed, succeeded, at_work = made("exit 1"), made("true"), made("sleep 60")
    for name in (failed, succeeded):
        await asyncio.to_thread(cluster.until, name, ended)
    await asyncio.to_thread(cluster.until, at_work, runs)
    now = cluster.read(at_work).metadata.creation_timestamp

    async def deleted(before: datetime) -> set[str]:
        chosen = pods.ended_before(before)
        return set(await pods.delete_all("kubernetes_default", cluster.namespace, {"start": "old"}, chosen))

    assert await deleted(now - timedelta(days=8)) == set()
    assert await deleted(now + timedelta(seconds=1)) == {failed, succeeded}
    for name in (failed, succeeded):
        await asyncio.to_thread(cluster.until_gone, name)
    assert cluster.read(at_work).status.phase == "Running"


async def test_twenty_pods_at_once_all_return_their_results(cluster: Cluster) -> None:
    made = [manifest(cluster, f"""echo '{{"n": {n}}}' > "$RESULT_FILE" """) for n in range(20)]
    assert await asyncio.gather(*map(run, made)) == [{"n": n} for n in range(20)]


def kubeconfig(server: str) -> str:
    """Return a kubeconfig for this server, without a certificate authority."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "there",
            "clusters": [{"name": "there", "cluster": {"server": server}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "there", "context": {"cluster": "there", "user": "nobody"}}],
        }
    )


def connect(monkeypatch: pytest.MonkeyPatch, **extra: Any) -> None:
    connection = {"conn_type": "kubernetes", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))


@pytest.mark.parametrize("server", ["http://127.0.0.1:9", "https://no-such-host.invalid:6443"])
async def test_an_unreachable_api_is_tried_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    connect(monkeypatch, kube_config=kubeconfig(server))
    monkeypatch.setattr(client_module, "RETRY_SECONDS", 1)
    with pytest.raises(
        pods.PodFailed, match=r"API does not answer: .*does Airflow connection kubernetes_default"
    ):
        await run(manifest(cluster, LEAVE_A_RESULT))


async def test_an_api_that_does_not_answer_is_tried_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connect(monkeypatch, kube_config=kubeconfig(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        monkeypatch.setattr(client_module, "RETRY_SECONDS", 0)
        monkeypatch.setattr(client_module, "ANSWER_SECONDS", 1)
        with pytest.raises(pods.PodFailed, match="API does not answer: TimeoutError"):
            await run(manifest(cluster, LEAVE_A_RESULT))


async def test_an_api_with_an_untrusted_certificate_is_not_tried_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, kube_config=kubeconfig(cluster.api.api_client.configuration.host))
    with pytest.raises(
        pods.PodRefused, match=r"not trusted: .*CERTIFICATE_VERIFY_FAILED.*kubernetes_default"
    ):
        await run(manifest(cluster, LEAVE_A_RESULT))


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"kube_config_path": "/no/such/file"},
        {"kube_config": "clusters: ["},
        {"in_cluster": True},
        {"in_cluster": True, "kube_config": "{}"},
        {"kube_config": kubeconfig("http://127.0.0.1:9"), "cluster_context": "no-such-context"},
    ],
)
async def test_an_unusable_connection_is_not_tried_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
) -> None:
    connect(monkeypatch, **extra)
    with pytest.raises(pods.PodRefused, match="Airflow connection kubernetes_default leads to no cluster"):
        await run(manifest(cluster, LEAVE_A_RESULT))
