"""The types of the API's objects, read from the Kubernetes client's models: what checks and explains them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any

from kubernetes_asyncio.client import models

from scripts.kube.kinds import KINDS
from scripts.kube.objects import Json

_QUANTITIES = {"limits", "requests", "overhead", "divisor", "sizeLimit", "allocatedResources"}
"""Fields that hold quantities: a number or text such as 100Mi. The models call them text."""
_QUANTITY = re.compile(r"[+-]?[0-9.]+([eEinumkKMGTP]*[-+]?[0-9]*)")
_SCALARS: dict[str, tuple[str, Any]] = {
    "str": ("string", ""),
    "int": ("integer", 0),
    "bool": ("boolean", False),
    "datetime": ("string", ""),
}
"""Each scalar's name in JSON schemas, and its zero value."""


class TypeMismatch(Exception):
    """A value of another type than its field's. Names the field and both types, never the value."""

    def __init__(self, path: str, expected: str, value: Any) -> None:
        names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
        found = names.get(type(value), "a number")
        super().__init__(f"{path or 'the body'}: expected {expected}, found {found}")


def decode(value: Any, type_: str, path: str, unknown: list[str]) -> Any:
    """Return a copy of `value` as the named type; raise TypeMismatch.

    Fields that the type does not have are left out, and their paths appended to `unknown`. A field that is
    null is left out, a null in a list or a map becomes its type's zero value.
    """
    if inner := _inside(type_, "list["):
        if value is not None and not isinstance(value, list):
            raise TypeMismatch(path, "an array", value)
        return [decode(each, inner, f"{path}[{n}]", unknown) for n, each in enumerate(value or [])]
    if inner := _inside(type_, "dict(str, "):
        members = _object(value, path)
        return {name: decode(each, inner, f"{path}.{name}", unknown) for name, each in members.items()}
    if hasattr(models, type_):
        return _decode_model(_object(value, path), type_, path, unknown)
    return _decode_scalar(value, type_, path)


def walk(value: Any, type_: str, path: str = "") -> Iterator[tuple[str, str, Json]]:
    """Yield the path, the type and the value of every object within a decoded value, the outermost first."""
    if inner := _inside(type_, "list["):
        for number, each in enumerate(value):
            yield from walk(each, inner, f"{path}[{number}]")
    elif hasattr(models, type_):
        yield path, type_, value
        types = fields(type_)
        for name, each in value.items():
            yield from walk(each, types[name], f"{path}.{name}".lstrip("."))


@cache
def fields(type_: str) -> dict[str, str]:
    """The fields of a type of object, by their names in JSON, with their types."""
    model = getattr(models, type_)
    types = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    for name in _QUANTITIES & types.keys():
        types[name] = re.sub(r"\bstr(?=\)?$)", "quantity", types[name])
    return types


@cache
def components() -> Json:
    """The schemas of the kinds that are served and of all that is in them, for an OpenAPI document."""
    schemas: Json = {}
    waiting = [kind.type for kind in KINDS.values()]
    while waiting:
        type_ = waiting.pop()
        if _schema_name(type_) not in schemas:
            schemas[_schema_name(type_)] = _describe(type_)
            waiting += [
                found for kind in fields(type_).values() for found in re.findall(r"(?:Core)?V1\w+", kind)
            ]
    for kind in KINDS.values():
        group = {"group": "", "version": "v1", "kind": kind.name}
        schemas[_schema_name(kind.type)]["x-kubernetes-group-version-kind"] = [group]
    return {"schemas": schemas}


def _inside(type_: str, opening: str) -> str:
    """The type of a list's or map's members, "" for other types."""
    return type_[len(opening) : -1] if type_.startswith(opening) else ""


def _object(value: Any, path: str) -> Json:
    if value is not None and not isinstance(value, dict):
        raise TypeMismatch(path, "an object", value)
    return value or {}


def _decode_model(value: Json, type_: str, path: str, unknown: list[str]) -> Json:
    types, decoded = fields(type_), {}
    for name, each in value.items():
        place = f"{path}.{name}".lstrip(".")
        if name not in types:
            unknown.append(place)
        elif each is not None:
            decoded[name] = decode(each, types[name], place, unknown)
    return decoded


def _decode_scalar(value: Any, type_: str, path: str) -> Any:
    if type_ == "object":
        return value
    if type_ == "quantity":
        if type(value) not in (str, int, float) or not _QUANTITY.fullmatch(str(value)):
            raise TypeMismatch(path, "a quantity such as 500m or 1Gi", value)
        return str(value)
    name, zero = _SCALARS[type_]
    if value is None:
        return zero
    if type(value) is not type(zero):
        raise TypeMismatch(path, f"{'an' if name[0] == 'i' else 'a'} {name}", value)
    if type_ == "int" and not -(2**63) <= value < 2**63:
        raise TypeMismatch(path, "an integer of 64 bits", value)
    if type_ == "datetime":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise TypeMismatch(path, "a time such as 2006-01-02T15:04:05Z", value) from None
    return value


def _schema_name(type_: str) -> str:
    return f"io.k8s.api.core.v1.{type_.removeprefix('Core').removeprefix('V1')}"


def _describe(type_: str) -> Json:
    """One type as a JSON schema, with the descriptions of its fields."""
    model = getattr(models, type_)
    properties = {
        model.attribute_map[name]: {"description": _description(model, name), **_reference(kind)}
        for name, kind in model.openapi_types.items()
    }
    return {"type": "object", "properties": properties}


def _reference(type_: str) -> Json:
    if inner := _inside(type_, "list["):
        return {"type": "array", "items": _reference(inner)}
    if inner := _inside(type_, "dict(str, "):
        return {"type": "object", "additionalProperties": _reference(inner)}
    if hasattr(models, type_):
        return {"allOf": [{"$ref": f"#/components/schemas/{_schema_name(type_)}"}]}
    return {"type": _SCALARS.get(type_, (type_,))[0]}


def _description(model: Any, name: str) -> str:
    """What the model's own documentation says of a field: its second paragraph."""
    paragraphs = (getattr(model, name).__doc__ or "").split("\n\n")
    return paragraphs[1].replace("# noqa: E501", "").strip() if len(paragraphs) > 2 else ""
