"""What a pod says of itself. No calls: a pod goes in, an answer comes out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from dags.pods.manifest import MAIN
from dags.pods.printable import printable
from dags.pods.result import BadResult, Result, parse_result

if TYPE_CHECKING:
    from kubernetes_asyncio.client import (
        V1Container,
        V1ContainerState,
        V1ContainerStateTerminated,
        V1Pod,
    )

PERMANENT_EXIT_CODE = 2


class PodFailed(AirflowException):
    """The pod gave no result; trying again may help. Its text is printable, whatever the pod has said."""

    def __init__(self, said: str) -> None:
        super().__init__(printable(said))


class PodRefused(AirflowFailException):
    """The pod gave no result, and trying again can't help. Its text is printable as well."""

    def __init__(self, said: str) -> None:
        super().__init__(printable(said))


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


def container(pod: V1Pod) -> V1Container | None:
    """Return the definition of our container, whatever else is in the pod; None in a pod that is not ours."""
    return next((one for one in pod.spec.containers if one.name == MAIN), None)


def state_of(pod: V1Pod) -> V1ContainerState | None:
    """Return the state of our container, once there is one."""
    states = (one.state for one in pod.status.container_statuses or [] if one.name == MAIN)
    return next(states, None)


def end_of(pod: V1Pod) -> V1ContainerStateTerminated | None:
    """Return how our container ended, once it has."""
    state = state_of(pod)
    return state.terminated if state else None


def is_finished(pod: V1Pod) -> bool:
    """Whether our container has ended, even if a sidecar runs on, or will never run."""
    return end_of(pod) is not None or pod.status.phase in ("Succeeded", "Failed")


def has_failed(pod: V1Pod) -> bool:
    """Whether the pod has ended without a result."""
    if not is_finished(pod):
        return False
    try:
        result_of(pod)
    except (PodFailed, PodRefused):
        return True
    return False


class Wait(NamedTuple):
    """What keeps our container from starting, in the cluster's own words."""

    reason: str
    message: str


def waits_for(pod: V1Pod) -> Wait | None:
    """Return what the pod waits for: a node, or what our container or one that must start before it needs."""
    for condition in pod.status.conditions or []:
        if (condition.type, condition.status) == ("PodScheduled", "False"):
            return Wait(condition.reason or "", condition.message or "")
    state = state_of(pod)
    if state is None or state.waiting is None:
        return None
    for init in pod.status.init_container_statuses or []:
        waiting = init.state.waiting if init.state else None
        if waiting and waiting.reason not in (None, "PodInitializing"):
            return Wait(waiting.reason, f"init container {init.name}: {waiting.message or waiting.reason}")
    return Wait(state.waiting.reason or "", state.waiting.message or "")


def trouble_of(pod: V1Pod) -> Trouble | None:
    """Return what keeps the pod from starting; None when nothing does."""
    waits = waits_for(pod)
    return TROUBLES.get(waits.reason, UNKNOWN) if waits and waits.reason else None


def why_waiting(pod: V1Pod) -> str:
    """Return the cluster's own words for the pod's trouble."""
    waits = waits_for(pod)
    return f"{waits.reason}: {waits.message or 'no further word'}" if waits else "no word"


def result_of(pod: V1Pod) -> Result:
    """Return the JSON object that a finished pod left.

    Raises PodFailed or PodRefused with the pod's own words when our container failed, PodRefused when it left
    no result that Airflow can keep.
    """
    end = end_of(pod)
    bad = "nothing as its result (is the image the right one?)"
    if end is not None and end.exit_code == 0:
        try:
            return parse_result(end.message or "")
        except BadResult as error:
            bad = str(error)
    if pod.metadata.deletion_timestamp is not None:
        raise PodFailed(f"{named(pod)} was deleted before it left a result")
    if (end is not None and end.exit_code == 0 and not pod.status.reason) or pod.status.phase == "Succeeded":
        main = container(pod)
        image = f"image {main.image}" if main else f"no container {MAIN}"
        raise PodRefused(f"{named(pod)} with {image} ended well but left {bad}")
    raise failure_of(pod)


def failure_of(pod: V1Pod) -> PodFailed | PodRefused:
    """Return why our container failed, or did not come to run."""
    end, who = end_of(pod), ""
    if end is None:
        for init in pod.status.init_container_statuses or []:
            if init.state and init.state.terminated and init.state.terminated.exit_code:
                end, who = init.state.terminated, f"init container {init.name}: "
    said = ((end.message if end else None) or pod.status.message or "it left no message").strip()
    reason = pod.status.reason or (end.reason if end else None) or pod.status.phase
    code = f", exit code {end.exit_code}" if end else ""
    remedy = f" ({REMEDIES[reason]})" if reason in REMEDIES else sources(pod, said)
    kind = PodRefused if is_permanent(reason, end_of(pod), said) else PodFailed
    return kind(f"{named(pod)} failed ({reason}{code}): {who}{said}{remedy}")


def is_permanent(reason: str, end: V1ContainerStateTerminated | None, said: str) -> bool:
    """Whether another try would end as this one did: in the same limit, or for want of the same program."""
    if reason == "StartError":
        return re.search('exec: "|executable file', said) is not None
    return reason == "OOMKilled" or (end is not None and end.exit_code == PERMANENT_EXIT_CODE)


def sources(pod: V1Pod, said: str) -> str:
    """Return which Secrets hold the variables that the pod's words name."""
    main = container(pod)
    refs = {
        each.name: each.value_from.secret_key_ref
        for each in (main.env if main else None) or []
        if each.value_from and each.value_from.secret_key_ref and each.name in said
    }
    found = [f"{name} is key {ref.key} of Secret {ref.name}" for name, ref in refs.items()]
    return f" ({', '.join(found)})" if found else ""
