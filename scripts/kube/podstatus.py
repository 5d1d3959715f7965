"""A pod's status from the states of its containers, as the kubelet puts it together."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.kube.container import Container
from scripts.kube.objects import Json, now

FINAL = ("Succeeded", "Failed")
ADDRESS = "127.0.0.1"


def status_of(pod: Json, inits: Sequence[Container], mains: Sequence[Container], verdict: Json) -> Json:
    """The status to publish; `verdict` overrides what follows from the containers (a deadline, say)."""
    old = pod["status"]
    policy = pod["spec"]["restartPolicy"]
    phase = verdict.get("phase") or _phase(policy, inits, mains)
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
    """The status of a pod whose processes went with the endpoint that ran them."""
    status = {**pod["status"], "phase": "Failed", "reason": "EndpointStopped", "message": message}
    for group in ("containerStatuses", "initContainerStatuses"):
        if group in status:
            status[group] = [_lost(container, message) for container in status[group]]
    return status


def _lost(container: Json, message: str) -> Json:
    if "terminated" in container["state"]:
        return container
    ended = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": message}
    times = {"startedAt": container["state"].get("running", {}).get("startedAt"), "finishedAt": now()}
    return {**container, "state": {"terminated": {**ended, **times}}, "ready": False, "started": False}


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
    completed = phase == "Succeeded"
    incomplete = [container.name for container in inits if container.exit_code != 0]
    unready = [container.name for container in mains if "running" not in container.state]
    initialized: Json = {"type": "Initialized", "status": "True"}
    if completed:
        initialized |= {"reason": "PodCompleted"}
    elif incomplete:
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        initialized |= {"status": "False", "reason": "ContainersNotInitialized", "message": message}
    readiness: Json = {"status": "True"}
    if completed:
        readiness = {"status": "False", "reason": "PodCompleted"}
    elif unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        readiness = {"status": "False", "reason": "ContainersNotReady", "message": message}
    conditions = [
        initialized,
        {"type": "Ready", **readiness},
        {"type": "ContainersReady", **readiness},
        {"type": "PodScheduled", "status": "True"},
    ]
    return [_timed(condition, old) for condition in conditions]


def _timed(condition: Json, old: list[Json]) -> Json:
    """The condition with the time of its last transition."""
    since = now()
    for before in old:
        if before["type"] == condition["type"] and before["status"] == condition["status"]:
            since = before["lastTransitionTime"]
    return {**condition, "lastProbeTime": None, "lastTransitionTime": since}


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
