"""The types of the API's objects, read from the Kubernetes client's models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from kubernetes_asyncio.client import models

from scripts.kube.objects import Json

_QUANTITIES = {"limits", "requests", "overhead", "divisor", "sizeLimit", "allocatedResources"}
"""Fields that hold quantities: a number or a text such as 100Mi. The models call them text."""
_QUANTITY = re.compile(r"[+-]?[0-9.]+([eEinumkKMGTP]*[-+]?[0-9]*)")
_ZEROS: dict[str, Any] = {"str": "", "int": 0, "bool": False, "datetime": "", "quantity": ""}
_WORDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    type(None): "null",
}


class TypeMismatch(Exception):
    """A value of another type than its field's. Names the field and both types, never the value."""

    def __init__(self, path: str, expected: str, value: Any) -> None:
        found = _WORDS.get(type(value), "a number")
        super().__init__(f"{path or 'the body'}: expected {expected}, found {found}")


def decode(value: Any, type_: str, path: str, unknown: list[str]) -> Any:
    """Return a copy of `value` as the named type; raise TypeMismatch.

    Fields that the type does not have are left out, and their paths appended to `unknown`. A field that is
    null is left out; a null in a list or a map becomes its type's zero value.
    """
    if inner := _inside(type_, "list["):
        items = _expect(list, value, path) or []
        return [decode(each, inner, f"{path}[{n}]", unknown) for n, each in enumerate(items)]
    if inner := _inside(type_, "dict(str, "):
        members = _expect(dict, value, path) or {}
        return {name: decode(each, inner, f"{path}.{name}", unknown) for name, each in members.items()}
    if hasattr(models, type_):
        return _decode_model(_expect(dict, value, path) or {}, type_, path, unknown)
    return value if type_ == "object" else _decode_scalar(value, type_, path)


def walk(value: Any, type_: str, path: str) -> Iterator[tuple[str, str, Json]]:
    """Yield path, type and value of every object within a decoded value, the outermost first."""
    if inner := _inside(type_, "list["):
        for number, each in enumerate(value):
            yield from walk(each, inner, f"{path}[{number}]")
    elif hasattr(models, type_):
        yield path, type_, value
        for name, each in value.items():
            yield from walk(each, _fields(type_)[name], f"{path}.{name}")


@cache
def _fields(type_: str) -> dict[str, str]:
    """Return the types of an object's fields by their names in JSON."""
    model = getattr(models, type_)
    types = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    for name in _QUANTITIES & types.keys():
        types[name] = re.sub(r"\bstr(?=\)?$)", "quantity", types[name])
    return types


def _inside(type_: str, opening: str) -> str:
    """Return the type of a list's or map's members, "" for other types."""
    return type_[len(opening) : -1] if type_.startswith(opening) else ""


def _expect(wanted: type, value: Any, path: str) -> Any:
    if value is not None and type(value) is not wanted:
        raise TypeMismatch(path, _WORDS[wanted], value)
    return value


def _decode_model(value: Json, type_: str, path: str, unknown: list[str]) -> Json:
    types, decoded = _fields(type_), {}
    for name, each in value.items():
        place = f"{path}.{name}".lstrip(".")
        if name not in types:
            unknown.append(place)
        elif each is not None:
            decoded[name] = decode(each, types[name], place, unknown)
    return decoded


def _decode_scalar(value: Any, type_: str, path: str) -> Any:
    if value is None:
        return _ZEROS[type_]
    if type_ == "quantity":
        if type(value) not in (str, int, float) or not _QUANTITY.fullmatch(str(value)):
            raise TypeMismatch(path, "a quantity such as 500m or 1Gi", value)
        return str(value)
    _expect(type(_ZEROS[type_]), value, path)
    if type_ == "int" and not -(2**63) <= value < 2**63:
        raise TypeMismatch(path, "an integer of 64 bits", value)
    return value
