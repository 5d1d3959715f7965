"""What a pod says of itself. No calls: a pod goes in, an answer comes out."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.sdk.exceptions import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from kubernetes_asyncio.client import (
        V1ContainerStateTerminated,
        V1ContainerStateWaiting,
        V1ContainerStatus,
        V1Pod,
        V1PodCondition,
    )

Result = dict[str, Any]

PERMANENT_EXIT_CODE = 2


class PodFailed(AirflowException):
    """The pod gave no result; trying again may help."""


class PodRefused(AirflowFailException):
    """The pod gave no result, and trying again can't help."""


class Trouble(NamedTuple):
    """What keeps a pod from starting: for how many seconds it may pass by itself, and what helps then."""

    patience: int
    remedy: str


NO_IMAGE = Trouble(30, "the image must exist under that name, and the node must be able to pull it")
# Long enough for an autoscaler to add a node, and for a full cluster to get through its work.
NO_NODE = Trouble(300, "add nodes, run fewer at once, or let the pod ask for what a node has")
UNKNOWN = Trouble(30, "kubectl get events tells more")
# By the reason the pod or its container waits for. The cluster goes on trying by itself, so that waiting
# does all that another pod would.
TROUBLES: dict[str, Trouble | None] = {
    "ContainerCreating": None,
    "PodInitializing": None,
    "CreateContainerConfigError": Trouble(
        30, "the Secret must be in the pod's namespace and have that key, and the image must not run as root"
    ),
    "CreateContainerError": Trouble(30, "the image's command or the pod's settings must be put right"),
    "ErrImageNeverPull": Trouble(
        0, "the image must be on the node, or imagePullPolicy must allow pulling it"
    ),
    "ErrImagePull": NO_IMAGE,
    "ImagePullBackOff": NO_IMAGE,
    "RegistryUnavailable": NO_IMAGE,
    "SignatureValidationFailed": NO_IMAGE,
    "InvalidImageName": Trouble(0, "the image's name must be put right"),
    "Unschedulable": NO_NODE,
    "SchedulerError": NO_NODE,
    "SchedulingGated": NO_NODE,
}
# By the reason the pod or its container ended for.
REMEDIES = {
    "DeadlineExceeded": "kubectl describe pod tells what it waited for, if it never began",
    "Evicted": "the node must be freed of what takes its room, or the pod be allowed more",
    "OOMKilled": "raise the pod's memory limit, or give it less to do at once",
    "StartError": "the image must have the program that is its entrypoint",
}


def named(pod: V1Pod) -> str:
    return f"pod {pod.metadata.name} in namespace {pod.metadata.namespace}"


def container(pod: V1Pod) -> V1ContainerStatus | None:
    """The status of the pod's one container, once there is one."""
    return pod.status.container_statuses[0] if pod.status.container_statuses else None


def is_finished(pod: V1Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def waits_for(pod: V1Pod) -> V1PodCondition | V1ContainerStateWaiting | None:
    """The reason and message of what the pod waits for: a node, or what its container needs."""
    for condition in pod.status.conditions or []:
        if (condition.type, condition.status) == ("PodScheduled", "False"):
            return condition
    status = container(pod)
    return status.state.waiting if status and status.state else None


def trouble_of(pod: V1Pod) -> Trouble | None:
    """What keeps the pod from starting; None when nothing does."""
    says = waits_for(pod)
    return TROUBLES.get(says.reason, UNKNOWN) if says and says.reason else None


def why_waiting(pod: V1Pod) -> str:
    """The cluster's own words for the pod's trouble."""
    says = waits_for(pod)
    return f"{says.reason}: {says.message or 'no further word'}" if says else "no word"


def result_of(pod: V1Pod) -> Result:
    """The JSON object a finished pod left.

    Raises PodFailed or PodRefused with the pod's own words when it failed, PodRefused when what it
    left is no JSON object.
    """
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
        raise PodFailed(f"{named(pod)} was deleted before it left a result")
    if pod.status.phase == "Succeeded":
        left = repr(end.message or "") if end else "nothing"
        remedy = f"is image {pod.spec.containers[0].image} the right one?"
        raise PodRefused(f"{named(pod)} ended well but left no JSON object as its result: {left} ({remedy})")
    said = ((end.message if end else None) or pod.status.message or "it left no message").strip()
    reason = pod.status.reason or (end.reason if end else None) or pod.status.phase
    code = f", exit code {end.exit_code}" if end else ""
    remedy = f" ({REMEDIES[reason]})" if reason in REMEDIES else sources(pod, said)
    kind = PodRefused if is_permanent(reason, end, said) else PodFailed
    raise kind(f"{named(pod)} failed ({reason}{code}): {said}{remedy}")


def is_permanent(reason: str, end: V1ContainerStateTerminated | None, said: str) -> bool:
    """Whether another try would end as this one did: in the same limit, or for want of the same program."""
    if reason == "StartError":
        return re.search('exec: "|executable file', said) is not None
    return reason == "OOMKilled" or (end is not None and end.exit_code == PERMANENT_EXIT_CODE)


def sources(pod: V1Pod, said: str) -> str:
    """Which Secrets hold the variables that the pod's words name."""
    refs = {
        each.name: each.value_from.secret_key_ref
        for each in pod.spec.containers[0].env or []
        if each.value_from and each.value_from.secret_key_ref and each.name in said
    }
    found = [f"{name} is key {ref.key} of Secret {ref.name}" for name, ref in refs.items()]
    return f" ({', '.join(found)})" if found else ""
