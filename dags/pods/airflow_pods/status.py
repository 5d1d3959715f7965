"""Read the status of a pod: whether it has finished, what it waits for, its result or its failure.

Nothing here calls the API: each function takes a `Pod`, or a `V1Pod`, and returns what its status says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from airflow_pods.definition import MAIN
from airflow_pods.errors import TERMINATION_REMEDIES, PodFailed, PodRefused, WaitingReason, waiting_reason
from airflow_pods.pod import Fields, Pod
from airflow_pods.result import IGNORED, NEEDED, OPTIONAL, BadResult, Result, parse_result

if TYPE_CHECKING:
    from kubernetes_asyncio.client import (
        V1Container,
        V1ContainerState,
        V1ContainerStateTerminated,
        V1Pod,
    )

    AnyPod = Pod | V1Pod

PERMANENT_EXIT_CODE = 2


class Waiting(NamedTuple):
    """What keeps the main container from starting, as the cluster reports it."""

    reason: str
    message: str


def title(pod: AnyPod) -> str:
    """Return ``pod NAME in namespace NAMESPACE``."""
    return f"pod {pod.metadata.name} in namespace {pod.metadata.namespace}"


def termination_of(pod: AnyPod) -> Fields | V1ContainerStateTerminated | None:
    """Return how the main container ended; None if it has not."""
    state = _main_state(pod)
    return state.terminated if state else None


def is_finished(pod: AnyPod) -> bool:
    """Return whether the main container has ended, even if a sidecar still runs, or will never run."""
    return termination_of(pod) is not None or pod.status.phase in ("Succeeded", "Failed")


def has_failed(pod: AnyPod, wanted: str = NEEDED) -> bool:
    """Return whether the pod has finished without a usable result, if that is wanted."""
    if not is_finished(pod):
        return False
    try:
        result_of(pod, wanted)
    except (PodFailed, PodRefused):
        return True
    return False


def waiting_of(pod: AnyPod) -> Waiting | None:
    """Return what keeps the pod from starting: no node, or what a container lacks; None if it does not wait.

    The container is the main one, or an init container that must end before it.
    """
    for condition in pod.status.conditions or []:
        if (condition.type, condition.status) == ("PodScheduled", "False"):
            return Waiting(condition.reason or "", condition.message or "")
    state = _main_state(pod)
    if state is None or state.waiting is None:
        return None
    for init in pod.status.init_container_statuses or []:
        waiting = init.state.waiting if init.state else None
        if waiting and waiting.reason not in (None, "PodInitializing"):
            return Waiting(waiting.reason, f"init container {init.name}: {waiting.message or waiting.reason}")
    return Waiting(state.waiting.reason or "", state.waiting.message or "")


def waiting_reason_of(pod: AnyPod) -> WaitingReason | None:
    """Return the row of `WAITING_REASONS` for the pod; None if it runs or is about to start."""
    waiting = waiting_of(pod)
    return waiting_reason(waiting.reason) if waiting and waiting.reason else None


def describe_waiting(pod: AnyPod) -> str:
    """Return the cluster's own reason and message for the pod's wait."""
    waiting = waiting_of(pod)
    return f"{waiting.reason}: {waiting.message or 'no message'}" if waiting else "it does not wait"


def result_of(pod: AnyPod, wanted: str = NEEDED) -> Result | None:
    """Return the JSON object that a finished pod left; None if it left none and need not.

    ``wanted`` is one of `NEEDED`, `OPTIONAL` and `IGNORED`. Raises PodFailed or PodRefused with the pod's own
    message if the main container failed, PodRefused if it left no result that Airflow can keep.
    """
    end = termination_of(pod)
    left = (end.message if end else None) or ""
    fault = "nothing as its result (is the image the right one?)"
    if end is not None and end.exit_code == 0 and left and wanted != IGNORED:
        try:
            return parse_result(left)
        except BadResult as error:
            fault = str(error)
    if pod.metadata.deletion_timestamp is not None:
        raise PodFailed(f"{title(pod)} was deleted before it left a result")
    if (end is not None and end.exit_code == 0 and not pod.status.reason) or pod.status.phase == "Succeeded":
        # By its exit code only if it has ended by itself: the API or the node may have ended it.
        if wanted == IGNORED or (wanted != NEEDED and not left):
            return None
        main = _main_container(pod)
        image = f"image {main.image}" if main else f"no container {MAIN}"
        if wanted == OPTIONAL:
            fault += " (or ignore what it leaves, with do_xcom_push=False)"
        raise PodRefused(f"{title(pod)} with {image} ended well but left {fault}")
    raise failure_of(pod)


def failure_of(pod: AnyPod) -> PodFailed | PodRefused:
    """Return the error for a pod whose main container failed or never ran."""
    end, source = termination_of(pod), ""
    if end is None:
        for init in pod.status.init_container_statuses or []:
            if init.state and init.state.terminated and init.state.terminated.exit_code:
                end, source = init.state.terminated, f"init container {init.name}: "
    message = ((end.message if end else None) or pod.status.message or "it left no message").strip()
    reason = pod.status.reason or (end.reason if end else None) or pod.status.phase
    code = f", exit code {end.exit_code}" if end else ""
    hint = TERMINATION_REMEDIES.get(reason) or _secrets_named_in(message, pod)
    main = termination_of(pod)
    kind = PodRefused if _is_permanent(reason, main, message) else PodFailed
    error = kind(f"{title(pod)} failed ({reason}{code}): {source}{message}{f' ({hint})' if hint else ''}")
    error.exit_code = main.exit_code if main else None
    return error


def _is_permanent(reason: str, end: Fields | V1ContainerStateTerminated | None, message: str) -> bool:
    """Return whether another try would end in the same way: at the same limit, or lacking a program."""
    if reason == "StartError":
        return re.search('exec: "|executable file', message) is not None
    return reason == "OOMKilled" or (end is not None and end.exit_code == PERMANENT_EXIT_CODE)


def _secrets_named_in(message: str, pod: AnyPod) -> str:
    """Return which Secrets hold the environment variables that a failed pod's message names."""
    main = _main_container(pod)
    refs = {
        variable.name: variable.value_from.secret_key_ref
        for variable in (main.env if main else None) or []
        if variable.value_from and variable.value_from.secret_key_ref and variable.name in message
    }
    return ", ".join(f"{name} is key {ref.key} of Secret {ref.name}" for name, ref in refs.items())


def _main_container(pod: AnyPod) -> Fields | V1Container | None:
    """Return the definition of the main container; None if the pod has none, and so is not ours."""
    return next((container for container in pod.spec.containers or [] if container.name == MAIN), None)


def _main_state(pod: AnyPod) -> Fields | V1ContainerState | None:
    """Return the state of the main container; None until a kubelet has reported one."""
    statuses = pod.status.container_statuses or []
    return next((status.state for status in statuses if status.name == MAIN), None)
