"""A new pod as the API server keeps it: its rules checked, its defaults filled in."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.kube.errors import invalid
from scripts.kube.kinds import PODS
from scripts.kube.objects import Json
from scripts.kube.rules import pod_causes


def new_pod(pod: Json) -> Json:
    """Return the pod as it is kept when it is new; raise ApiError (422) for one that breaks a rule."""
    pod = {"spec": {}, **pod}
    if causes := [*pod_causes(pod), *_unsupported(pod["spec"])]:
        raise invalid(PODS.name, pod["metadata"].get("name", ""), causes)
    spec = _defaulted(pod["spec"])
    return {**pod, "spec": spec, "status": {"phase": "Pending", "qosClass": _quality(spec)}}


def _unsupported(spec: Json) -> Iterator[Json]:
    """Yield what this endpoint cannot do and must not ignore."""
    for group in ("initContainers", "containers"):
        for number, container in enumerate(spec.get(group) or []):
            if container.get("stdin"):
                message = "Forbidden: this endpoint connects no stdin to containers: use kubectl exec -i"
                field = f"spec.{group}[{number}].stdin"
                yield {"reason": "FieldValueForbidden", "message": message, "field": field}


def _defaulted(spec: Json) -> Json:
    account = spec.get("serviceAccountName") or "default"
    filled = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        **spec,
        "serviceAccountName": account,
        "serviceAccount": account,
    }
    for group in ("initContainers", "containers"):
        if filled.get(group):
            filled[group] = [_defaulted_container(container) for container in filled[group]]
    if filled.get("volumes"):
        filled["volumes"] = [_defaulted_volume(volume) for volume in filled["volumes"]]
    return filled


def _defaulted_container(container: Json) -> Json:
    image = container["image"].rsplit("/", 1)[-1]
    latest = ":" not in image or image.endswith(":latest")
    return {
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "Always" if latest else "IfNotPresent",
        **container,
    }


def _defaulted_volume(volume: Json) -> Json:
    if "secret" in volume:
        return {**volume, "secret": {"defaultMode": 0o644, **volume["secret"]}}
    return volume if len(volume) > 1 else {**volume, "emptyDir": {}}


def _quality(spec: Json) -> str:
    """The quality of service class, from what the containers ask for."""
    demands = [container["resources"] for container in spec["containers"]]
    if not any(demand.get("requests") or demand.get("limits") for demand in demands):
        return "BestEffort"
    fixed = all(
        {"cpu", "memory"} <= set(demand.get("limits") or {})
        and (demand.get("requests") or demand["limits"]) == demand["limits"]
        for demand in demands
    )
    return "Guaranteed" if fixed else "Burstable"
