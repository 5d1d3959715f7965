"""Read the definition of a pod that a DAG gives: a dict, a ``V1Pod``, or the path of a YAML file.

The result is plain JSON data, as Airflow keeps it. Nothing here imports the Kubernetes client, as DAG files
would pay for that: its objects say by themselves which fields they have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

Definition = dict[str, Any]
"""A pod as a user defines it, in the fields of the Kubernetes API; all are optional."""

MAIN = "main"
"""The name of the container whose end is the pod's, and which leaves the result."""
STOCK_MAIN = "base"
"""Its name in the stock operator."""

_FIELDS = {"apiVersion", "kind", "metadata", "spec", "status"}
_FREE_FORM = {
    "annotations",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "options",
    "overhead",
    "requests",
    "volumeAttributes",
}
"""Fields in which any key is allowed."""


def read_definition(pod: Any, folder: str | PathLike[str] = ".") -> Definition:
    """Return a pod's definition as plain data, with its main container first and named `MAIN`.

    A relative path is one from ``folder``. The main container is the one named ``main``, or else ``base``, or
    else the only one. Raises ValueError, which names the field, for what cannot be a pod.
    """
    if isinstance(pod, (str, PathLike)):
        pod = _read_file(Path(folder) / pod)
    definition = plain(pod, "pod")
    if not isinstance(definition, dict):
        raise ValueError(f"pod: give it a dict, a V1Pod or the path of a YAML file, not {_kind(pod)}")
    _check_fields(definition)
    definition.pop("status", None)
    spec = definition["spec"] = {**_mapping(definition, "spec", "pod")}
    definition["metadata"] = {**_mapping(definition, "metadata", "pod")}
    _check_texts(definition["metadata"], "pod.metadata")
    spec["containers"] = _with_main_first(_containers(spec, "containers"))
    _check_names([*spec["containers"], *_containers(spec, "initContainers")])
    _mapping(spec, "securityContext", "pod.spec")
    seconds = spec.get("activeDeadlineSeconds")
    if seconds is not None and (type(seconds) is not int or seconds < 1):
        raise ValueError(f"pod.spec.activeDeadlineSeconds: {seconds!r} is not a number of seconds, from 1 on")
    return definition


def plain(value: Any, path: str) -> Any:
    """Return a value as plain JSON data; objects of the Kubernetes client become dicts.

    Raises ValueError, which names the field by its path, for what JSON does not have.
    """
    if (
        value is None
        or isinstance(value, (str, bool, int))
        or (isinstance(value, float) and math.isfinite(value))
    ):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(one, f"{path}[{index}]") for index, one in enumerate(value)]
    if fields := getattr(value, "attribute_map", None):
        given = {field: getattr(value, name) for name, field in fields.items()}
        return {field: plain(one, f"{path}.{field}") for field, one in given.items() if one is not None}
    if not isinstance(value, Mapping):
        raise ValueError(f"{path}: {value!r} is {_kind(value)}, which JSON does not have; write it as text")
    if wrong := next((key for key in value if not isinstance(key, str)), None):
        raise ValueError(f"{path}: the key {wrong!r} is {_kind(wrong)}; write it as text")
    return {key: plain(one, f"{path}.{key}") for key, one in value.items()}


def literal(value: Any) -> Any:
    """Escape the texts of plain data, so that Jinja renders each of them to what it is now."""
    if isinstance(value, str):
        if not any(opening in value for opening in ("{{", "{%", "{#")):
            return value
        text = value.encode("unicode-escape").decode().replace("'", "\\'").replace("{", "\\x7b")
        return f"{{{{ '{text}' }}}}"
    if isinstance(value, list):
        return [literal(one) for one in value]
    if isinstance(value, dict):
        return {key: literal(one) for key, one in value.items()}
    return value


def _read_file(path: Path) -> Any:
    import yaml

    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except OSError as error:
        raise ValueError(f"pod: the file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"pod: the file {path} is not YAML: {error}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise ValueError(f"pod: the file {path} must hold one pod and nothing else")
    return documents[0]


def _check_fields(definition: Definition) -> None:
    for field, expected in (("apiVersion", "v1"), ("kind", "Pod")):
        if (found := definition.get(field) or expected) != expected:
            raise ValueError(f"pod.{field}: {found!r} is not {expected!r}")
    if unknown := definition.keys() - _FIELDS:
        raise ValueError(f"pod.{min(unknown)}: a pod has only the fields {', '.join(sorted(_FIELDS))}")
    for path, field in _fields(definition, "pod"):
        if "_" in field:
            camel = re.sub(r"_(\w)", lambda letter: letter[1].upper(), field)
            raise ValueError(f"{path}.{field}: Kubernetes names this field {camel}")


def _fields(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and name of each field that the Kubernetes API knows by name."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _fields(one, f"{path}[{index}]")
    elif isinstance(value, dict):
        for field, one in value.items():
            yield path, field
            if field not in _FREE_FORM:
                yield from _fields(one, f"{path}.{field}")


def _containers(spec: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    containers = spec.get(field) or []
    if not isinstance(containers, list):
        raise ValueError(f"pod.spec.{field}: it must be a list, not {_kind(containers)}")
    for index, container in enumerate(containers):
        path = f"pod.spec.{field}[{index}]"
        if not isinstance(container, dict):
            raise ValueError(f"{path}: it must be a container, not {_kind(container)}")
        env = container.get("env") or []
        if not isinstance(env, list):
            raise ValueError(f"{path}.env: it must be a list of variables, not {_kind(env)}")
        for number, variable in enumerate(env):
            if not isinstance(variable, dict) or not isinstance(variable.get("name"), str):
                raise ValueError(f"{path}.env[{number}]: it must be a variable with a name")
            if not isinstance(variable.get("value", ""), str):
                found = variable["value"]
                raise ValueError(f"{path}.env[{number}].value: {found!r} is {_kind(found)}; write it as text")
        _mapping(container, "securityContext", path)
        resources = _mapping(container, "resources", path)
        for kind in ("requests", "limits"):
            _mapping(resources, kind, f"{path}.resources")
    return containers


def _with_main_first(containers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    named = {container.get("name"): container for container in containers}
    main = named.get(MAIN) or named.get(STOCK_MAIN) or (containers[0] if len(containers) == 1 else None)
    if main is None and containers:
        raise ValueError(f"pod.spec.containers: name the one that leaves the result {MAIN!r}")
    return [{**(main or {}), "name": MAIN}, *(one for one in containers if one is not main)]


def _check_names(containers: list[dict[str, Any]]) -> None:
    names = [container.get("name") for container in containers]
    for name in names:
        if not isinstance(name, str) or not name:
            raise ValueError("pod.spec: each container needs a name")
        if names.count(name) > 1:
            raise ValueError(f"pod.spec: two containers are named {name!r}")


def _check_texts(metadata: Mapping[str, Any], path: str) -> None:
    for field in ("labels", "annotations"):
        for key, value in _mapping(metadata, field, path).items():
            if not isinstance(value, str):
                raise ValueError(f"{path}.{field}.{key}: {value!r} is {_kind(value)}; write it as text")


def _mapping(holder: Mapping[str, Any], field: str, path: str) -> Mapping[str, Any]:
    value = holder.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{path}.{field}: it must be an object with fields, not {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
