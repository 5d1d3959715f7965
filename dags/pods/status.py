"""What a pod says of itself. No calls: a pod goes in, an answer comes out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from kubernetes_asyncio.client import V1ContainerStatus, V1Pod

Result = dict[str, Any]

PERMANENT_EXIT_CODE = 2
# A container waiting for one of these is not going to start without somebody's help.
STUCK = {
    "CreateContainerConfigError": "the Secret or ConfigMap it names must exist in the namespace",
    "CreateContainerError": "the image's command or the pod's settings must be put right",
    "ErrImageNeverPull": "the image must be on the node, or imagePullPolicy must allow pulling it",
    "ImagePullBackOff": "the image must exist under that name, and the node must be allowed to pull it",
    "InvalidImageName": "the image's name must be put right",
}


class PodFailed(AirflowException):
    """The pod gave no result; trying again may help."""


class PodRefused(AirflowFailException):
    """The pod gave no result, and trying again can't help."""


def container(pod: V1Pod) -> V1ContainerStatus | None:
    """The status of the pod's one container, once there is one."""
    return pod.status.container_statuses[0] if pod.status.container_statuses else None


def is_finished(pod: V1Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def why_stuck(pod: V1Pod) -> str | None:
    """Why the container will not start by itself, with the remedy; None when it may yet."""
    status = container(pod)
    waiting = status.state.waiting if status and status.state else None
    if waiting is None or waiting.reason not in STUCK:
        return None
    return f"{waiting.reason}: {waiting.message or 'no further word'} ({STUCK[waiting.reason]})"


def result_of(pod: V1Pod) -> Result:
    """The JSON object a finished pod left.

    Raises PodFailed or PodRefused with the pod's own words when it failed, PodRefused when what it
    left is no JSON object.
    """
    name = pod.metadata.name
    status = container(pod)
    end = status.state.terminated if status and status.state else None
    if pod.status.phase == "Succeeded" and end is not None:
        try:
            result = json.loads(end.message or "")
        except ValueError:
            result = None
        if isinstance(result, dict):
            return result
        if pod.metadata.deletion_timestamp is not None:
            raise PodFailed(f"pod {name} was deleted before it left a result")
        raise PodRefused(f"pod {name} ended well but left no JSON object as its result: {end.message!r}")
    said = (end.message if end else None) or pod.status.message or "it left no message"
    reason = pod.status.reason or (end.reason if end else None) or pod.status.phase
    code = f", exit code {end.exit_code}" if end else ""
    refused = end is not None and end.exit_code == PERMANENT_EXIT_CODE
    raise (PodRefused if refused else PodFailed)(f"pod {name} failed ({reason}{code}): {said.strip()}")
