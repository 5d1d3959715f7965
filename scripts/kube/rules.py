"""The rules that objects must keep beyond their types; each breach is reported with its field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from scripts.kube import schema
from scripts.kube.objects import Json

_Check = Callable[[Any], str]
"""Returns the reason and the message of what is wrong with a value, "" for a value that is right."""


def _text(pattern: str, rule: str) -> _Check:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda text: "" if compiled.fullmatch(text) else f'Invalid value: "{text}": {rule}'


def _one_of(*known: str) -> _Check:
    choices = ", ".join(f'"{choice}"' for choice in known)
    return lambda text: "" if text in known else f'Unsupported value: "{text}": supported values: {choices}'


def _between(least: int, most: int) -> _Check:
    rule = f"must be between {least} and {most}, inclusive"
    return lambda value: "" if least <= value <= most else f"Invalid value: {value}: {rule}"


_ENDS = "with a letter or digit at both ends"
_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_SUBDOMAIN = r"(?=.{1,253}(/|\Z))[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_subdomain = _text(_SUBDOMAIN, f"a lowercase RFC 1123 subdomain consists of a-z, 0-9, '-' and '.', {_ENDS}")
_label = _text(
    r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
    f"a lowercase RFC 1123 label consists of at most 63 of a-z, 0-9 and '-', {_ENDS}",
)
_key = _text(rf"({_SUBDOMAIN}/)?{_WORD}", f"a name has at most 63 letters, digits, '-', '_' and '.', {_ENDS}")
_label_value = _text(f"({_WORD})?", f"a label has at most 63 letters, digits, '-', '_' and '.', {_ENDS}")
_variable = _text(
    r"[-._a-zA-Z][-._a-zA-Z0-9]*", "a variable's name has letters, '-', '_', '.', and later digits"
)
_config_key = _text(
    r"(?!\.\.)[-._a-zA-Z0-9]{1,253}", "a key has letters, digits, '-', '_', '.', no '..' first"
)
_image = _text(r"\S(.*\S)?", "must not have leading or trailing whitespace")
_relative_path = _text(r"(?!/)(?!(.*/)?\.\.(/|\Z)).*", "must be a relative path and must not contain '..'")
_item_path = _text(r"(?!/|\.\.)(?!.*/\.\.(/|\Z)).*", "must be a relative path and must not contain '..'")
_field_path = _text(
    r"metadata\.(name|namespace|uid|(labels|annotations)\['[^']+'\])|spec\.(nodeName|serviceAccountName)"
    r"|status\.(hostIP|podIP)",
    "error converting fieldPath: field label not supported",
)
_mode = _between(0, 0o777)
_any = _text(".*", "")

_CHECKS: dict[str, dict[str, _Check]] = {
    "V1PodSpec": {
        "hostname": _label,
        "restartPolicy": _one_of("Always", "OnFailure", "Never"),
        "activeDeadlineSeconds": _between(1, 2**31 - 1),
        "terminationGracePeriodSeconds": _between(0, 2**63 - 1),
    },
    "V1Container": {
        "name*": _label,
        "image*": _image,
        "imagePullPolicy": _one_of("Always", "IfNotPresent", "Never"),
        "terminationMessagePolicy": _one_of("File", "FallbackToLogsOnError"),
    },
    "V1EnvVar": {"name*": _variable},
    "V1EnvFromSource": {"prefix": _variable},
    "V1SecretEnvSource": {"name*": _subdomain},
    "V1SecretKeySelector": {"name*": _subdomain, "key*": _config_key},
    "V1ObjectFieldSelector": {"fieldPath*": _field_path},
    "V1Volume": {"name*": _label},
    "V1VolumeMount": {"name*": _any, "mountPath*": _any, "subPath": _relative_path},
    "V1KeyToPath": {"key*": _any, "path*": _item_path, "mode": _mode},
    "V1SecretVolumeSource": {"secretName*": _any, "defaultMode": _mode},
}
"""The checks of fields in a pod's spec, by the type of the object with the field; * marks required ones."""


def metadata_causes(metadata: Json) -> Iterator[Json]:
    """Yield what is wrong with an object's name, labels and annotations."""
    if not metadata.get("name"):
        yield _cause("Required value: name or generateName is required", "metadata.name")
    else:
        yield from _checked(_subdomain, metadata["name"], "metadata.name")
    for key, value in (metadata.get("labels") or {}).items():
        yield from _checked(_key, key, "metadata.labels")
        yield from _checked(_label_value, value, "metadata.labels")
    for key in metadata.get("annotations") or {}:
        yield from _checked(_key, key, "metadata.annotations")


def secret_causes(secret: Json) -> Iterator[Json]:
    """Yield what is wrong with a Secret."""
    yield from metadata_causes(secret["metadata"])
    for key in secret["data"]:
        yield from _checked(_config_key, key, f"data[{key}]")


def pod_causes(pod: Json) -> Iterator[Json]:
    """Yield what is wrong with a pod."""
    yield from metadata_causes(pod["metadata"])
    spec = pod["spec"]
    for path, type_, thing in schema.walk(spec, "V1PodSpec", "spec"):
        yield from _object_causes(path, type_, thing)
    if not spec.get("containers"):
        yield _cause("Required value", "spec.containers")
    containers = [
        (container, f"spec.{group}[{number}]")
        for group in ("initContainers", "containers")
        for number, container in enumerate(spec.get(group, []))
    ]
    yield from _duplicates((container.get("name"), f"{path}.name") for container, path in containers)
    volumes = [volume.get("name") for volume in spec.get("volumes", [])]
    yield from _duplicates((name, f"spec.volumes[{n}].name") for n, name in enumerate(volumes))
    for container, path in containers:
        for number, mount in enumerate(container.get("volumeMounts", [])):
            if (name := mount.get("name")) and name not in volumes:
                yield _cause(f'Not found: "{name}"', f"{path}.volumeMounts[{number}].name")


def _object_causes(path: str, type_: str, thing: Json) -> Iterator[Json]:
    """Yield what is wrong with one object within a pod's spec."""
    for marked, check in _CHECKS.get(type_, {}).items():
        name = marked.rstrip("*")
        if thing.get(name) not in (None, ""):
            yield from _checked(check, thing[name], f"{path}.{name}")
        elif name != marked:
            yield _cause("Required value", f"{path}.{name}")
    if type_ == "V1EnvVar" and len(thing.get("valueFrom", "1")) != 1:
        why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        yield _cause(f'Invalid value: "": {why}', f"{path}.valueFrom")
    if type_ == "V1Volume" and len(thing.keys() - {"name"}) > 1:
        second = sorted(thing.keys() - {"name"})[1]
        yield _cause("Forbidden: may not specify more than 1 volume type", f"{path}.{second}")


def _duplicates(named: Iterator[tuple[Any, str]]) -> Iterator[Json]:
    seen = set()
    for name, field in named:
        if name and name in seen:
            yield _cause(f'Duplicate value: "{name}"', field)
        seen.add(name)


def _checked(check: _Check, value: Any, field: str) -> Iterator[Json]:
    if message := check(value):
        yield _cause(message, field)


def _cause(message: str, field: str) -> Json:
    """Return a cause; its reason follows from the first word of its message."""
    word = message.split()[0].rstrip(":")
    reason = {"Unsupported": "NotSupported", "Not": "NotFound"}.get(word, word)
    return {"reason": f"FieldValue{reason}", "message": message, "field": field}
