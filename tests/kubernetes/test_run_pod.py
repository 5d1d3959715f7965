"""The project's own way to run a pod and take its result, on the cluster under test."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest

from dags import pods
from dags.pods import run as runs_pods
from dags.pods import status
from tests.kubernetes.cluster import Cluster, ended, runs

LEAVE_A_RESULT = """echo '{"acc": 5}' > "$RESULT_FILE" """
RESULT = {"acc": 5}

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _connection(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"kube_config_path": str(cluster.kubeconfig), "cluster_context": cluster.context}
    connection = {"conn_type": "kubernetes", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))


def manifest(cluster: Cluster, script: str, **changes: Any) -> pods.Manifest:
    """A pod as the operator makes it, but with a shell in the image's place."""
    made = pods.manifest_of(
        changes.pop("name", f"run-{next(_numbers)}"),
        changes.pop("namespace", cluster.namespace),
        changes.pop("image", cluster.image),
        [script],
        {"of": "run-pod"},
        {"RESULT_FILE": "/dev/termination-log"},
        changes.pop("secret_env", {}),
        changes.pop("deadline_seconds", 60),
    )
    made["spec"]["containers"][0]["command"] = ["/bin/sh", "-c"]
    made["spec"]["securityContext"]["runAsUser"] = 65532  # the shell's image runs as root by itself
    return made


async def run(made: pods.Manifest) -> pods.Result:
    return await pods.run_pod("kubernetes_default", made)


async def test_a_pod_s_result_is_taken_and_the_pod_is_gone(cluster: Cluster) -> None:
    made = manifest(cluster, LEAVE_A_RESULT)
    assert await run(made) == RESULT
    await asyncio.to_thread(cluster.until_gone, made["metadata"]["name"])


async def test_nothing_in_an_argument_is_taken_for_a_variable(cluster: Cluster) -> None:
    script = """printf '{"text": "%s"}' '$(RESULT_FILE) $$(RESULT_FILE)' > "$RESULT_FILE" """
    made = manifest(cluster, script)
    assert await run(made) == {"text": "$(RESULT_FILE) $$(RESULT_FILE)"}


async def test_a_second_try_takes_the_result_of_the_first_try_s_pod(cluster: Cluster) -> None:
    first = manifest(cluster, LEAVE_A_RESULT)
    cluster.api.create_namespaced_pod(cluster.namespace, first)
    await asyncio.to_thread(cluster.until, first["metadata"]["name"], ended)
    second = manifest(cluster, "exit 1", name=first["metadata"]["name"])
    assert await run(second) == RESULT


async def test_a_second_try_waits_for_the_first_try_s_pod(cluster: Cluster) -> None:
    first = manifest(cluster, f"sleep 3; {LEAVE_A_RESULT}")
    cluster.api.create_namespaced_pod(cluster.namespace, first)
    await asyncio.to_thread(cluster.until, first["metadata"]["name"], runs)
    second = manifest(cluster, "exit 1", name=first["metadata"]["name"])
    assert await run(second) == RESULT


async def test_a_pod_that_failed_is_replaced_by_the_next_try_and_left_to_look_at_before(
    cluster: Cluster,
) -> None:
    first = manifest(cluster, "echo the reason; exit 1")
    with pytest.raises(pods.PodFailed, match=r"failed \(Error, exit code 1\): the reason"):
        await run(first)
    name = first["metadata"]["name"]
    assert cluster.log(name) == "the reason\n"
    assert await run(manifest(cluster, LEAVE_A_RESULT, name=name)) == RESULT


async def test_exit_code_2_says_that_trying_again_can_t_help(cluster: Cluster) -> None:
    with pytest.raises(pods.PodRefused, match="line 3 is wrong"):
        await run(manifest(cluster, "echo line 3 is wrong >&2; exit 2"))


@pytest.mark.parametrize("script", ["true", "echo [1] > $RESULT_FILE", "echo {acc > $RESULT_FILE"])
async def test_a_pod_that_leaves_no_json_object_is_refused(cluster: Cluster, script: str) -> None:
    with pytest.raises(pods.PodRefused, match="left no JSON object"):
        await run(manifest(cluster, script))


async def test_a_missing_image_is_named(cluster: Cluster) -> None:
    with pytest.raises(pods.PodFailed, match=r"can't start: ImagePullBackOff: .*no-such-image.*must exist"):
        await run(manifest(cluster, LEAVE_A_RESULT, image="no-such-image:1"))


async def test_a_missing_secret_is_named(cluster: Cluster) -> None:
    secret_env = {"REDIS_URL": ("no-such-secret", "url")}
    with pytest.raises(pods.PodFailed, match=r"CreateContainerConfigError: .*Secret"):
        await run(manifest(cluster, LEAVE_A_RESULT, secret_env=secret_env))


async def test_a_missing_namespace_is_named_and_not_tried_again(cluster: Cluster) -> None:
    with pytest.raises(pods.PodRefused, match=r"namespace no-such-namespace: 404 .*create the namespace"):
        await run(manifest(cluster, LEAVE_A_RESULT, namespace="no-such-namespace"))


async def test_a_pod_past_its_deadline_fails(cluster: Cluster) -> None:
    with pytest.raises(pods.PodFailed, match="DeadlineExceeded"):
        await run(manifest(cluster, "sleep 60", deadline_seconds=2))


async def test_a_pod_that_somebody_deletes_fails_in_a_way_that_is_tried_again(cluster: Cluster) -> None:
    made = manifest(cluster, "sleep 60")
    async with runs_pods.core_v1("kubernetes_default") as api:
        pod = await runs_pods.created(api, made)
        watching = asyncio.create_task(runs_pods.watched(api, pod, status.is_finished))
        await asyncio.to_thread(cluster.until, made["metadata"]["name"], runs)
        await runs_pods.delete_by_name("kubernetes_default", made)
        last = await watching
    # Gone, or seen to fail just before.
    if last is not None:
        with pytest.raises(pods.PodFailed):
            status.result_of(last)


async def test_twenty_pods_at_once_all_give_their_results(cluster: Cluster) -> None:
    made = [manifest(cluster, f"""echo '{{"n": {n}}}' > "$RESULT_FILE" """) for n in range(20)]
    assert await asyncio.gather(*map(run, made)) == [{"n": n} for n in range(20)]


async def test_an_api_that_is_away_fails_in_a_way_that_is_tried_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"kube_config": json.dumps(KUBECONFIG_TO_NOWHERE)}
    connection = {"conn_type": "kubernetes", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
    monkeypatch.setattr(runs_pods, "PATIENCE_SECONDS", 1)
    with pytest.raises(pods.PodFailed, match="Kubernetes API does not answer"):
        await run(manifest(cluster, LEAVE_A_RESULT))


KUBECONFIG_TO_NOWHERE = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "nowhere",
    "clusters": [{"name": "nowhere", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "nobody", "user": {}}],
    "contexts": [{"name": "nowhere", "context": {"cluster": "nowhere", "user": "nobody"}}],
}
