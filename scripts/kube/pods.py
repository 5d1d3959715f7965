"""A pod's status, from the states of its containers."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.kube.container import Container
from scripts.kube.identity import ADDRESS
from scripts.kube.objects import Json, now

FINAL = ("Succeeded", "Failed")
"""The phases of a pod that has ended."""


def status_of(pod: Json, inits: Sequence[Container], mains: Sequence[Container], verdict: Json) -> Json:
    """Return the status to publish; `verdict` (a deadline, for example) overrides the containers' outcome."""
    old = pod["status"]
    phase = verdict.get("phase") or _phase(pod["spec"]["restartPolicy"], inits, mains)
    status: Json = {
        "phase": phase,
        "conditions": _conditions(old.get("conditions", []), phase, inits, mains),
        "hostIP": ADDRESS,
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "startTime": old.get("startTime") or now(),
        # A kubelet sorts these by name, and leaves init containers in their order.
        "containerStatuses": [_container_status(one) for one in sorted(mains, key=lambda one: one.name)],
        "qosClass": old["qosClass"],
        **verdict,
    }
    if inits:
        status["initContainerStatuses"] = [_container_status(container) for container in inits]
    return status


def abandoned(pod: Json, message: str) -> Json:
    """Return the status of a pod whose processes ended with the endpoint that ran them."""
    status = {**pod["status"], "phase": "Failed", "reason": "EndpointStopped", "message": message}
    for group in ("containerStatuses", "initContainerStatuses"):
        if group in status:
            status[group] = [_lost(container, message) for container in status[group]]
    return status


def _lost(container: Json, message: str) -> Json:
    state = container["state"]
    if "terminated" in state:
        return container
    terminated = {
        "exitCode": 137,
        "reason": "ContainerStatusUnknown",
        "message": message,
        "startedAt": state.get("running", {}).get("startedAt"),
        "finishedAt": now(),
    }
    return {**container, "state": {"terminated": terminated}, "ready": False, "started": False}


def _phase(policy: str, inits: Sequence[Container], mains: Sequence[Container]) -> str:
    for container in inits:
        if container.exit_code != 0:
            return "Failed" if container.exit_code is not None and policy == "Never" else "Pending"
    if any("waiting" in container.state and not container.last_state for container in mains):
        return "Pending"
    codes = [container.exit_code for container in mains]
    if policy == "Always" or None in codes:
        return "Running"
    if not any(codes):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _conditions(
    old: list[Json], phase: str, inits: Sequence[Container], mains: Sequence[Container]
) -> list[Json]:
    initialized, ready = ("True", ""), ("True", "")
    if phase == "Succeeded":
        initialized, ready = ("True", "PodCompleted"), ("False", "PodCompleted")
    else:
        if any(container.exit_code != 0 for container in inits):
            initialized = ("False", "ContainersNotInitialized")
        if any("running" not in container.state for container in mains):
            ready = ("False", "ContainersNotReady")
    since = {(each["type"], each["status"]): each["lastTransitionTime"] for each in old}
    return [
        {
            "type": type_,
            "status": status,
            **({"reason": reason} if reason else {}),
            "lastProbeTime": None,
            "lastTransitionTime": since.get((type_, status)) or now(),
        }
        for type_, (status, reason) in (
            ("Initialized", initialized),
            ("Ready", ready),
            ("ContainersReady", ready),
            ("PodScheduled", ("True", "")),
        )
    ]


def _container_status(container: Container) -> Json:
    running = "running" in container.state
    status: Json = {
        "name": container.name,
        "state": container.state,
        "lastState": container.last_state,
        "ready": running or (container.init and container.exit_code == 0),
        "restartCount": container.restarts,
        "image": container.spec["image"],
        "imageID": f"local://{container.spec['image']}" if container.identity else "",
        "started": running,
    }
    if container.identity:
        status["containerID"] = container.identity
    return status
