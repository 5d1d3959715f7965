"""A new pod as the API server keeps it: its rules checked, its defaults filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .kinds import PODS
from .objects import Json
from .status import bad_request, invalid

_SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?")
_CHOICES = {
    "restartPolicy": ("Always", "OnFailure", "Never"),
    "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
    "terminationMessagePolicy": ("File", "FallbackToLogsOnError"),
}


def new_pod(pod: Json) -> Json:
    """The pod as it is kept when it is new; raises ApiError (400 or 422) for one that breaks a rule."""
    _check_types(pod)
    causes = [*metadata_causes(pod["metadata"]), *_spec_causes(pod["spec"])]
    if causes:
        raise invalid(PODS.name, pod["metadata"].get("name", ""), causes)
    spec = _defaulted(pod["spec"])
    return {**pod, "spec": spec, "status": {"phase": "Pending", "qosClass": _quality(spec)}}


def metadata_causes(metadata: Json) -> Iterator[Json]:
    """What is wrong with an object's name and labels."""
    name = metadata.get("name")
    if not name:
        yield _cause("Required", "Required value: name or generateName is required", "metadata.name")
    elif not _SUBDOMAIN.fullmatch(name):
        rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
        rule += ", and must start and end with an alphanumeric character"
        yield _invalid(name, rule, "metadata.name")
    for value in (metadata.get("labels") or {}).values():
        if not _LABEL_VALUE.fullmatch(value):
            rule = "a valid label must be an empty string or consist of at most 63 alphanumeric characters, "
            rule += "'-', '_' or '.', and must start and end with an alphanumeric character"
            yield _invalid(value, rule, "metadata.labels")


def _spec_causes(spec: Json) -> Iterator[Json]:
    if not spec.get("containers"):
        yield _cause("Required", "Required value", "spec.containers")
    yield from _choice_cause(spec, "restartPolicy", "spec")
    for name, least in (("terminationGracePeriodSeconds", 0), ("activeDeadlineSeconds", 1)):
        value = spec.get(name)
        if value is not None and value < least:
            yield _invalid(value, f"must be greater than or equal to {least}", f"spec.{name}")
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    seen: set[str] = set()
    for group in ("initContainers", "containers"):
        for number, container in enumerate(spec.get(group) or []):
            yield from _container_causes(container, f"spec.{group}[{number}]", volumes, seen)


def _container_causes(container: Json, field: str, volumes: set[Any], seen: set[str]) -> Iterator[Json]:
    name = container.get("name")
    if not name:
        yield _cause("Required", "Required value", f"{field}.name")
    elif not _LABEL.fullmatch(name):
        yield _invalid(name, "a lowercase RFC 1123 label is at most 63 of [a-z0-9-]", f"{field}.name")
    elif name in seen:
        yield {
            "reason": "FieldValueDuplicate",
            "message": f'Duplicate value: "{name}"',
            "field": f"{field}.name",
        }
    seen.add(name or "")
    if not container.get("image"):
        yield _cause("Required", "Required value", f"{field}.image")
    for choice in ("imagePullPolicy", "terminationMessagePolicy"):
        yield from _choice_cause(container, choice, field)
    for number, variable in enumerate(container.get("env") or []):
        if not variable.get("name"):
            yield _cause("Required", "Required value", f"{field}.env[{number}].name")
    for number, mount in enumerate(container.get("volumeMounts") or []):
        place = f"{field}.volumeMounts[{number}]"
        if mount.get("name") not in volumes:
            message = f'Not found: "{mount.get("name", "")}"'
            yield {"reason": "FieldValueNotFound", "message": message, "field": f"{place}.name"}
        if not mount.get("mountPath"):
            yield _cause("Required", "Required value", f"{place}.mountPath")


def _choice_cause(owner: Json, name: str, field: str) -> Iterator[Json]:
    value, known = owner.get(name), _CHOICES[name]
    if value and value not in known:
        choices = ", ".join(f'"{choice}"' for choice in known)
        message = f'Unsupported value: "{value}": supported values: {choices}'
        yield _cause("NotSupported", message, f"{field}.{name}")


def _cause(reason: str, message: str, field: str) -> Json:
    return {"reason": f"FieldValue{reason}", "message": message, "field": field}


def _invalid(value: Any, rule: str, field: str) -> Json:
    shown = f'"{value}"' if isinstance(value, str) else value
    return _cause("Invalid", f"Invalid value: {shown}: {rule}", field)


def _check_types(pod: Json) -> None:
    """Refuses values of another type than the API's, where clients tend to send them."""
    spec = pod.setdefault("spec", {}) or {}
    labels = [*(pod["metadata"].get("labels") or {}).items()]
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        labels += [(entry.get("name"), entry.get("value") or "") for entry in container.get("env") or []]
        labels += [("command", word) for word in container.get("command") or []]
        labels += [("args", word) for word in container.get("args") or []]
    for name, value in labels:
        if not isinstance(value, str):
            told = f"{name}: expected a string, found {value!r}"
            raise bad_request(f'Pod in version "v1" cannot be handled as a Pod: {told}')


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
        **{name: value for name, value in spec.items() if value is not None},
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
        **{name: value for name, value in container.items() if value is not None},
    }


def _defaulted_volume(volume: Json) -> Json:
    if "secret" in volume:
        return {**volume, "secret": {"defaultMode": 0o644, **volume["secret"]}}
    sources = {name: value for name, value in volume.items() if name != "name" and value is not None}
    return {"name": volume["name"], **(sources or {"emptyDir": {}})}


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
