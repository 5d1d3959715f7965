"""The rules that objects must keep, beside those of type: each is refused with the field and the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from scripts.kube import schema
from scripts.kube.objects import Json

_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_WORD = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN = r"(?=.{1,253}(/|\Z))[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_ENDS = "and must start and end with an alphanumeric character"
_NAMES = {
    "subdomain": (
        _SUBDOMAIN,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
        + _ENDS,
    ),
    "label": (
        _LABEL_WORD,
        "a lowercase RFC 1123 label must consist of at most 63 lower case alphanumeric characters or '-', "
        + _ENDS,
    ),
    "label value": (
        f"({_WORD})?",
        "a valid label must be an empty string or consist of at most 63 alphanumeric characters, "
        f"'-', '_' or '.', {_ENDS}",
    ),
    "key": (
        rf"({_SUBDOMAIN}/)?{_WORD}",
        f"name part must consist of at most 63 alphanumeric characters, '-', '_' or '.', {_ENDS}",
    ),
    "variable": (
        r"[-._a-zA-Z][-._a-zA-Z0-9]*",
        "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', "
        "and must not start with a digit",
    ),
    "config key": (
        r"(?!\.\.)[-._a-zA-Z0-9]{1,253}",
        "a valid config key must consist of at most 253 alphanumeric characters, '-', '_' or '.', "
        "and must not start with '..'",
    ),
    "image": (r"\S(.*\S)?", "must not have leading or trailing whitespace"),
    "path": (r"(?!/)(?!(.*/)?\.\.(/|\Z)).*", "must be a relative path and must not contain '..'"),
    "item path": (r"(?!/|\.\.)(?!.*/\.\.(/|\Z)).*", "must be a relative path and must not contain '..'"),
    "field path": (
        r"metadata\.(name|namespace|uid|(labels|annotations)\['[^']+'\])|spec\.(nodeName|serviceAccountName)"
        r"|status\.(hostIP|hostIPs|podIP|podIPs)",
        "error converting fieldPath: field label not supported",
    ),
}
"""What a text must match, and the rule in words."""

_TEXTS = {
    "V1Container": {"name": "label", "image": "image"},
    "V1EnvVar": {"name": "variable"},
    "V1EnvFromSource": {"prefix": "variable"},
    "V1SecretEnvSource": {"name": "subdomain"},
    "V1SecretKeySelector": {"name": "subdomain", "key": "config key"},
    "V1PodSpec": {"hostname": "label"},
    "V1Volume": {"name": "label"},
    "V1VolumeMount": {"subPath": "path"},
    "V1KeyToPath": {"path": "item path"},
}
_REQUIRED = {
    **{type_: tuple(texts) for type_, texts in _TEXTS.items()},
    "V1PodSpec": ("containers",),
    "V1EnvFromSource": (),
    "V1ObjectFieldSelector": ("fieldPath",),
    "V1VolumeMount": ("name", "mountPath"),
    "V1KeyToPath": ("key", "path"),
    "V1SecretVolumeSource": ("secretName",),
}
_CHOICES = {
    "restartPolicy": ("Always", "OnFailure", "Never"),
    "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
    "terminationMessagePolicy": ("File", "FallbackToLogsOnError"),
}
_RANGES = {
    "activeDeadlineSeconds": (1, 2**31 - 1, "must be between 1 and 2147483647, inclusive"),
    "terminationGracePeriodSeconds": (0, 2**63 - 1, "must be greater than or equal to 0"),
    "defaultMode": (0, 0o777, "must be a number between 0 and 0777 (octal), both inclusive"),
    "mode": (0, 0o777, "must be a number between 0 and 0777 (octal), both inclusive"),
}


def metadata_causes(metadata: Json) -> Iterator[Json]:
    """What is wrong with an object's name, labels and annotations."""
    if not metadata.get("name"):
        yield _cause("Required", "Required value: name or generateName is required", "metadata.name")
    else:
        yield from _text_causes(metadata["name"], "subdomain", "metadata.name")
    for key, value in (metadata.get("labels") or {}).items():
        yield from _text_causes(key, "key", "metadata.labels")
        yield from _text_causes(value, "label value", "metadata.labels")
    for key in metadata.get("annotations") or {}:
        yield from _text_causes(key, "key", "metadata.annotations")


def secret_causes(secret: Json) -> Iterator[Json]:
    """What is wrong with a secret."""
    yield from metadata_causes(secret["metadata"])
    for key in secret["data"]:
        yield from _text_causes(key, "config key", f"data[{key}]")


def pod_causes(pod: Json) -> Iterator[Json]:
    """What is wrong with a pod."""
    yield from metadata_causes(pod["metadata"])
    spec = pod["spec"]
    for path, type_, thing in schema.walk(spec, "V1PodSpec", "spec"):
        yield from _object_causes(path, type_, thing)
    containers = [
        (container, f"spec.{group}[{number}]")
        for group in ("initContainers", "containers")
        for number, container in enumerate(spec.get(group, []))
    ]
    yield from _duplicates([(each.get("name"), f"{path}.name") for each, path in containers])
    volumes = [volume.get("name") for volume in spec.get("volumes", [])]
    yield from _duplicates([(name, f"spec.volumes[{n}].name") for n, name in enumerate(volumes)])
    for container, path in containers:
        for number, mount in enumerate(container.get("volumeMounts", [])):
            name = mount.get("name")
            if name and name not in volumes:
                yield _cause("NotFound", f'Not found: "{name}"', f"{path}.volumeMounts[{number}].name")
            place, others = mount.get("mountPath"), container["volumeMounts"][:number]
            if place in [other.get("mountPath") for other in others]:
                message = f'Invalid value: "{place}": must be unique'
                yield _cause("Invalid", message, f"{path}.volumeMounts[{number}].mountPath")


def _object_causes(path: str, type_: str, thing: Json) -> Iterator[Json]:
    """What is wrong with one object within a pod's spec, by its type."""
    for name in _REQUIRED.get(type_, ()):
        if not thing.get(name):
            yield _cause("Required", "Required value", f"{path}.{name}")
    for name, rule in _TEXTS.get(type_, {}).items():
        if thing.get(name):
            yield from _text_causes(thing[name], rule, f"{path}.{name}")
    for name, known in _CHOICES.items():
        if (value := thing.get(name)) and isinstance(value, str) and value not in known:
            choices = ", ".join(f'"{choice}"' for choice in known)
            message = f'Unsupported value: "{value}": supported values: {choices}'
            yield _cause("NotSupported", message, f"{path}.{name}")
    for name, (least, most, rule) in _RANGES.items():
        if isinstance(value := thing.get(name), int) and not least <= value <= most:
            yield _cause("Invalid", f"Invalid value: {value}: {rule}", f"{path}.{name}")
    if type_ == "V1EnvVar" and "valueFrom" in thing:
        yield from _source_causes(thing, f"{path}.valueFrom")
    if type_ == "V1EnvFromSource" and not thing.keys() & {"configMapRef", "secretRef"}:
        yield _cause("Invalid", 'Invalid value: "": must specify one of: `configMapRef` or `secretRef`', path)
    if type_ == "V1Volume" and len(thing.keys() - {"name"}) > 1:
        second = sorted(thing.keys() - {"name"})[1]
        yield _cause("Forbidden", "Forbidden: may not specify more than 1 volume type", f"{path}.{second}")


def _source_causes(variable: Json, path: str) -> Iterator[Json]:
    source = variable["valueFrom"]
    if len(source) != 1 or variable.get("value"):
        why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        why = "may not have more than one field specified at a time" if len(source) > 1 else why
        why = "may not be specified when `value` is not empty" if variable.get("value") else why
        yield _cause("Invalid", f'Invalid value: "": {why}', path)
    if field := source.get("fieldRef", {}).get("fieldPath"):
        yield from _text_causes(field, "field path", f"{path}.fieldRef.fieldPath")


def _duplicates(named: list[tuple[Any, str]]) -> Iterator[Json]:
    seen = set()
    for name, field in named:
        if name and name in seen:
            yield _cause("Duplicate", f'Duplicate value: "{name}"', field)
        seen.add(name)


def _text_causes(text: str, name: str, field: str) -> Iterator[Json]:
    pattern, rule = _NAMES[name]
    if not re.fullmatch(pattern, text, re.DOTALL):
        yield _cause("Invalid", f'Invalid value: "{text}": {rule}', field)


def _cause(reason: str, message: str, field: str) -> Json:
    return {"reason": f"FieldValue{reason}", "message": message, "field": field}
