"""What becomes of the words of Kubernetes: which of them say that another try can't help."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes_asyncio import client

from dags import pods
from dags.pods import status
from dags.pods.api import api_trouble

NO_PROGRAM = 'unable to start container process: exec: "/no/such": stat /no/such: no such file or directory'
BUSY = "failed to create shim task: context deadline exceeded"


def failed(end: dict[str, Any] | None, **said: Any) -> client.V1Pod:
    """A failed pod that says something, and the end of its container, if it has one."""
    ended = client.V1ContainerState(terminated=client.V1ContainerStateTerminated(**end)) if end else None
    container = client.V1ContainerStatus(
        name="main", state=ended, image="cpu:1", image_id="", ready=False, restart_count=0
    )
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name="cpu-1", namespace="cpu-jobs"),
        spec=client.V1PodSpec(containers=[client.V1Container(name="main", image="cpu:1")]),
        status=client.V1PodStatus(phase="Failed", container_statuses=[container] if end else None, **said),
    )


@pytest.mark.parametrize(
    ("pod", "kind", "words"),
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
def test_a_failed_pod_is_tried_again_unless_that_can_t_help(
    pod: client.V1Pod, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as raised:
        status.result_of(pod)
    assert str(raised.value).startswith("pod cpu-1 in namespace cpu-jobs failed (")


def test_a_pod_that_failed_because_it_was_deleted_is_tried_again_whatever_its_exit_code() -> None:
    pod = failed({"exit_code": 2, "reason": "Error"})
    pod.metadata.deletion_timestamp = datetime.now(UTC)
    with pytest.raises(pods.PodFailed, match="was deleted"):
        status.result_of(pod)


@pytest.mark.parametrize(
    ("code", "said", "kind", "remedy"),
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
        (422, 'Pod "x" is invalid', pods.PodRefused, "put right"),
        (429, "too many requests", pods.PodFailed, "fewer at once"),
        (500, "etcdserver: leader changed", pods.PodFailed, "in trouble"),
    ],
)
def test_a_refusal_says_what_helps_and_is_tried_again_where_it_may_pass(
    code: int, said: str, kind: type[Exception], remedy: str
) -> None:
    error = client.ApiException(status=code, reason="Whatever")
    error.body = json.dumps({"message": said}).encode()
    trouble = api_trouble({"metadata": {"name": "cpu-1", "namespace": "cpu-jobs"}}, error)
    assert type(trouble) is kind
    assert said in str(trouble)
    assert remedy in str(trouble).rpartition(" (")[2]
