"""What a pod's status means: finished or not, its result, and whether another try can help."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes_asyncio import client

import airflow_pods as pods
from airflow_pods import status
from airflow_pods.errors import api_error


async def _deserializer() -> client.ApiClient:
    """Return a closed client: it opens only in an event loop, and deserializes without a connection."""
    api = client.ApiClient()
    await api.close()
    return api


DESERIALIZER = asyncio.run(_deserializer())
NO_PROGRAM = 'unable to start container process: exec: "/no/such": stat /no/such: no such file or directory'
BUSY = "failed to create shim task: context deadline exceeded"


def failed(end: dict[str, Any] | None, **status: Any) -> client.V1Pod:
    """Return a failed pod with this status, and this end of its container, if it has one."""
    ended = client.V1ContainerState(terminated=client.V1ContainerStateTerminated(**end)) if end else None
    container = client.V1ContainerStatus(
        name="main", state=ended, image="cpu:1", image_id="", ready=False, restart_count=0
    )
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name="cpu-1", namespace="cpu-jobs"),
        spec=client.V1PodSpec(containers=[client.V1Container(name="main", image="cpu:1")]),
        status=client.V1PodStatus(phase="Failed", container_statuses=[container] if end else None, **status),
    )


@pytest.mark.parametrize(
    ("pod", "kind", "message"),
    [
        (
            failed({"exit_code": 128, "reason": "StartError", "message": NO_PROGRAM}),
            pods.PodRefused,
            "entrypoint",
        ),
        (
            failed({"exit_code": 128, "reason": "StartError", "message": BUSY}),
            pods.PodFailed,
            "context deadline",
        ),
        (failed({"exit_code": 1, "reason": "OOMKilled"}), pods.PodRefused, "memory limit"),
        (failed({"exit_code": 137, "reason": "Error"}), pods.PodFailed, "exit code 137"),
        (
            failed(None, reason="Evicted", message="The node was low on resource"),
            pods.PodFailed,
            "was low on",
        ),
        (failed(None, reason="Shutdown", message="imminent node shutdown"), pods.PodFailed, "node shutdown"),
        (failed(None, reason="OutOfcpu", message="Node didn't have enough"), pods.PodFailed, "OutOfcpu"),
    ],
)
def test_a_failed_pod_is_tried_again_unless_another_try_would_fail_in_the_same_way(
    pod: client.V1Pod, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as raised:
        status.result_of(pod)
    assert str(raised.value).startswith("pod cpu-1 in namespace cpu-jobs failed (")


def test_a_pod_that_was_deleted_is_tried_again_whatever_its_exit_code() -> None:
    pod = failed({"exit_code": 2, "reason": "Error"})
    pod.metadata.deletion_timestamp = datetime.now(UTC)
    with pytest.raises(pods.PodFailed, match="was deleted"):
        status.result_of(pod)


LEFT = {"terminated": {"exitCode": 0, "reason": "Completed", "message": '{"acc": 5}'}}
FAILED = {"terminated": {"exitCode": 2, "reason": "Error", "message": "line 3 is wrong"}}
OTHER = {"terminated": {"exitCode": 1, "reason": "Error", "message": "not ours"}}
WAITS = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
HELD = {"waiting": {"reason": "PodInitializing"}}
RUNS: dict[str, Any] = {"running": {}}


def of_many(phase: str, init: dict[str, Any] | None = None, **states: dict[str, Any]) -> client.V1Pod:
    """Return a pod of several containers as the API returns it, with their statuses sorted by name."""
    rest = {"image": "", "imageID": "", "ready": False, "restartCount": 0}

    def statuses(states: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"name": name, "state": states[name], **rest} for name in sorted(states)]

    # An injected container comes first in the definition, too.
    containers = [{"name": name, "image": f"{name}:1"} for name in sorted(states)]
    pod = {
        "metadata": {"name": "cpu-1", "namespace": "cpu-jobs"},
        "spec": {"containers": containers},
        "status": {
            "phase": phase,
            "containerStatuses": statuses(states),
            "initContainerStatuses": statuses(init or {}),
        },
    }
    response: Any = SimpleNamespace(data=json.dumps(pod))
    read: client.V1Pod = DESERIALIZER.deserialize(response, "V1Pod")
    return read


@pytest.mark.parametrize(
    "pod",
    [
        of_many("Running", istio=RUNS, main=LEFT),
        of_many("Running", main=LEFT, zipkin=RUNS),
        of_many("Succeeded", istio=OTHER, main=LEFT),
        of_many("Failed", istio=OTHER, main=LEFT),
        of_many("Failed", init={"a-native-sidecar": OTHER}, istio=OTHER, main=LEFT),
    ],
)
def test_the_result_is_the_main_container_s_whatever_other_containers_do(pod: client.V1Pod) -> None:
    assert status.is_finished(pod)
    assert not status.has_failed(pod)
    assert status.result_of(pod) == {"acc": 5}


def test_a_pod_is_not_finished_while_the_main_container_runs_even_if_a_sidecar_has_ended() -> None:
    assert not status.is_finished(of_many("Running", istio=LEFT, main=RUNS))
    assert not status.has_failed(of_many("Running", istio=OTHER, main=RUNS))


@pytest.mark.parametrize("phase", ["Running", "Failed"])
def test_the_exit_code_and_message_of_a_failure_are_the_main_container_s(phase: str) -> None:
    pod = of_many(phase, istio=OTHER, main=FAILED)
    assert status.has_failed(pod)
    with pytest.raises(pods.PodRefused, match=r"failed \(Error, exit code 2\): line 3 is wrong$"):
        status.result_of(pod)


def test_a_missing_result_names_the_main_container_s_image() -> None:
    pod = of_many("Succeeded", istio=LEFT, main={"terminated": {"exitCode": 0, "message": "hello"}})
    with pytest.raises(pods.PodRefused, match="with image main:1 ended well but left no JSON object"):
        status.result_of(pod)


def test_a_pod_of_the_same_name_without_a_main_container_is_refused() -> None:
    with pytest.raises(pods.PodRefused, match="with no container main ended well but left nothing"):
        status.result_of(of_many("Succeeded", other=LEFT))
    with pytest.raises(pods.PodFailed, match="left no message"):
        status.result_of(of_many("Failed", other=OTHER))


@pytest.mark.parametrize(
    ("pod", "description"),
    [
        (of_many("Pending", istio=HELD, main=WAITS), "ErrImagePull: no such image"),
        (of_many("Running", istio=WAITS, main=RUNS), "it does not wait"),
        (of_many("Running", istio=WAITS, main=LEFT), "it does not wait"),
        (
            of_many("Pending", init={"mesh": WAITS}, istio=HELD, main=HELD),
            "ErrImagePull: init container mesh: no such image",
        ),
        (of_many("Pending", init={"mesh": RUNS}, main=HELD), "PodInitializing: no message"),
    ],
)
def test_a_pod_waits_for_what_its_main_container_or_an_init_container_waits_for(
    pod: client.V1Pod, description: str
) -> None:
    assert status.describe_waiting(pod) == description
    assert (status.waiting_reason_of(pod) is None) is ("ErrImagePull" not in description)


def test_a_failed_init_container_is_named() -> None:
    pod = of_many("Failed", init={"mesh": FAILED}, istio=HELD, main=HELD)
    with pytest.raises(pods.PodFailed, match=r"exit code 2\): init container mesh: line 3 is wrong"):
        status.result_of(pod)


@pytest.mark.parametrize(
    ("code", "message", "kind", "remedy"),
    [
        (
            403,
            "exceeded quota: q, requested: pods=1, used: pods=9, limited: pods=9",
            pods.PodFailed,
            "wait for",
        ),
        (
            403,
            "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0",
            pods.PodRefused,
            "raise",
        ),
        (
            403,
            "exceeded quota: q, requested: limits.cpu=1, used: limits.cpu=0, limited: limits.cpu=500m",
            pods.PodRefused,
            "raise",
        ),
        (
            403,
            "exceeded quota: q, requested: pods=1, used: pods=10, limited: pods=10",
            pods.PodFailed,
            "wait for",
        ),
        (
            403,
            "exceeded quota: q, requested: count/pods=1, used: count/pods=10, limited: count/pods=10",
            pods.PodFailed,
            "instead of count/pods",
        ),
        (403, "failed quota: q: must specify limits.cpu", pods.PodRefused, "rules"),
        (
            403,
            'error looking up service account x/default: serviceaccount "default" not found',
            pods.PodFailed,
            "service account",
        ),
        (
            403,
            "unable to create new content in namespace x because it is being terminated",
            pods.PodRefused,
            "gone",
        ),
        (
            403,
            'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
            pods.PodRefused,
            "rules",
        ),
        (403, 'User "x" cannot create resource "pods" in API group ""', pods.PodRefused, "account needs"),
        (401, "Unauthorized", pods.PodRefused, "credentials"),
        (404, 'namespaces "x" not found', pods.PodRefused, "create the namespace"),
        (422, 'Pod "x" is invalid', pods.PodRefused, "correct the"),
        (429, "too many requests", pods.PodFailed, "fewer at once"),
        (500, "etcdserver: leader changed", pods.PodFailed, "in trouble"),
    ],
)
def test_an_api_error_has_a_remedy_and_is_tried_again_if_it_is_temporary(
    code: int, message: str, kind: type[Exception], remedy: str
) -> None:
    error = client.ApiException(status=code, reason="Whatever")
    error.body = json.dumps({"message": message}).encode()
    raised = api_error({"metadata": {"name": "cpu-1", "namespace": "cpu-jobs"}}, error)
    assert type(raised) is kind
    assert message in str(raised)
    assert remedy in str(raised).rpartition(" (")[2]
